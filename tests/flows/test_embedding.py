"""K-Payments in somebody's own process, without a server and without an event loop."""

import asyncio

from kpay_adapters.keyring import SecretKeyring
from kpay_adapters.memory import MemoryStore
from kpay_adapters.sandbox import SandboxNetwork
from kpay_adapters.system import SystemClock, SystemIds
from kpay_adapters.testing import CHARGE, make_kpay
from kpay_core import Kpay, Scope
from tests.flows.world import run


def test_ten_lines_take_a_charge() -> None:
    async def shop() -> None:
        clock = SystemClock()
        network = SandboxNetwork(journal=MemoryStore(), clock=clock)
        kpay = Kpay(
            store=MemoryStore(),
            processors={"test": network},
            clock=clock,
            ids=SystemIds(),
            keyring=SecretKeyring(bytes(32)),
        )
        demo = await kpay.ensure_demo_merchant()
        scope = await kpay.authenticate(demo.keys.test.secret)
        answer = await kpay.create_charge(scope, CHARGE, idempotency_key="order-1024")
        assert answer.value["status"] == "succeeded"

    asyncio.run(shop())


def test_flows_await_nothing_but_ports_so_no_event_loop_is_needed() -> None:
    kpay = make_kpay()
    demo = run(kpay.ensure_demo_merchant())
    scope = Scope(demo.merchant.id, livemode=False)
    answer = run(kpay.create_charge(scope, CHARGE))
    assert run(kpay.create_refund(scope, {"charge": answer.value["id"]})).value["status"] == "succeeded"


def test_the_same_seed_gives_the_same_answers_to_the_byte() -> None:
    def once() -> list[str]:
        kpay = make_kpay()
        demo = run(kpay.ensure_demo_merchant())
        scope = Scope(demo.merchant.id, livemode=False)
        return [run(kpay.create_charge(scope, CHARGE, idempotency_key=key)).body for key in ("a", "b", "a")]

    first = once()
    assert first == once()
    assert first[0] == first[2] != first[1]


def test_a_system_shows_no_secret() -> None:
    assert "\\x00" not in repr(make_kpay().keyring)
