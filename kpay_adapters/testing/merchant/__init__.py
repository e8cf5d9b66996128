"""
What a merchant sees, as a state machine: it asks for anything in any order, and knows what must be true then.

    class Mine(MerchantMachine):
        def open_target(self):
            return InProcess(make_kpay(store=MyStore()))

    TestMine = Mine.TestCase
"""

from importlib.util import find_spec

from kpay_adapters.testing.extras import NotInstalled

if find_spec("hypothesis") is None:
    raise NotInstalled("hypothesis")

from kpay_adapters.testing.merchant.cards import TestCard, of_the_sandbox
from kpay_adapters.testing.merchant.checking import Checked, Finding, check
from kpay_adapters.testing.merchant.laws import WORDS, Law, LawBroken
from kpay_adapters.testing.merchant.machine import MerchantMachine

__all__ = [
    "WORDS",
    "Checked",
    "Finding",
    "Law",
    "LawBroken",
    "MerchantMachine",
    "TestCard",
    "check",
    "of_the_sandbox",
]
