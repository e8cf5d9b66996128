"""What a merchant would send, for tests, benchmarks and whoever tries the API out."""

from typing import Any

# The public document's example request, with the card that always succeeds.
CHARGE: dict[str, Any] = {
    "amount": 4999,
    "currency": "USD",
    "source": {"number": "4242424242424242", "exp_month": 12, "exp_year": 2030, "cvc": "123"},
    "billing_address": {
        "line1": "1 Market St",
        "city": "San Francisco",
        "state": "CA",
        "postal_code": "94105",
        "country": "US",
    },
    "description": "Order #1024",
    "metadata": {"order_id": "1024"},
}
