"""The card network of test mode: magic cards, and a journal that stands as the witness of what really happened."""

from kpay_adapters.sandbox.journal import Entry
from kpay_adapters.sandbox.network import SandboxNetwork

__all__ = ["Entry", "SandboxNetwork"]
