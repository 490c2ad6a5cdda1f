"""Double-entry arithmetic on plain values: accounts with available and held amounts, and the transfers between them."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import IntEnum

MAX_AMOUNT = 2**62


class LedgerRefusal(Exception):
    """A transfer that the books can't take; nothing was changed."""

    code = "ledger_refusal"


class InsufficientFunds(LedgerRefusal):
    """The account holds less than the transfer takes."""

    code = "insufficient_funds"


class UnbalancedTransfer(LedgerRefusal):
    """The postings of a transfer do not sum to zero for each asset."""

    code = "unbalanced_transfer"


class Kind(IntEnum):
    """Why an amount moved. Kinds below FIRST_SETTLED only move amounts between available and held of one account."""

    HOLD = 1
    """An order was placed: available to held."""
    RELEASE = 2
    """An order ended, shrank or traded at a better price: held back to available."""

    RESERVED = 20
    """Data reserved at the carrier entered the seller's custody account."""
    UNRESERVED = 21
    """Custody that was not sold went back to the seller's bucket."""
    LAPSED = 24
    """The carrier no longer held what it had reserved: what the books had left of it is written off."""
    SETTLED = 30
    """Delivery versus payment of one trade."""
    REFUNDED = 31
    """A trade could not be delivered: both holds were returned."""
    CARRIER_REVERSED = 34
    """The carrier took delivered data back: the buyer is paid back, by the seller or by the house."""
    PAID_BACK_OUTSIDE = 35
    """The provider gave a buyer's money back after delivery: the buyer owes it."""
    DEBT_PAID = 36
    """Money that came in paid what its owner owed."""
    REOPENING_WITHDRAWN = 37
    """The cause of a reopening fell away: what it had booked is taken back."""
    BUY_IN_FUNDED = 38
    """The buyer's money, and the house's for a dearer seller, were set aside to buy a trade in."""
    BUY_IN_CLOSED = 39
    """What a buy-in left over went back, and the seller who had not delivered bears what it cost more."""
    TOPPED_UP = 40
    """Money arrived from the payment provider."""
    AUTHORISED = 41
    """A card hold was authorised at the provider."""
    VOIDED = 42
    """What a card hold did not spend went back to the card."""
    CHARGE_RETURNED = 43
    """A delivery was taken back: the carrier's charge for it is the house's to give back with its fee."""
    PAYOUT_HELD = 50
    """A seller asked for a payout: available to held."""
    PAID_OUT = 51
    """The provider took the payout."""
    PAYOUT_RETURNED = 52
    """The provider refused the payout."""
    TOP_UP_REFUNDED = 53
    """A top-up was refunded to the card."""
    TAKEN_BACK = 54
    """The provider took money back that no trade stands for: the wallet gives it, or the party owes it."""
    GIVEN_AGAIN = 55
    """What the provider had taken back came again."""
    DISPUTE_FEE = 56
    """The provider charged for a dispute: the house bears it."""
    DISPUTE_FEE_RETURNED = 57
    """The provider gave such a charge back."""
    REFUND_RETURNED = 58
    """A refund failed after all, and its money is the wallet's again."""
    COIN_FUNDED = 60
    """Data was bought to back coins."""
    COIN_EARNED = 61
    """A reward was granted from the prepaid budget."""
    COIN_GIVEN = 62
    """One party gave coins to another."""
    COIN_REDEEM_HELD = 63
    """Coins wait for the carrier's top-up."""
    COIN_REDEEMED = 64
    """Coins became data at the carrier."""
    COIN_RETURNED = 65
    """The carrier refused the redemption."""
    UNCAPTURED = 70
    """The house covered a delivery whose card hold could not be captured."""
    BILLED = 71
    """Money arrived from a carrier, which charges it on the phone bill."""
    BILL_REFUNDED = 72
    """A payment on the phone bill was taken off the bill again."""
    ADJUSTED = 90
    """Two officers corrected the books by hand."""
    DATA_GIFT_HELD = 100
    """Reserved data was set aside for whom it is given to: available to held."""
    DATA_GIVEN = 101
    """The carrier moved given data to its receiver's line."""
    DATA_GIFT_RETURNED = 102
    """The carrier refused to move given data: held back to available."""
    TANK_FILLED = 103
    """Reserved data became the community tank's."""
    TANK_EMPTIED = 104
    """What nobody took left the tank when its deposit ended."""
    GIFT_LINK_HELD = 105
    """Coins wait for whoever has the code of their link: available to held."""
    GIFT_LINK_CLAIMED = 106
    """Somebody claimed the coins of a link."""
    GIFT_LINK_RETURNED = 107
    """A link expired unclaimed: held back to available."""
    CASE_PAID_BACK = 120
    """Two officers decided a case for the buyer: the seller gives the money back, and the house its fee."""


