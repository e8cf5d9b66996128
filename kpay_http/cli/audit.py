"""`kpay audit`: the books, requests and events, derived again and compared."""

import asyncio
import sys
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from typing import Any

import click
import msgspec

from kpay_core.commit import Record, Unavailable
from kpay_core.domain.audit import Disagreement, Report
from kpay_core.domain.charges import Charge
from kpay_core.domain.deliveries import Attempt, Delivery
from kpay_core.domain.disputes import Dispute
from kpay_core.domain.events import Event
from kpay_core.domain.idempotency import IdempotencyKey
from kpay_core.domain.lanes import Lane
from kpay_core.domain.ledger import Book, Sheet, Transfer
from kpay_core.domain.payouts import Payout, Settlement
from kpay_core.domain.refunds import Refund
from kpay_core.ports import NoAnswer
from kpay_http import compose
from kpay_http.cli.tools import NO_SECRET, as_json, print_json, say
from kpay_http.settings import read_settings

# What the summary calls the records of each kind.
PLURALS = {
    "Charge": "charges",
    "Refund": "refunds",
    "Dispute": "disputes",
    "Payout": "payouts",
    "Transfer": "transfers",
    "IdempotencyKey": "keys",
    "Event": "events",
    "Delivery": "deliveries",
    "Attempt": "attempts",
    "Lane": "lanes",
    "Book": "books",
    "Sheet": "sheets",
}

# What an audit reads from the first to the last: transfers twice, beside their objects and in their books. And what a
# witness has of objects.
READ: tuple[type[Record], ...] = (
    *(Charge, Refund, Dispute, Payout, Transfer),
    *(IdempotencyKey, Event, Delivery, Attempt, Lane),
    *(Book, Settlement, Sheet, Transfer),
)
WITNESSED: tuple[type[Record], ...] = (Charge, Refund, Payout)


@click.command()
@click.option("--no-journal", is_flag=True, help="Do not ask the sandbox what really happened.")
@as_json
@click.pass_context
def audit(context: click.Context, no_journal: bool, as_json: bool) -> None:
    """
    Derive all books again from transfers and objects, and compare; so with keys, events and deliveries.

    Changes nothing, and runs beside a server. Ends with 0 when all agrees, with 1 when something disagrees, and with
    2 when it could not be done.
    """
    report, witnessed = asyncio.run(run(journal=not no_journal))
    if as_json:
        print_json(shown(report, witnessed))
    else:
        show(report, witnessed)
    context.exit(0 if report.is_clean else 1)


async def run(*, journal: bool) -> tuple[Report, bool]:
    """Audit the database of the settings; tell also whether it was held against the sandbox's journal."""
    settings = read_settings(test_clock=True)
    if settings.database_file is not None and not compose.is_there(settings.database_file):
        raise compose.Unreachable(f"There is no database {settings.database_file}.")
    await compose.check_migrated(settings)
    # Its time is that of a sandbox, where there is one to ask.
    if not compose.has_journal(settings) or (settings.sandbox_url is not None and not journal):
        settings = msgspec.structs.replace(settings, test_clock=False)
    async with compose.open_kpay(settings, NO_SECRET) as opened:
        witnesses = compose.witnesses_of(settings, opened.kpay) if journal else {}
        try:
            async with progress(opened.store.count, witnessed=bool(witnesses)) as tell:
                return await opened.kpay.audit(witnesses=witnesses, on_progress=tell), bool(witnesses)
        except NoAnswer as failure:
            raise compose.Unreachable(
                f"The sandbox's journal cannot be read: {failure.__cause__ or failure}"
            ) from failure


@asynccontextmanager
async def progress(
    count: Callable[[type[Record]], Awaitable[int]], *, witnessed: bool
) -> AsyncGenerator[Callable[[int], None]]:
    """Show on a terminal how much is read of what there is; nothing where counting that takes too long."""
    total = None
    if sys.stderr.isatty():
        with suppress(Unavailable):
            total = sum([await count(kind) for kind in (*READ, *(WITNESSED if witnessed else ()))])
    if total is None:
        yield lambda _: None
        return
    with click.progressbar(length=total, label="Auditing", file=sys.stderr) as bar:
        yield bar.update


def shown(report: Report, witnessed: bool) -> dict[str, Any]:
    """What is printed for machines."""
    fields: dict[str, Any] = msgspec.to_builtins(report)
    return {"clean": report.is_clean, "journal": witnessed, **fields}


def show(report: Report, witnessed: bool) -> None:
    """Print every disagreement, and what it comes to."""
    for each in report.disagreements:
        say(in_words(each))
    if report.disagreeing > len(report.disagreements):
        say(f"… and {report.disagreeing - len(report.disagreements):,} more.")
    for notice in report.explained:
        say(
            f"{notice.reference}  notice {notice.id} is {notice.status}: {notice.reason or 'to be sent back'}"
        )
    if report.explaining > len(report.explained):
        say(f"… and {report.explaining - len(report.explained):,} more notices.")
    if report.disagreements or report.explained:
        say("")
    say(f"Checked {listed(report.checked) or 'nothing: there is nothing yet'}.")
    say(f"Still open: {listed(report.open)}." if any(report.open.values()) else "Nothing is still open.")
    for mode, accounts in report.totals.items():
        say(f"Cents in {mode} mode: {', '.join(f'{name} {cents:,}' for name, cents in accounts.items())}.")
    if report.moving:
        say(f"{report.moving:,} objects or books moved each time they were looked at, and were not judged.")
    say("Held against the sandbox's journal." if witnessed else "Not held against the sandbox's journal.")
    say("Everything agrees." if report.is_clean else f"{report.disagreeing:,} DISAGREE.")


def in_words(each: Disagreement) -> str:
    """Say in one line what disagrees, and by how much."""
    by = "" if each.difference is None else f" ({each.difference:+,})"
    found, expected = number(each.found), number(each.expected)
    return f"{each.id}  {each.law}: {each.what} is {found}, should be {expected}{by}"


def number(value: object) -> str:
    return f"{value:,}" if isinstance(value, int) else "nothing" if value is None else f"{value}"


def listed(counts: dict[str, int]) -> str:
    """List how many there are of each kind."""
    return ", ".join(f"{count:,} {PLURALS[kind]}" for kind, count in counts.items() if count)
