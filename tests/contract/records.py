"""The records of the kit, under the name that they have here."""

from kpay_adapters.testing.records import *  # noqa: F403
