"""
The merchants of a run: what they ask, what they are told, and what they may rely on from then on.

They know the public document and nothing else. What they find otherwise than it says is broken, whatever the books say.
"""

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any

import msgspec

from kpay_adapters.simulation.watch import TOLERANCE
from kpay_core import Scope
from kpay_core.commit import CommitFailed
from kpay_core.domain import signing
from kpay_core.domain.charges import Charge
from kpay_core.domain.charges import Status as ChargeStatus
from kpay_core.domain.endpoints import ROTATION
from kpay_core.domain.errors import IdempotencyKeyReused, Invalid, KpayError, NotFound
from kpay_core.domain.idempotency import Answer, Outcome
from kpay_core.domain.laws import Broken, Difference
from kpay_core.domain.posts import Post
from kpay_core.domain.refunds import Refund
from kpay_core.domain.refunds import Status as RefundStatus

# What a request may be refused with, and still be as if it had never been sent.
REFUSED = (Invalid, NotFound, IdempotencyKeyReused)


class Request(msgspec.Struct):
    """
    A charge or a refund that somebody wants, for as long as he goes on asking for it.

    `number` is in its description or its notes, so that whatever comes of it can be told from all else. `answer` is
    the last final one that was heard; `was_first` says that one of them was no replay. `promised` is the charge of the
    last answer that told to come back, and when it was heard, by the latest of all clocks; `passed_over` are those of
    which one who came back in time heard no more.
    """

    number: int
    scope: Scope
    key: str | None
    kind: type[Charge | Refund]
    body: dict[str, Any]
    asked_at: datetime
    answer: Answer | None = None
    was_first: bool = False
    promised: tuple[str, datetime] | None = None
    passed_over: list[str] = msgspec.field(default_factory=list[str])
    failed: bool = False
    unheard: bool = False

    @property
    def name(self) -> str:
        """What its objects carry."""
        return f"request {self.number}"


class Hook(msgspec.Struct):
    """
    A server that a merchant has registered, with the secrets that it verifies by, and since when each may be old.

    `rotations` are those that were begun, `rotating` those that have not ended, and perhaps never will. `silent` says
    that nothing may be sent there: it was deleted or disabled, its merchant was told so, and he has not `wanted` it
    enabled.
    """

    url: str
    scope: Scope
    endpoint: str | None = None
    rotations: int = 0
    rotating: int = 0
    told_at: dict[str, int] = msgspec.field(default_factory=dict[str, int])
    silent: bool = False
    wanted: bool = False
    secrets: list[tuple[str, datetime | None]] = msgspec.field(
        default_factory=list[tuple[str, datetime | None]]
    )


