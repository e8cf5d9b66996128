"""
Requests: what was made under an idempotency key, held against the key, and each key against what it leads to.

A key moves only in a commit that moves what it leads to. So where a key has not moved, what was read in between stood
beside it at that moment.
"""

from collections.abc import Sequence

from kpay_core.domain import audit as audits
from kpay_core.domain.audit import Report
from kpay_core.domain.charges import Charge
from kpay_core.domain.idempotency import IdempotencyKey
from kpay_core.domain.laws import Case, Difference, Source
from kpay_core.domain.refunds import Refund
from kpay_core.domain.request_laws import KeyCase, Subject, judge_key
from kpay_core.flows.audit_pages import LOOKS, look_up, page_after
from kpay_core.flows.streaming import PAGE, OnPage
from kpay_core.ports import Ports


class RequestAudit:
    """The audit of requests. It is handed charges and refunds one by one, and notes what it finds in `report`."""

    def __init__(self, ports: Ports, report: Report, on_page: OnPage) -> None:
        self._store = ports.store
        self._report = report
        self._on_page = on_page
        # Those whose keys are looked up next.
        self._made: list[Subject] = []

    async def take(self, case: Case[Source]) -> None:
        """Take a charge or refund in; whatever else there is has no key."""
        source = case.source
        if isinstance(source, Charge | Refund) and source.idempotency_key is not None:
            self._made.append(source)
            if len(self._made) == PAGE:
                await self._check_made()

    async def finish(self) -> None:
        """Check those that are left, and then every key."""
        await self._check_made()
        after: str | None = ""
        while after is not None:
            page, after = await page_after(self._store, IdempotencyKey, after, on_page=self._on_page)
            await self._check_keys(page)

    async def _check_made(self) -> None:
        """Hold what was made under keys against them, a page at once."""
        made, self._made = self._made, []
        keys = await look_up(self._store, IdempotencyKey, (str(each.idempotency_key) for each in made))
        for subject in made:
            key = keys.get(str(subject.idempotency_key))
            if key is None or judge_key(_case(key, subject)):
                await self._look_at_subject(subject)

    async def _look_at_subject(self, subject: Subject) -> None:
        """Judge a charge or refund that disagrees with its key, as both are now."""
        id = str(subject.idempotency_key)
        for _ in range(LOOKS):
            key = await self._store.get(IdempotencyKey, id)
            subject = await self._store.get(type(subject), subject.id) or subject
            if key is None:
                self._report.note(audits.LOST_TO_ITS_KEY, subject.id, Difference("key", id, None))
                return
            if await self._store.get(IdempotencyKey, id) == key:
                self._judge(_case(key, subject))
                return
        self._report.moving += 1

    async def _check_keys(self, page: Sequence[IdempotencyKey]) -> None:
        """
        Look for keys that do not lead to what was made under them; those that do are judged from there.

        What a key leads to was there before it, and is looked up after it.
        """
        found: dict[str, Subject] = {}
        for kind in (Charge, Refund):
            ids = (key.subject for key in page if _kind_of(key) is kind)
            found.update(await look_up(self._store, kind, ids))
        for key in page:
            subject = found.get(key.subject)
            if subject is None or subject.idempotency_key != key.id:
                self._judge(KeyCase(key, () if subject is None else (subject,)))
        self._report.checked[IdempotencyKey.__name__] += len(page)

    def _judge(self, case: KeyCase) -> None:
        for law, difference in judge_key(case):
            self._report.note(law, case.key.id, difference)


def _kind_of(key: IdempotencyKey) -> type[Subject]:
    """Tell what kind of object a key leads to: names of refunds have a prefix, those of charges have none."""
    return Refund if key.subject.startswith("re_") else Charge


def _case(key: IdempotencyKey, subject: Subject) -> KeyCase:
    """Put a key beside one of what was made under it: what it leads to, or what it has left."""
    return KeyCase(key, (subject,), is_whole=key.subject == subject.id)
