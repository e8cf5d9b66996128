"""The page on the ledger says what is booked: its stories are lived through, and their transfers compared."""

import asyncio
import re
from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Any

from kpay_adapters.testing import CHARGE, FrozenClock, make_kpay
from kpay_core import Kpay
from kpay_core.domain.ledger import LINES, POSTINGS, SHEET_TRANSFERS, Account, Kind, Transfer
from kpay_core.domain.scope import Scope
from kpay_core.flows.booking import MANY_TRANSFERS
from kpay_core.query import Query
from tests.docs.pages import PAGES
from tests.docs.test_pages import rows, section

PAGE = "docs/explanation/ledger.md"

HEAD = "| what happened | debit | credit | cents |"

Booked = tuple[Kind, Account, Account, int]


def stories(text: str) -> list[list[Booked]]:
    """Return the tables of transfers in a text."""
    tables = re.findall(rf"^{re.escape(HEAD)}\n(?:\|.*\n)+", text, re.MULTILINE)
    return [
        [
            (Kind(kind.strip("`")), Account(debit), Account(credit), int(cents))
            for kind, debit, credit, cents in rows(table)
        ]
        for table in tables
    ]


class Shop:
    """A merchant in memory, whose time passes at once."""

    def __init__(self) -> None:
        self.clock = FrozenClock()
        self.kpay: Kpay = make_kpay(clock=self.clock)
        self.scope = Scope("", livemode=False)

    async def open(self, **terms: Any) -> "Shop":
        acme = await self.kpay.apply(name="Acme", **terms)
        self.scope = Scope(acme.id, livemode=False)
        await self.kpay.approve(acme.id)
        return self

    async def charge(self, number: str = "4242424242424242", amount: int = 4999) -> str:
        body = {**CHARGE, "amount": amount, "source": {**CHARGE["source"], "number": number}}
        return str((await self.kpay.create_charge(self.scope, body, idempotency_key=None)).value["id"])

    async def refund(self, charge: str) -> None:
        await self.kpay.create_refund(self.scope, {"charge": charge, "amount": 1000}, idempotency_key=None)

    async def live_through(self, **time: float) -> None:
        until = self.clock.now() + timedelta(**time)
        await self.kpay.pass_time(until, turn_to=self.clock.turn_to)

    async def booked(self, *prefixes: str) -> list[Booked]:
        """Return the transfers whose kind begins so."""
        found = await self.kpay.store.find(Query(kind=Transfer, limit=1000))
        return [
            (each.kind, each.debit, each.credit, each.amount)
            for each in sorted(found, key=lambda each: each.id)
            if each.kind.value.startswith(prefixes)
        ]


async def paid_out(shop: Shop) -> list[Booked]:
    await shop.charge()
    await shop.live_through(days=4)
    return await shop.booked("")


async def payout_that_fails(shop: Shop) -> list[Booked]:
    await shop.charge()
    await shop.live_through(days=3, hours=13)
    return await shop.booked("payout_failed")


async def refunded(shop: Shop) -> list[Booked]:
    await shop.refund(await shop.charge())
    return await shop.booked("refund")


async def refund_that_fails(shop: Shop) -> list[Booked]:
    await shop.refund(await shop.charge("4000000000009839"))
    await shop.live_through(minutes=2)
    return await shop.booked("refund")


async def refund_that_bounces(shop: Shop) -> list[Booked]:
    await shop.refund(await shop.charge("4000000000005126"))
    await shop.live_through(minutes=2)
    return await shop.booked("refund")


async def disputed(shop: Shop, evidence: str) -> list[Booked]:
    await shop.charge("4000000000000259", amount=10_000)
    await shop.live_through(minutes=1)
    (dispute,) = (await shop.kpay.list_disputes(shop.scope, {})).data
    body = {"evidence": {"uncategorized_text": evidence}, "submit": True}
    await shop.kpay.update_dispute(shop.scope, dispute.id, body)
    await shop.live_through(minutes=1)
    return await shop.booked("dispute")


def lived(story: Callable[[Shop], Awaitable[list[Booked]]], **terms: Any) -> list[Booked]:
    async def live() -> list[Booked]:
        return await story(await Shop().open(**terms))

    return asyncio.run(live())


def test_a_charge_becomes_a_payout_as_the_page_says() -> None:
    paid, failed = stories(section(PAGE, "From a charge to a payout"))
    assert lived(paid_out) == paid
    assert lived(payout_that_fails, bank_account="000111111116") == failed


def test_a_refund_is_booked_as_the_page_says() -> None:
    succeeded, returned, bounced = stories(section(PAGE, "A refund"))
    assert lived(refunded) == succeeded
    assert lived(refund_that_fails) == returned
    assert lived(refund_that_bounces) == bounced


def test_a_dispute_is_booked_as_the_page_says() -> None:
    opened, won, lost = stories(section(PAGE, "A dispute"))
    assert lived(lambda shop: disputed(shop, "winning_evidence")) == opened + won
    assert lived(lambda shop: disputed(shop, "losing_evidence")) == opened + lost


def test_every_transfer_that_the_page_shows_is_between_the_accounts_of_its_kind() -> None:
    shown = [booked for story in stories(PAGES[PAGE]) for booked in story]
    assert {kind for kind, *_ in shown} == set(Kind), "every kind is in some story"
    for kind, debit, credit, _ in shown:
        assert POSTINGS[kind] == (debit, credit)
    table = rows(section(PAGE, "All postings"))
    assert {(Kind(kind.strip("`")), debit, credit, line) for kind, debit, credit, line in table} == {
        (kind, debit, credit, LINES.get(kind, "")) for kind, (debit, credit) in POSTINGS.items()
    }


def test_every_account_is_explained() -> None:
    assert [name for name, _ in rows(section(PAGE, "Accounts"))] == [account.value for account in Account]


def test_the_balance_goes_where_the_page_says() -> None:
    part = section(PAGE, "From a charge to a payout")
    table = rows(part[part.index("| after |") :].partition("\n\n")[0])
    durations = [{}, {"days": 2}, {"hours": 12}, {"days": 1}]

    async def live() -> list[list[str]]:
        shop = await Shop().open()
        await shop.charge()
        seen: list[list[str]] = []
        for time in durations:
            await shop.live_through(**time)
            # As a server does, once a second.
            await shop.kpay.mature()
            now = await shop.kpay.get_balance(shop.scope)
            seen.append([str(now.pending), str(now.available), str(now.reserved), str(now.in_transit)])
        return seen

    assert asyncio.run(live()) == [cells for _, *cells in table]


def test_the_numbers_of_sheets_are_those_of_the_code() -> None:
    part = section(PAGE, "Sheets: why a balance is fast and exact")
    assert f"more than {MANY_TRANSFERS} transfers" in part
    assert "one transfer in a thousand" in part
    assert round(SHEET_TRANSFERS, -3) == 1000
