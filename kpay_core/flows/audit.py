"""
The audit: everything is derived again from transfers and objects, and compared. Nothing is written.

Objects, their transfers and the words of a witness are read side by side, in the order of their names; keys, events and
deliveries with what belongs to them, looked up for a page at once; the books one after the other, from their first
transfer on. All are read a page at a time, so that memory does not grow with what there is; of each merchant's two
books a few sums are kept.
"""

from collections.abc import Mapping

from kpay_core.domain import book_laws, ledger
from kpay_core.domain.audit import UNFINISHED, Report
from kpay_core.domain.book_laws import Holdings
from kpay_core.domain.laws import KINDS
from kpay_core.domain.notices import Notice
from kpay_core.domain.scope import Scope
from kpay_core.flows.audit_books import check_books
from kpay_core.flows.audit_deliveries import DeliveryAudit
from kpay_core.flows.audit_objects import ObjectAudit
from kpay_core.flows.audit_requests import RequestAudit
from kpay_core.flows.audit_telling import TellingAudit
from kpay_core.flows.streaming import OnPage, records
from kpay_core.ports import Ports, Witness


def tell_nobody(records: int) -> None:
    """Tell nobody how many more records were read."""


async def audit(
    ports: Ports, *, witnesses: Mapping[str, Witness] | None = None, on_progress: OnPage = tell_nobody
) -> Report:
    """
    Derive everything again, compare, and return what disagrees; `witnesses` are held against the books of their modes.

    What was committed before it began and is wrong is found, unless it is put right meanwhile. What is right is not
    reported, however much is written at the same time: whatever disagrees is read anew by itself, as of one moment.
    What a witness says must disagree for some seconds, in which its news can be taken in.
    `on_progress` is told how many more records were read. Raises `Unavailable`, and `NoAnswer` of a witness.
    """
    report, held = Report(), dict[Scope, Holdings]()
    requests, telling = RequestAudit(ports, report, on_progress), TellingAudit(ports, report, on_progress)
    objects = ObjectAudit(ports, witnesses or {}, report, held, on_progress, requests.take, telling.take)
    for kind in KINDS:
        await objects.check(kind)
    await requests.finish()
    await telling.finish()
    await DeliveryAudit(ports, report, on_progress).check()
    await check_books(ports, report, held, on_progress)
    _check_balances(report, held)
    await _list_notices(ports, report, on_progress)
    await objects.look_again_later()
    return report


def _check_balances(report: Report, held: Mapping[Scope, Holdings]) -> None:
    """Compare what merchants have, and add up all accounts."""
    for scope, its in held.items():
        law = book_laws.balances_follow_from_the_objects
        report.note(law.__name__, ledger.book_id(scope), *law(its))
        report.add_totals(scope.mode, its.accounts)


async def _list_notices(ports: Ports, report: Report, on_progress: OnPage) -> None:
    """List the notices that a person may want to read."""
    waiting = await records(ports.store, Notice, ("status", "in", UNFINISHED), on_page=on_progress)
    while waiting.head is not None:
        report.explain(await waiting.next())
