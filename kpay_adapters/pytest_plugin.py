"""
A plugin for pytest, found by it wherever this package is installed: the fixture `kpay`.

It is loaded with every run, also for whoever wants nothing of it. So it stands outside of the kit, of which it imports
nothing before the fixture is asked for.
"""

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from kpay_adapters.testing.shop import Shop

# Where an assertion fails there it tells what was compared, as in a test file.
pytest.register_assert_rewrite("kpay_adapters.testing.contract")


@pytest.fixture
def kpay() -> "Shop":
    """A K-Payments in memory with one approved merchant, a clock that stands still, and the sandbox behind it."""
    from kpay_adapters.testing.shop import open_shop

    return open_shop()