FIRST_SETTLED = 20


@dataclass(slots=True)
class Account:
    """The balance of one party in one asset, in its smallest unit (minor units, MB or coins)."""

    id: int
    party_id: int
    asset_id: int
    available: int
    held: int
    may_go_negative: bool = False

    def hold(self, amount: int) -> None:
        """Set an amount aside: available to held; a negative amount gives it back. Raises InsufficientFunds."""
        if amount > self.available or -amount > self.held:
            raise InsufficientFunds(f"Account {self.id} has {self.available} available and {self.held} held.")
        self.available -= amount
        self.held += amount


@dataclass(frozen=True, slots=True)
class Posting:
    """One signed change of one account: of its available and of its held amount, in the asset's smallest unit."""

    account_id: int
    available: int = 0
    held: int = 0


@dataclass(frozen=True, slots=True)
class Transfer:
    """Postings that take effect together. ``kind`` and ``reference`` say why; settled kinds are unique in them."""

    kind: Kind
    reference: str
    postings: tuple[Posting, ...]


@dataclass(slots=True)
class Ledger:
    """Accounts loaded and locked by the caller, and the transfers decided on them.

    Every accepted transfer sums to zero per asset and leaves nothing negative
    that may not be; a refused one changes nothing.
    """

    accounts: dict[int, Account]
    transfers: list[Transfer] = field(default_factory=list)

    @classmethod
    def of(cls, accounts: Iterable[Account]) -> "Ledger":
        return cls({account.id: account for account in accounts})

    def transfer(self, kind: Kind, reference: str, *postings: Posting) -> Transfer:
        """Apply the postings together.

        Raises:
            UnbalancedTransfer: they do not sum to zero for each asset.
            InsufficientFunds: an account would fall below zero.
        """
        sums: dict[int, int] = {}
        after: dict[int, tuple[int, int]] = {}
        for posting in postings:
            account = self.accounts[posting.account_id]
            available, held = after.get(account.id, (account.available, account.held))
            after[account.id] = (available + posting.available, held + posting.held)
            sums[account.asset_id] = sums.get(account.asset_id, 0) + posting.available + posting.held
        if any(sums.values()):
            raise UnbalancedTransfer(f"Transfer {kind.name} {reference} is out of balance: {sums}.")
        self._refuse_overdraft(after)

        for account_id, (available, held) in after.items():
            account = self.accounts[account_id]
            account.available, account.held = available, held
        made = Transfer(kind, reference, postings)
        self.transfers.append(made)
        return made

    def hold(self, account_id: int, amount: int, *, kind: Kind = Kind.HOLD, reference: str = "") -> Transfer:
        """Set an amount aside: available to held. A negative amount gives it back."""
        return self.transfer(kind, reference, Posting(account_id, -amount, amount))

    def move(self, kind: Kind, reference: str, *, source: int, target: int, amount: int) -> Transfer:
        """Move an available amount from one account to another."""
        return self.transfer(kind, reference, Posting(source, -amount), Posting(target, amount))

    def _refuse_overdraft(self, after: Mapping[int, tuple[int, int]]) -> None:
        for account_id, (available, held) in after.items():
            account = self.accounts[account_id]
            if held < 0 or (available < 0 and not account.may_go_negative):
                raise InsufficientFunds(f"Account {account_id} has {account.available} available, {account.held} held.")
            if abs(available) > MAX_AMOUNT or held > MAX_AMOUNT:
                raise InsufficientFunds(f"Account {account_id} would exceed the largest amount.")
