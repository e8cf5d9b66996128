"""
localstripe as it is, but for the place of its file, which otherwise is one for the whole machine, and what is in it.

    python localstripe_at.py FILE PORT CHARGES

It runs in an environment of its own, in which there is nothing of ours. At first there are a customer with a card, and
so many charges of it, made as its own handlers make them. Filled by requests, it would write the whole file again and
again for each; and from a file of that size it does not start, for it writes the file for each object that it reads.
"""

# ruff: noqa: SLF001 - its handlers make objects by the same names
import asyncio
import sys
from pathlib import Path

from localstripe import resources, server  # pyright: ignore[reportMissingImports]

CARD = {"object": "card", "number": "4242424242424242", "exp_month": "12", "exp_year": "2030", "cvc": "123"}


async def fill(charges: int) -> None:
    """Make the objects; they schedule webhooks, and so ask for an event loop."""
    write = resources.Store.dump_to_disk
    resources.Store.dump_to_disk = lambda _: None
    customer = resources.Customer._api_create(source=dict(CARD))
    for number in range(charges):
        resources.Charge._api_create(
            amount="4999",
            currency="usd",
            customer=customer.id,
            description="Order #1024",
            metadata={"order_id": str(number)},
        )
    resources.Store.dump_to_disk = write


def main(file: str, port: str, charges: str) -> None:
    # It calls the built-in one with the path of its file, to write all that it knows.
    resources.open = lambda _, mode: Path(file).open(mode)  # noqa: SIM115 - it closes them
    asyncio.run(fill(int(charges)))
    sys.argv[1:] = ["--port", port, "--from-scratch"]
    server.start()


if __name__ == "__main__":
    main(*sys.argv[1:])
