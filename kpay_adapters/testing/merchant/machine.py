"""
The machine: a merchant who asks for anything in any order, and holds every answer against what must be true.

    class TestMine(MerchantMachine.TestCase): ...
"""

import re
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, cast
from uuid import uuid4

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from kpay_adapters.testing import mistakes, strategies
from kpay_adapters.testing.making import make_kpay
from kpay_adapters.testing.merchant.cards import TestCard, of_the_sandbox
from kpay_adapters.testing.merchant.endpoints import Endpoints
from kpay_adapters.testing.merchant.keys import Keys
from kpay_adapters.testing.merchant.laws import Law, Laws
from kpay_adapters.testing.merchant.lists import Lists
from kpay_adapters.testing.merchant.money import Money, Terms, learn_terms
from kpay_adapters.testing.merchant.notebook import LISTS, Notebook, Value
from kpay_adapters.testing.merchant.others import check_others
from kpay_adapters.testing.merchant.payments import Payments
from kpay_adapters.testing.merchant.telling import Events
from kpay_adapters.testing.mistakes import Mistaken
from kpay_adapters.testing.targets import Ask, InProcess, Reply, Said, Target
from kpay_core.domain import examples

# Which of some things, whatever their number.
WHICH = st.integers(0, 11)
KEYS = st.sampled_from([None, "a", "b", "c"])
# Small ones, so that refunds come to the end of their charge; and the least and the most.
AMOUNTS = st.sampled_from([50, 51, 100, 4999, 10_000_000])
PARTS = st.sampled_from([None, None, 1, 30, 50, 51, 2500, 10_000_000])
DETAILS = st.fixed_dictionaries(
    {"billing_address": st.just(examples.CHARGE["billing_address"]) | strategies.addresses()},
    optional={"description": strategies.texts(most=500), "metadata": strategies.metadata()},
)
WORDS = st.fixed_dictionaries(
    {}, optional={"reason": st.sampled_from(["duplicate", "other"]), "notes": strategies.texts(most=200)}
)
# What the sandbox's network waits for, looks, a payout, a day and more; none close to the end of a key's 24 hours.
SECONDS = st.sampled_from([1, 11, 31, 61, 130, 3_600, 90_000, 270_000])
# With a card that is good in any year that a clock is turned to.
SOUND = {**examples.CHARGE, "source": {**examples.CHARGE["source"], "exp_year": 9999}}
WRONG_CHARGES = mistakes.charges(st.just(SOUND))

# What may be a card's, also where it is of a length that none has. A shorter one may stand in an answer by chance.
LONG_NUMBER = re.compile("[0-9 ]{10,}")

# So many endpoints are as good as the hundred that a merchant may have.
FEW_ENDPOINTS = 4


