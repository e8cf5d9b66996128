"""Merchants apply, are approved, and get their keys on approval (contract, section 3)."""

from datetime import datetime
from enum import StrEnum
from typing import Annotated

import msgspec
from msgspec import Meta

from kpay_core.commit import Record, bump
from kpay_core.domain.machine import step
from kpay_core.domain.money import MAX_CHARGE

# The sandbox's account whose payouts are paid (contract, section 9).
TEST_BANK_ACCOUNT = "000123456789"

# Contract, section 7: 2.9 % and 30 cents.
FEE_BASIS_POINTS = 290
FEE_CENTS = 30


BankAccount = Annotated[str, Meta(pattern="^[0-9]{4,17}$", extra={"message": "4 to 17 digits"})]

# Hundredths of a percent, and cents, of each charge. A charge never costs more than it brings.
FeeBasisPoints = Annotated[int, Meta(ge=0, le=10_000)]
FeeCents = Annotated[int, Meta(ge=0, le=MAX_CHARGE)]


class Status(StrEnum):
    APPLIED = "applied"
    APPROVED = "approved"


APPROVE = "approve"

TRANSITIONS = {(Status.APPLIED, APPROVE): Status.APPROVED}


class NewMerchant(msgspec.Struct, frozen=True, kw_only=True):
    """What a merchant applies with."""

    name: Annotated[str, Meta(min_length=1, max_length=200)]
    bank_account: BankAccount = TEST_BANK_ACCOUNT
    fee_basis_points: FeeBasisPoints = FEE_BASIS_POINTS
    fee_cents: FeeCents = FEE_CENTS


class MerchantChanges(msgspec.Struct, frozen=True, kw_only=True):
    """What can be changed of a merchant; what is left out stays. A fee holds for charges made from then on."""

    bank_account: BankAccount | None = None
    fee_basis_points: FeeBasisPoints | None = None
    fee_cents: FeeCents | None = None


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


def update(merchant: Merchant, changes: MerchantChanges) -> Merchant:
    """Change where payouts go."""
    return bump(merchant, bank_account=changes.bank_account or merchant.bank_account)
