"""US billing addresses."""

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

# USPS Publication 28, appendix B: states, the District of Columbia, territories and freely associated states,
# armed forces.
STATES = frozenset(
    "AL AK AZ AR CA CO CT DE FL GA HI ID IL IN IA KS KY LA ME MD MA MI MN MS MO MT NE NV NH NJ NM NY NC ND OH OK OR"
    " PA RI SC SD TN TX UT VT VA WA WV WI WY DC AS FM GU MH MP PR PW VI AA AE AP".split()
)


def check_state(state: str) -> str | None:
    """Say whether a state is unknown to the US Postal Service."""
    return None if state in STATES else "unknown US state"


class Address(msgspec.Struct, frozen=True, kw_only=True):
    """A US billing address."""

    line1: Annotated[str, Meta(min_length=1, max_length=200, examples=["1 Market St"])]
    line2: Annotated[str, Meta(max_length=200)] | None = None
    city: Annotated[str, Meta(min_length=1, max_length=200, examples=["San Francisco"])]
    state: Annotated[
        str,
        Meta(
            examples=["CA"],
            extra={"check": check_state},
            extra_json_schema={"enum": sorted(STATES)},
        ),
    ]
    postal_code: Annotated[
        str,
        Meta(pattern="^[0-9]{5}(-[0-9]{4})?$", examples=["94105"], extra={"message": "ZIP or ZIP+4"}),
    ]
    country: Literal["US"]
