"""The composition root: the one place that chooses adapters. The server, the worker and the command line ask it."""

from typing import TYPE_CHECKING

from kpay_http.compose.checks import CannotCheck, open_check
from kpay_http.compose.databases import (
    NotMigrated,
    Unreachable,
    check_migrated,
    is_there,
    keyring_of,
    migrate_all,
    secret_of,
)
from kpay_http.compose.deliverers import open_kicker, open_sender
from kpay_http.compose.journals import JOURNAL_METADATA
from kpay_http.compose.sandboxes import has_journal, serve_sandbox, witnesses_of
from kpay_http.compose.systems import Opened, open_kpay, open_system

if TYPE_CHECKING:
    from kpay_adapters.testing.merchant.checking import Checked as Checked

__all__ = [
    "JOURNAL_METADATA",
    "CannotCheck",
    "NotMigrated",
    "Opened",
    "Unreachable",
    "check_migrated",
    "has_journal",
    "is_there",
    "keyring_of",
    "migrate_all",
    "open_check",
    "open_kicker",
    "open_kpay",
    "open_sender",
    "open_system",
    "secret_of",
    "serve_sandbox",
    "witnesses_of",
]