class Merchants:
    """All of them, and what they know. `broken` is told of what is otherwise than they may expect."""

    def __init__(self, broken: Callable[[Broken], None]) -> None:
        self.broken = broken
        self.requests: list[Request] = []
        self.by_key: dict[tuple[Scope, str], Request] = {}
        self.hooks: list[Hook] = []

    def ask(self, request: Request) -> Request:
        """Note what is asked for. One with a key that was used before stands beside the first, under its key."""
        self.requests.append(request)
        if request.key is not None:
            self.by_key[request.scope, request.key] = request
        return request

    def hear(
        self, request: Request, answer: Answer, *, in_time: bool, promise_holds: bool, now: datetime
    ) -> None:
        """
        Take an answer; `in_time` says that no clock has shown a time at which the key may be forgotten, `promise_holds`
        that none has shown one at which what was `promised` last may be. `now` is the latest that one has shown.
        """
        if answer.outcome is Outcome.ACCEPTED:
            request.promised = _subject_of(answer), now
            return
        if promise_holds and request.promised is not None and request.promised[0] != _subject_of(answer):
            request.passed_over.append(request.promised[0])
        request.promised = None
        before = request.answer
        if before is not None and answer.body != before.body and in_time:
            self.broken(_otherwise("one_answer_for_a_key", request, before.body, answer.body))
        if before is not None and not answer.replayed and request.was_first and in_time:
            self.broken(_otherwise("replays_say_so", request, "replayed", "anew"))
        request.was_first = request.was_first or not answer.replayed
        request.answer = answer

    def fail(self, request: Request, error: BaseException) -> None:
        """Take an error. One that is safe to repeat has done nothing, as far as its sender can tell."""
        if isinstance(error, CommitFailed | KpayError) and not isinstance(error, REFUSED):
            request.failed = True

    def receive(self, post: Post, *, now: datetime | None) -> None:
        """Verify a post as the public document says, by every secret in force; without `now` no clock is right."""
        hook = next(hook for hook in self.hooks if hook.url == post.url)
        if hook.silent:
            self.broken(Broken("nothing_is_sent_where_it_is_not_wanted", Difference(hook.url, 0, 1)))
        if now is None:
            return
        header = post.headers[signing.HEADER]
        signed_at = int(header.partition(",")[0].removeprefix("t="))
        for secret, replaced_at in hook.secrets:
            # What was signed before its merchant was told of a secret need not be signed with it.
            if signed_at <= hook.told_at.get(secret, 0):
                continue
            if replaced_at is not None and now >= replaced_at + ROTATION - TOLERANCE:
                continue
            try:
                signing.verify(post.body, header, secret, now=now)
            except signing.SignatureError as error:
                self.broken(
                    Broken(
                        "posts_are_signed_by_every_secret_in_force",
                        Difference(post.url, "signed", str(error)),
                    )
                )

    def check_answers(self, charges: Sequence[Charge], refunds: Sequence[Refund]) -> None:
        """Hold what was told against what has become of it, once nothing is on its way any more."""
        made: dict[str, list[Charge | Refund]] = {}
        for each in (*charges, *refunds):
            made.setdefault((each.description if isinstance(each, Charge) else each.notes) or "", []).append(
                each
            )
        by_id = {each.id: each for each in (*charges, *refunds)}
        for request in self.requests:
            self._check_effects(request, made.get(request.name, []))
            for id in request.passed_over:
                if _stands(by_id[id]):
                    self.broken(_otherwise("who_comes_back_is_not_charged_again", request, id, "another"))
            if request.answer is not None:
                self._check_answer(request, by_id)

    def _check_effects(self, request: Request, made: Sequence[Charge | Refund]) -> None:
        stands = [each for each in made if _stands(each)]
        if request.key is None and len(stands) > 1:
            self.broken(_otherwise("one_effect_for_a_request", request, 1, len(stands)))
        if request.key is None and request.failed and not request.unheard and stands:
            self.broken(_otherwise("an_error_leaves_no_effect", request, 0, stands[0].id))

    def _check_answer(self, request: Request, by_id: dict[str, Charge | Refund]) -> None:
        assert request.answer is not None
        told = request.answer.value
        if request.answer.outcome is Outcome.DECLINED:
            charge = by_id.get(_subject_of(request.answer))
            if not isinstance(charge, Charge) or charge.status is not ChargeStatus.FAILED:
                self.broken(_otherwise("answers_are_true", request, "a failed charge", str(charge)))
            return
        made = by_id.get(str(told["id"]))
        if made is None or made.amount != told["amount"] or made.scope != request.scope:
            self.broken(_otherwise("answers_are_true", request, "what was told", str(made)))
        elif isinstance(made, Charge) and made.status is not ChargeStatus.SUCCEEDED:
            self.broken(_otherwise("acknowledged_charges_stand", request, "succeeded", made.status.value))


def _subject_of(answer: Answer) -> str:
    """Return the id of the charge or refund that an answer is of."""
    told: Any = answer.value
    return told["error"]["details"]["charge"] if answer.outcome is Outcome.DECLINED else told["id"]


def _stands(made: Charge | Refund) -> bool:
    """Tell whether money moved, and stays where it went."""
    if isinstance(made, Charge):
        return made.status is ChargeStatus.SUCCEEDED
    return made.status is RefundStatus.SUCCEEDED


def _otherwise(law: str, request: Request, expected: int | str, found: int | str) -> Broken:
    return Broken(law, Difference(request.name, expected, found))
