"""The payment port: cards in, sellers paid out, through the payment provider's official client."""
