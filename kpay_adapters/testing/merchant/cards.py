"""Cards to pay with, and what becomes of it."""

from collections.abc import Mapping, Sequence

import msgspec

from kpay_adapters.sandbox.cards import BEHAVING, DECLINED, REASONS, Behaviour
from kpay_adapters.testing.targets import Said
from kpay_core.domain.cards import brand_of

GOOD = "4242424242424242"


class TestCard(msgspec.Struct, frozen=True):
    """A card by its name in a history, and how a charge of it ends; None where anything may happen."""

    # pytest takes whatever begins so for a test.
    __test__ = False

    name: str
    number: str
    ends: Said | None = Said.CREATED
    decline_code: str | None = None

    def __repr__(self) -> str:
        return f"<{self.name} card>"

    def in_hand(self, year: int) -> dict[str, object]:
        """Write the card as a request has it, good to the end of a year."""
        cvc = "1234" if brand_of(self.number) == "amex" else "123"
        return {"number": self.number, "exp_month": 12, "exp_year": year, "cvc": cvc}


def of_the_sandbox() -> Sequence[TestCard]:
    """The magic cards, by what they do. The one whose answer comes late is left out: nobody has the time."""
    names: Mapping[str, str] = {
        **{number: str(behaviour) for number, behaviour in BEHAVING.items()},
        **{number: f"disputed ({reason})" for number, reason in REASONS.items()},
    }
    unknown = (Behaviour.LOST, Behaviour.DOWN)
    return (
        TestCard("good", GOOD),
        TestCard("good amex", "378282246310005"),
        *(TestCard(f"declined ({code})", number, Said.DECLINED, code) for number, code in DECLINED.items()),
        *(
            TestCard(names[number], number, Said.ACCEPTED if behaviour in unknown else Said.CREATED)
            for number, behaviour in BEHAVING.items()
            if behaviour is not Behaviour.LATE
        ),
    )
