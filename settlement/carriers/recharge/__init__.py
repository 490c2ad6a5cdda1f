"""The second dialect: a partner-recharge interface as resale gateways have it, with forms, signatures and pushes."""
