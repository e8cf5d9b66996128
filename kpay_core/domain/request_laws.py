"""
The laws of requests: what must hold between an idempotency key, what was made under it, and what was answered.

One key, one effect, one answer (contract, section 4). A law is a function of a case, all that there is under one key,
and returns what is other than it says.
"""

from collections.abc import Callable, Sequence
from itertools import pairwise

import msgspec

from kpay_core.domain import charges, looks, refunds
from kpay_core.domain.charges import Charge
from kpay_core.domain.idempotency import LIFE, IdempotencyKey, Outcome, State
from kpay_core.domain.laws import Broken, Difference, Differences, compare
from kpay_core.domain.refunds import Refund
from kpay_core.domain.scope import Scope

Subject = Charge | Refund


class KeyCase(msgspec.Struct):
    """
    A key, and what was made under it, oldest first.

    That is everything, if the case is whole. If it is not, what is not there is not missed.
    """

    key: IdempotencyKey
    subjects: Sequence[Subject] = ()
    is_whole: bool = True

    @property
    def subject(self) -> Subject | None:
        """What the key leads to now."""
        return next((each for each in self.subjects if each.id == self.key.subject), None)


KeyLaw = Callable[[KeyCase], Differences]


def a_key_leads_to_what_was_made_under_it(case: KeyCase) -> Differences:
    """The subject of a key is there, says that it was made under this key, and is of the key's merchant and mode."""
    subject = case.subject
    if subject is None:
        return compare("subject", case.key.subject, None) if case.is_whole else ()
    return compare("key of its subject", case.key.id, subject.idempotency_key) + compare(
        "book of its subject", _book_of(case.key), _book(subject.scope)
    )


def a_key_lives_from_when_its_subject_was_made(case: KeyCase) -> Differences:
    """The 24 hours of a key begin when what it leads to was made, also where it was used before."""
    subject, began_at = case.subject, case.key.first_used_at
    if subject is None or subject.created_at == began_at:
        return ()
    return (Difference("first used at", str(subject.created_at), str(began_at)),)


def a_key_is_answered_when_its_subject_is_done(case: KeyCase) -> Differences:
    """A key keeps an answer from when its subject has one to give; it is free where the subject was undone."""
    subject, key = case.subject, case.key
    if subject is None:
        return ()
    undone, done = was_undone(subject), has_an_answer(subject)
    expected = (State.FREE,) if undone else (State.ANSWERED,) if done else (State.WORKING, State.ACCEPTED)
    return () if key.state in expected else compare("state", expected[0], key.state)


def an_answer_says_what_became_of_its_subject(case: KeyCase) -> Differences:
    """The answer that a key keeps is of its subject: created if it succeeded or is under way, declined if it failed."""
    subject, key = case.subject, case.key
    if subject is None or key.state is not State.ANSWERED:
        return ()
    declined = isinstance(subject, Charge) and subject.status is charges.Status.FAILED
    expected = Outcome.DECLINED if declined else Outcome.CREATED
    found = compare("outcome", expected, key.outcome)
    if key.answer is None or subject.id not in key.answer:
        found += (Difference("answer", f"one that names {subject.id}", "another"),)
    return found


def a_key_makes_one_effect(case: KeyCase) -> Differences:
    """Of all that was made under one key, whatever took effect is 24 hours apart, and the rest was undone."""
    key = case.key
    left = [
        (each.id, each.created_at)
        for each in case.subjects
        if each.id != key.subject and not was_undone(each)
    ]
    # What the key leads to now may have been undone; it was used anew for it all the same, and not too soon.
    return tuple(
        Difference("effects under one key within 24 hours", one, other)
        for (one, one_at), (other, other_at) in pairwise([*left, (key.subject, key.first_used_at)])
        if other_at < one_at + LIFE
    )


def what_a_key_has_left_is_done(case: KeyCase) -> Differences:
    """What was made under a key that leads elsewhere by now has its outcome: nobody would find it through the key."""
    return tuple(
        Difference(f"outcome of {each.id}", "one", "none")
        for each in case.subjects
        if each.id != case.key.subject and not has_an_answer(each)
    )


KEY_LAWS: tuple[KeyLaw, ...] = (
    a_key_leads_to_what_was_made_under_it,
    a_key_lives_from_when_its_subject_was_made,
    a_key_is_answered_when_its_subject_is_done,
    an_answer_says_what_became_of_its_subject,
    a_key_makes_one_effect,
    what_a_key_has_left_is_done,
)

# What holds only by clocks that are never turned back: a time that comes again is counted twice.
BY_THE_CLOCK = frozenset({a_key_makes_one_effect.__name__})


def has_an_answer(subject: Subject) -> bool:
    """Tell whether the sender can be answered for good; of a refund that is pending he can."""
    if isinstance(subject, Charge):
        return looks.is_settled(subject)
    return subject.status not in (refunds.Status.SENDING, refunds.Status.REVERSING)


def was_undone(subject: Subject) -> bool:
    """Tell whether nothing was done in the end, so that the request may be tried anew."""
    if isinstance(subject, Charge):
        return charges.was_undone(subject)
    return refunds.was_undone(subject)


def judge_key(case: KeyCase) -> Sequence[Broken]:
    """Hold a key against every law of keys."""
    return [Broken(law.__name__, each) for law in KEY_LAWS for each in law(case)]


def _book_of(key: IdempotencyKey) -> str:
    return "/".join(key.id.split("/", 2)[:2])


def _book(scope: Scope) -> str:
    return f"{scope.merchant}/{scope.mode}"
