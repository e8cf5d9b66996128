"""The card network and the bank of test mode, with a journal that stands as the witness of what really happened."""

from collections.abc import Mapping

from kpay_adapters.sandbox.bank import SandboxBank
from kpay_adapters.sandbox.clock import Offset, SandboxClock
from kpay_adapters.sandbox.journal import Announcement, Case, Entry, Payment
from kpay_adapters.sandbox.network import SandboxNetwork
from kpay_adapters.sandbox.witness import Witnesses
from kpay_core.commit import Record

# What the journal keeps, and the tables it is kept in where its store has tables.
RECORDS: Mapping[type[Record], str] = {
    Entry: "sandbox_journal",
    Announcement: "sandbox_announcements",
    Case: "sandbox_cases",
    Payment: "sandbox_payments",
    Offset: "sandbox_clock",
}

__all__ = [
    "RECORDS",
    "Announcement",
    "Case",
    "Entry",
    "Offset",
    "Payment",
    "SandboxBank",
    "SandboxClock",
    "SandboxNetwork",
    "Witnesses",
]
