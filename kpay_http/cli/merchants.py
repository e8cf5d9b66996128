"""`kpay merchants`: who takes charges."""

from typing import Any

import click

from kpay_core import Kpay
from kpay_core.domain.ledger import Book
from kpay_core.domain.merchants import FEE_BASIS_POINTS, FEE_CENTS, TEST_BANK_ACCOUNT, Merchant
from kpay_core.domain.scope import Scope
from kpay_core.domain.views import time
from kpay_core.flows.booking import book_of
from kpay_core.flows.merchants import KeySet
from kpay_http.cli.tools import as_json, print_json, say, with_kpay


@click.group()
def merchants() -> None:
    """Take in merchants, approve them, change their terms, list them."""


def shown(merchant: Merchant, keys: KeySet | None = None) -> dict[str, Any]:
    """What is printed of a merchant; its keys only at the moment they are issued."""
    about = {"id": merchant.id, "name": merchant.name, "status": merchant.status.value}
    return {**about, **({"keys": keys} if keys else {})}


def tell(merchant: Merchant, keys: KeySet | None) -> None:
    """Print a merchant, and the keys that were just issued."""
    say(f"{merchant.id}  {merchant.name}  {merchant.status.value}")
    if keys is None:
        return
    say("")
    for key in (keys.test.secret, keys.test.publishable, keys.live.secret, keys.live.publishable):
        say(f"  {key}")
    say("\nThese keys are shown once. Only hashes of them are kept.")


@merchants.command()
@click.option("--name", required=True, help="The merchant's name.")
@click.option("--bank-account", default=TEST_BANK_ACCOUNT, show_default=True, help="Where payouts go.")
@click.option(
    "--fee-basis-points",
    type=int,
    default=FEE_BASIS_POINTS,
    show_default=True,
    help="What a charge costs, in hundredths of a percent.",
)
@click.option("--fee-cents", type=int, default=FEE_CENTS, show_default=True, help="And in cents beside that.")
@click.option("--approve", "at_once", is_flag=True, help="Approve at once, and issue the keys.")
@as_json
def create(
    name: str, bank_account: str, fee_basis_points: int, fee_cents: int, at_once: bool, as_json: bool
) -> None:
    """Take in a merchant."""

    async def work(kpay: Kpay) -> tuple[Merchant, KeySet | None]:
        merchant = await kpay.apply(
            name=name, bank_account=bank_account, fee_basis_points=fee_basis_points, fee_cents=fee_cents
        )
        if not at_once:
            return merchant, None
        approved = await kpay.approve(merchant.id)
        return approved.merchant, approved.keys

    merchant, issued = with_kpay(work)
    print_json(shown(merchant, issued)) if as_json else tell(merchant, issued)


@merchants.command()
@click.argument("id", metavar="MER")
@as_json
def approve(id: str, as_json: bool) -> None:
    """Let a merchant in and issue its four keys."""
    approved = with_kpay(lambda kpay: kpay.approve(id))
    print_json(shown(approved.merchant, approved.keys)) if as_json else tell(approved.merchant, approved.keys)


@merchants.command()
@click.argument("id", metavar="MER")
@click.option("--bank-account", help="Where payouts go from now on.")
@click.option(
    "--fee-basis-points", type=int, help="What charges cost from now on, in hundredths of a percent."
)
@click.option("--fee-cents", type=int, help="And in cents beside that.")
@as_json
def update(
    id: str, bank_account: str | None, fee_basis_points: int | None, fee_cents: int | None, as_json: bool
) -> None:
    """Change where a merchant's payouts go, or what its charges cost; tell what holds now. What is not given stays."""
    wanted = {"bank_account": bank_account, "fee_basis_points": fee_basis_points, "fee_cents": fee_cents}

    async def work(kpay: Kpay) -> tuple[Merchant, Book]:
        changed = await kpay.update_merchant(id, wanted)
        # The terms are the same in both modes.
        return changed, await book_of(kpay, Scope(id, livemode=False))

    merchant, book = with_kpay(work)
    terms = {
        "bank_account_last4": merchant.bank_account[-4:],
        "fee_basis_points": book.fee_basis_points,
        "fee_cents": book.fee_cents,
    }
    if as_json:
        print_json({**shown(merchant), **terms})
        return
    tell(merchant, None)
    say(f"  payouts go to the account that ends in {terms['bank_account_last4']}")
    say(f"  a charge costs {book.fee_basis_points / 100:g} % and {book.fee_cents} cents")


@merchants.command("list")
@click.option("--limit", type=click.IntRange(1, 10_000), default=100, show_default=True)
@as_json
def list_all(limit: int, as_json: bool) -> None:
    """List merchants, newest first."""
    found = with_kpay(lambda kpay: kpay.list_merchants(limit=limit), by_machines_time=True)
    if as_json:
        print_json([{**shown(each), "created_at": time(each.created_at)} for each in found])
        return
    for each in found:
        say(f"{each.id}  {each.status.value:8}  {each.name}")
