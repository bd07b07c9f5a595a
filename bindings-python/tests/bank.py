"""A third party without idempotency, and what else the tests of effects share."""

import onceward
from onceward import NOT_APPLIED, Applied


class BankError(Exception):
    """The bank said no."""


class Bank:
    """A third party without idempotency."""

    def __init__(self) -> None:
        """Have nothing paid."""
        self.paid = 0

    def pay(self) -> bytes:
        """Carry it out."""
        self.paid += 1
        return b"receipt %d" % self.paid

    def pay_and_hang_up(self) -> bytes:
        """Carry it out and lose the answer."""
        self.pay()
        raise TimeoutError("no answer")

    def refuse(self) -> bytes:
        """Do not carry it out."""
        raise BankError("no money")

    def look_up(self) -> Applied | onceward.Answer:
        """Say what is known."""
        return Applied(b"receipt 1") if self.paid else NOT_APPLIED


def never() -> bytes:
    raise AssertionError("it must not be called")


def not_asked() -> Applied | onceward.Answer:
    raise AssertionError("it must not be asked")


def the_doubt(store: onceward.Store) -> onceward.InDoubt:
    (found,) = store.in_doubt()
    return found
