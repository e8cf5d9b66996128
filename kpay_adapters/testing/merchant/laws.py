"""What must be true from a merchant's side, whatever it asks for and whatever happens behind."""

from collections import Counter
from enum import StrEnum


class Law(StrEnum):
    """Each is one sentence, and is told of by its name."""

    REQUESTS_ARE_ANSWERED = "requests_are_answered"
    CARDS_ARE_NEVER_SHOWN = "cards_are_never_shown"
    SECRETS_ARE_TOLD_ONCE = "secrets_are_told_once"
    WHAT_IS_VALID_IS_TAKEN = "what_is_valid_is_taken"
    WHAT_IS_WRONG_IS_NAMED = "what_is_wrong_is_named"
    WHAT_WAS_SENT_COMES_BACK = "what_was_sent_comes_back"
    A_KEY_HAS_ONE_ANSWER = "a_key_has_one_answer"
    A_KEY_IS_FOR_ONE_REQUEST = "a_key_is_for_one_request"
    A_KEY_IS_FREE_AFTER_A_DAY = "a_key_is_free_after_a_day"
    REFUNDS_NEVER_EXCEED_THEIR_CHARGE = "refunds_never_exceed_their_charge"
    AMOUNTS_ADD_UP = "amounts_add_up"
    OUTCOMES_STAND = "outcomes_stand"
    LISTS_ARE_WHOLE = "lists_are_whole"
    NOTHING_IS_THERE_UNASKED = "nothing_is_there_unasked"
    OTHERS_SEE_NOTHING = "others_see_nothing"
    EACH_CHANGE_IS_TOLD_ONCE = "each_change_is_told_once"
    THE_BALANCE_FOLLOWS_FROM_EVENTS = "the_balance_follows_from_events"
    PAYOUTS_ARE_THEIR_LINES = "payouts_are_their_lines"
    THE_BOOKS_AGREE = "the_books_agree"


WORDS: dict[Law, str] = {
    Law.REQUESTS_ARE_ANSWERED: "no answer is the server's own failure, and nobody waits for ever",
    Law.CARDS_ARE_NEVER_SHOWN: "no answer holds the number of a card",
    Law.SECRETS_ARE_TOLD_ONCE: "a signing secret is in the answer that made it, and in no other",
    Law.WHAT_IS_VALID_IS_TAKEN: "a sound request is carried out, by the card and what is left of the charge",
    Law.WHAT_IS_WRONG_IS_NAMED: "a request with mistakes is refused, and every field that is wrong is named",
    Law.WHAT_WAS_SENT_COMES_BACK: "an object shows what it was made with, value and type",
    Law.A_KEY_HAS_ONE_ANSWER: "the same request with the same key is answered with the same bytes, and has one effect",
    Law.A_KEY_IS_FOR_ONE_REQUEST: "another request with the same key is refused, and has no effect",
    Law.A_KEY_IS_FREE_AFTER_A_DAY: "a key is remembered for 24 hours, no less and no more",
    Law.REFUNDS_NEVER_EXCEED_THEIR_CHARGE: "the refunds of a charge that have not failed are no more than the charge",
    Law.AMOUNTS_ADD_UP: "what a charge says of its refunds is the sum of them",
    Law.OUTCOMES_STAND: "an object moves forward only, and nothing else of it ever changes",
    Law.LISTS_ARE_WHOLE: "a list is newest first, has everything once, and is the same in pages of any size, both ways",
    Law.NOTHING_IS_THERE_UNASKED: "there is no charge, refund or endpoint that was not asked for",
    Law.OTHERS_SEE_NOTHING: "for others an object is the same 404 as one that never was, byte for byte",
    Law.EACH_CHANGE_IS_TOLD_ONCE: "each change is told by one event, and the events of an object lead to how it is",
    Law.THE_BALANCE_FOLLOWS_FROM_EVENTS: "the balance moves by what the events tell, to the cent",
    Law.PAYOUTS_ARE_THEIR_LINES: "a payout is the sum of its lines, and no line is in two",
    Law.THE_BOOKS_AGREE: "an audit of the whole store finds nothing",
}


class LawBroken(AssertionError):
    """A law does not hold, and what was seen instead."""

    def __init__(self, law: Law, seen: str) -> None:
        super().__init__(f"{law}: {WORDS[law]}. Seen: {seen}")
        self.law = law
        self.seen = seen


class Laws:
    """Holds what is seen against the laws, and counts how often each has held, in a count that may go on."""

    def __init__(self, held: Counter[str] | None = None, passed_over: Counter[str] | None = None) -> None:
        self.held: Counter[str] = Counter() if held is None else held
        self.passed_over: Counter[str] = Counter() if passed_over is None else passed_over
        self.broken: LawBroken | None = None

    def hold(self, law: Law, holds: bool, seen: str) -> None:
        """Raise `LawBroken` unless the law holds. What is `seen` is printed: never a card, a key or a secret."""
        if not holds:
            self.broken = LawBroken(law, seen)
            raise self.broken
        self.held[law] += 1

    def pass_over(self, why: str) -> None:
        """Note that something could not be judged, and why."""
        self.passed_over[why] += 1
