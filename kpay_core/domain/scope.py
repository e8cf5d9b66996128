"""Whose world a request lives in: one merchant, in test or live mode. No read, list, key or charge crosses it."""

from typing import Literal

import msgspec

from kpay_core.query import Condition

Mode = Literal["test", "live"]


class Scope(msgspec.Struct, frozen=True):
    """A merchant and a mode (contract, section 3)."""

    merchant: str
    livemode: bool

    @property
    def mode(self) -> Mode:
        return "live" if self.livemode else "test"

    @property
    def conditions(self) -> tuple[Condition, ...]:
        """What a query must ask so that it sees nothing else."""
        return (("merchant", "=", self.merchant), ("livemode", "=", self.livemode))