class MerchantMachine(RuleBasedStateMachine):
    """
    Subclass it, and say in `open_target` where to ask; `cards` are what the target's network takes.

    Under Hypothesis each history has a target of its own, unless `open_target` returns the same again. A history that
    breaks a law is told by `notebook.history`, in words that hold no card, no key and no id.
    """

    cards: ClassVar[Sequence[TestCard]] = of_the_sandbox()

    def __init__(self) -> None:
        super().__init__()
        self.laws = self.open_laws()
        self.target = self.open_target()
        self.notebook = Notebook(self.target, self.laws)
        # What was looked at by nobody yet since it was changed.
        self.touched: set[str] = set()
        try:
            self._begin()
        except BaseException:
            self.close_target()
            raise

    def _begin(self) -> None:
        terms = self.learn_terms()
        self.lists = Lists(self.notebook)
        self.events = Events(self.notebook)
        self.keys = Keys(self.notebook, f"{uuid4()}/")
        self.payments = Payments(self.notebook, self.keys, self.lists)
        self.endpoints = Endpoints(self.notebook, self.lists)
        self.money = Money(self.notebook, self.lists, self.events, terms)

    def open_target(self) -> Target:
        """Return where to ask: by default a `Kpay` in memory, with the sandbox behind it."""
        return InProcess(make_kpay())

    def close_target(self) -> None:
        """Leave it."""
        self.target.close()

    def open_laws(self) -> Laws:
        """Return who holds the laws, and counts."""
        return Laws()

    def learn_terms(self) -> Terms | None:
        """Find out what charges cost, or return what is known; None where nobody can tell."""
        source = self.cards[0].in_hand(self.target.now().year + 1)
        return learn_terms(self.target, {**examples.CHARGE, "source": source})

    # What a merchant asks for.

    @initialize(amount=AMOUNTS)
    def charges_first(self, amount: int) -> None:
        self._charge(0, {**examples.CHARGE, "amount": amount}, None)

    @rule(card=st.integers(0, 99), amount=AMOUNTS, details=DETAILS, key=KEYS)
    def charges(self, card: int, amount: int, details: Mapping[str, Any], key: str | None) -> None:
        self._charge(card, {**details, "amount": amount}, key)

    @rule(amount=AMOUNTS, key=KEYS)
    def charges_a_good_card(self, amount: int, key: str | None) -> None:
        self._charge(0, {**examples.CHARGE, "amount": amount}, key)

    @rule(which=WHICH, amount=PARTS, words=WORDS, key=KEYS)
    def refunds(self, which: int, amount: int | None, words: Mapping[str, Any], key: str | None) -> None:
        if charge := self._pick("charge", which):
            self.payments.refund(charge["id"], amount, words, key)
            self.touched.add(charge["id"])

    @rule(which=WHICH)
    def sends_again(self, which: int) -> None:
        if names := list(self.keys.known):
            name = names[which % len(names)]
            self.keys.send_again(name)
            self.touched |= {self.keys.known[name].subject} & {
                each["id"] for each in self.notebook.own("charge")
            }

    @rule(wrong=WRONG_CHARGES)
    def charges_wrongly(self, wrong: Mistaken) -> None:
        self._be_refused("charges", wrong)

    @rule(which=WHICH, wrong=mistakes.refunds(""))
    def refunds_wrongly(self, which: int, wrong: Mistaken) -> None:
        if charge := self._pick("charge", which):
            fields = {"charge": charge["id"]} if "charge" not in wrong.fields else {}
            self._be_refused("refunds", Mistaken({**wrong.body, **fields}, wrong.fields))
            self.touched.add(charge["id"])

    @rule(which=WHICH, object=st.sampled_from(["charge", "refund", "dispute", "payout", "webhook_endpoint"]))
    def lets_others_look(self, which: int, object: str) -> None:
        if value := self._pick(object, which):
            check_others(self.notebook, value)

    @rule(body=strategies.endpoints())
    def registers_an_endpoint(self, body: Mapping[str, Any]) -> None:
        if len(self.endpoints.own) < FEW_ENDPOINTS:
            self.endpoints.register(body)

    @rule(which=WHICH, body=strategies.endpoint_changes())
    def changes_an_endpoint(self, which: int, body: Mapping[str, Any]) -> None:
        if endpoint := self._pick("webhook_endpoint", which):
            self.endpoints.change(endpoint, body)

    @rule(which=WHICH, deletes=st.booleans())
    def rotates_or_deletes_an_endpoint(self, which: int, deletes: bool) -> None:
        if endpoint := self._pick("webhook_endpoint", which):
            (self.endpoints.delete if deletes else self.endpoints.rotate)(endpoint)

    @rule(wrong=mistakes.endpoints())
    def registers_wrongly(self, wrong: Mistaken) -> None:
        self._be_refused("webhook_endpoints", wrong)

    @rule(which=WHICH, body=strategies.evidence())
    def answers_a_dispute(self, which: int, body: Mapping[str, Any]) -> None:
        self.payments.disputes()
        if dispute := self._pick("dispute", which):
            self.payments.answer(dispute, body)
            # A charge of an earlier history may be disputed in this one, and is not looked at here.
            self.touched |= {dispute["charge"]} & self.notebook.seen.keys()

    @rule(seconds=SECONDS)
    def lets_time_pass(self, seconds: int) -> None:
        self.notebook.let_time_pass(seconds)

    # What it looks at.

    @rule(
        object=st.sampled_from(["charge", "refund"]),
        limit=st.sampled_from([1, 2, 3, 100]),
        upwards=st.booleans(),
        filtered=st.booleans(),
        which=WHICH,
    )
    def reads_a_list(self, object: str, limit: int, upwards: bool, filtered: bool, which: int) -> None:
        filters: dict[str, str] = {}
        if filtered and object == "charge":
            filters = {"status": ("succeeded", "failed")[which % 2]}
        elif filtered and (charge := self._pick("charge", which)):
            filters = {"charge": charge["id"]}
        self.lists.check(object, limit=limit, upwards=upwards, **filters)

    @rule(object=st.sampled_from(list(LISTS.values())), wrong=mistakes.list_params())
    def reads_a_list_wrongly(self, object: str, wrong: Mistaken) -> None:
        params = {name: str(value) for name, value in wrong.body.items()}
        reply = self.notebook.ask(Ask(verb="list", kind=object, params=params))
        self._check_refused(reply, wrong)

    @rule(which=WHICH)
    def reads_what_happened(self, which: int) -> None:
        self.events.check()
        self.events.check_one(which)

    @rule()
    def adds_up(self) -> None:
        self.money.check()
        self.money.check_payouts()

    # What is true after each of them.

    @invariant()
    def what_was_touched_is_as_it_should_be(self) -> None:
        if self.touched:
            for charge in sorted(self.touched):
                self.payments.look(charge)
            self.touched.clear()
            for object in ("charge", "refund"):
                self.lists.check_newest(object, 3)

    def teardown(self) -> None:
        try:
            if self.laws.broken is None:
                self._look_at_everything()
            else:
                self.laws.broken.add_note(in_lines(self.notebook.history))
        finally:
            try:
                self.endpoints.clear()
            finally:
                self.close_target()

    def _look_at_everything(self) -> None:
        for object in ("charge", "refund", "webhook_endpoint"):
            self.lists.check(object)
        self.events.check()
        self.money.check()
        self.money.check_payouts()
        if (found := self.target.audit()) is not None:
            self.laws.hold(Law.THE_BOOKS_AGREE, not found, "; ".join(found))

    def _charge(self, card: int, fields: Mapping[str, Any], key: str | None) -> None:
        fields = {name: value for name, value in fields.items() if name != "source"}
        self.payments.charge(self.cards[card % len(self.cards)], fields, key)
        self.touched.add(self.notebook.own("charge")[-1]["id"])

    def _pick(self, object: str, which: int) -> Value | None:
        own = self.notebook.own(object)
        return own[which % len(own)] if own else None

    def _be_refused(self, kind: str, wrong: Mistaken) -> None:
        words = f"send {kind} with mistakes in {', '.join(wrong.fields)}"
        source = wrong.body.get("source")
        number = cast(Value, source).get("number") if isinstance(source, dict) else None
        if isinstance(number, str) and LONG_NUMBER.fullmatch(number):
            self.notebook.keep_from_sight(number=number)
        self._check_refused(self.notebook.ask(Ask(verb="create", kind=kind, body=wrong.body), words), wrong)

    def _check_refused(self, reply: Reply, wrong: Mistaken) -> None:
        refused = reply.said is Said.REFUSED
        named = set(reply.value["error"]["details"].get("fieldErrors", {})) if refused else set[str]()
        seen = f"what was wrong in {', '.join(wrong.fields)} was {reply.said} for {', '.join(sorted(named))}"
        self.laws.hold(Law.WHAT_IS_WRONG_IS_NAMED, named == set(wrong.fields), seen)


def in_lines(history: Sequence[str]) -> str:
    """Write a history one step a line, to stand under what it has led to."""
    return "\n".join(
        ["The history:", *(f"{number:>5}. {line}" for number, line in enumerate(history, start=1))]
    )
