"""`kpay merchants`: who takes charges."""

from typing import Any

import click

from kpay_core import Kpay
from kpay_core.domain.merchants import TEST_BANK_ACCOUNT, Merchant
from kpay_core.domain.views import time
from kpay_core.flows.merchants import KeySet
from kpay_http.cli.tools import as_json, print_json, say, with_kpay


@click.group()
def merchants() -> None:
    """Take in merchants, approve them, list them."""


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
@click.option("--approve", "at_once", is_flag=True, help="Approve at once, and issue the keys.")
@as_json
def create(name: str, bank_account: str, at_once: bool, as_json: bool) -> None:
    """Take in a merchant."""

    async def work(kpay: Kpay) -> tuple[Merchant, KeySet | None]:
        merchant = await kpay.apply(name=name, bank_account=bank_account)
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


@merchants.command("list")
@click.option("--limit", type=click.IntRange(1, 10_000), default=100, show_default=True)
@as_json
def list_all(limit: int, as_json: bool) -> None:
    """List merchants, newest first."""
    found = with_kpay(lambda kpay: kpay.list_merchants(limit=limit))
    if as_json:
        print_json([{**shown(each), "created_at": time(each.created_at)} for each in found])
        return
    for each in found:
        say(f"{each.id}  {each.status.value:8}  {each.name}")
