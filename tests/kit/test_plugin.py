"""The fixture `kpay` is there wherever the package is installed, and whoever does not ask for it notices nothing."""

import sys

import pytest

pytest_plugins = ("pytester",)

# In a process of its own, as somebody else's tests run; without what our own settings add.
ALONE = (
    "-q",
    "-p",
    "no:xdist",
    "-p",
    "no:timeout",
    "-p",
    "no:cacheprovider",
    "-W",
    "error",
    "--strict-markers",
)


def run(pytester: pytest.Pytester, tests: str) -> pytest.RunResult:
    pytester.makepyfile(tests)
    return pytester.runpytest_subprocess(*ALONE)


def test_the_fixture_is_a_merchant_who_can_charge_and_is_told_of_it(pytester: pytest.Pytester) -> None:
    done = run(
        pytester,
        """
        import asyncio
        from kpay_adapters.testing import CHARGE, START, answer
        from kpay_core.domain import signing

        def test_a_charge_is_told_to_the_shop(kpay):
            hooks = {"url": "https://shop.example/hooks", "enabled_events": ["charge.succeeded"]}
            secret = kpay.run(kpay.kpay.create_endpoint(kpay.scope, hooks)).secret
            charged = kpay.run(kpay.kpay.create_charge(kpay.scope, CHARGE, idempotency_key="order-1"))
            kpay.run(kpay.pass_time(seconds=1))
            (post,) = kpay.posts
            signing.verify(post.body, post.headers[signing.HEADER], secret, now=kpay.clock.now())
            assert charged.value["id"].encode() in post.body

        def test_a_server_that_is_down_is_tried_again(kpay):
            kpay.receiver = lambda post: answer(post, 503)
            kpay.run(kpay.kpay.create_endpoint(kpay.scope, {"url": "https://shop.example/hooks"}))
            kpay.run(kpay.kpay.create_charge(kpay.scope, CHARGE))
            kpay.run(kpay.pass_time(days=4))
            assert len([post for post in kpay.posts if b"charge.succeeded" in post.body]) == 9

        def test_each_test_has_its_own(kpay):
            assert kpay.run(kpay.kpay.list_charges(kpay.scope, {})).data == []
            assert kpay.clock.now() == START
            assert kpay.posts == []

        def test_it_works_in_an_event_loop_too(kpay):
            async def shop():
                assert await kpay.kpay.authenticate(kpay.keys.test.secret) == kpay.scope
                await kpay.kpay.create_charge(kpay.scope, CHARGE)
                await kpay.pass_time(days=4)
                return await kpay.kpay.list_payouts(kpay.scope, {})
            (payout,) = asyncio.run(shop()).data
            assert payout.status == "paid"
        """,
    )
    done.assert_outcomes(passed=4)


def test_whoever_does_not_ask_for_it_imports_nothing_of_it(pytester: pytest.Pytester) -> None:
    done = run(
        pytester,
        """
        import sys

        def test_nothing_is_there():
            ours = sorted(name for name in sys.modules if name.startswith("kpay_"))
            assert ours == ["kpay_adapters", "kpay_adapters.pytest_plugin"]
        """,
    )
    done.assert_outcomes(passed=1)


def test_a_fixture_of_the_same_name_wins(pytester: pytest.Pytester) -> None:
    pytester.makeconftest("import pytest\n\n@pytest.fixture\ndef kpay():\n    return 'mine'\n")
    run(pytester, "def test_it_is_mine(kpay): assert kpay == 'mine'").assert_outcomes(passed=1)


def test_the_kit_is_imported_without_hypothesis_and_pytest(pytester: pytest.Pytester) -> None:
    program = """
import sys
sys.modules["hypothesis"] = sys.modules["pytest"] = None
import kpay_adapters.testing
from kpay_adapters.testing import targets, records
for room in ("strategies", "mistakes", "merchant", "contract"):
    try:
        __import__(f"kpay_adapters.testing.{room}")
    except ImportError as missing:
        print(missing)
"""
    done = pytester.run(sys.executable, "-c", program)
    assert done.ret == 0
    assert done.outlines == [
        f"This needs {package}: pip install 'k-payments[testing]'"
        for package in ("hypothesis", "hypothesis", "hypothesis", "pytest")
    ]
