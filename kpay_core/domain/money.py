"""Money is whole cents of one currency."""

from typing import Annotated, Literal

from msgspec import Meta

Currency = Literal["USD"]

# The public document: "default and only value today".
DEFAULT_CURRENCY: Currency = "USD"

# The public document: "Amount in cents. Min 50, max 10,000,000."
MIN_CHARGE = 50
MAX_CHARGE = 10_000_000

ChargeAmount = Annotated[
    int, Meta(ge=MIN_CHARGE, le=MAX_CHARGE, description="Amount in cents.", examples=[4999])
]
RefundAmount = Annotated[int, Meta(ge=1, description="Amount in cents.", examples=[1000])]
