"""Merchants apply, are approved, and get their keys on approval (contract, section 3)."""

from datetime import datetime
from enum import StrEnum
from typing import Annotated

import msgspec
from msgspec import Meta

from kpay_core.commit import Record, bump
from kpay_core.domain.machine import step

# The sandbox's account whose payouts are paid (contract, section 9).
TEST_BANK_ACCOUNT = "000123456789"


class Status(StrEnum):
    APPLIED = "applied"
    APPROVED = "approved"


APPROVE = "approve"

TRANSITIONS = {(Status.APPLIED, APPROVE): Status.APPROVED}


class NewMerchant(msgspec.Struct, frozen=True, kw_only=True):
    """What a merchant applies with."""

    name: Annotated[str, Meta(min_length=1, max_length=200)]
    bank_account: Annotated[str, Meta(pattern="^[0-9]{4,17}$", extra={"message": "4 to 17 digits"})] = (
        TEST_BANK_ACCOUNT
    )


class Merchant(Record, frozen=True, kw_only=True):
    """Somebody who takes charges."""

    version: int = 1
    name: str
    status: Status
    bank_account: str
    created_at: datetime
    approved_at: datetime | None = None


def apply(new: NewMerchant, *, id: str, now: datetime) -> Merchant:
    """Write down an application."""
    return Merchant(
        id=id, name=new.name, status=Status.APPLIED, bank_account=new.bank_account, created_at=now
    )


def approve(merchant: Merchant, *, now: datetime) -> Merchant:
    """Let a merchant in; one who is in already is an `IllegalTransition`."""
    return bump(merchant, status=step(TRANSITIONS, merchant.status, APPROVE), approved_at=now)


def enrol(new: NewMerchant, *, id: str, now: datetime) -> Merchant:
    """Take in and let in at once, in one first version."""
    return msgspec.structs.replace(apply(new, id=id, now=now), status=Status.APPROVED, approved_at=now)
