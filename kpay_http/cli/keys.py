"""`kpay keys`: what opens the API."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

import click

from kpay_core import Kpay
from kpay_core.domain.errors import Invalid
from kpay_core.domain.keys import ApiKey, Kind, opens
from kpay_core.domain.scope import Mode
from kpay_core.domain.views import time
from kpay_http.cli.tools import as_json, kind_option, merchant_option, mode_option, print_json, say, with_kpay
from kpay_http.compose import Unreachable

# Enough of a hash to name one key of a merchant.
SHORT_ID = 12


@click.group()
def keys() -> None:
    """A merchant's API keys: list, rotate, revoke. And the key that stored secrets are encrypted with."""


def shown(key: ApiKey) -> dict[str, Any]:
    """What is printed of a key: never the key."""
    return {
        "id": key.id[:SHORT_ID],
        "hint": key.hint,
        "kind": key.kind,
        "mode": key.scope.mode,
        "created_at": time(key.created_at),
        "expires_at": time(key.expires_at) if key.expires_at else None,
        "revoked_at": time(key.revoked_at) if key.revoked_at else None,
    }


@keys.command("list")
@merchant_option
@as_json
def list_all(merchant: str, as_json: bool) -> None:
    """List a merchant's keys, oldest first, ended ones too."""
    if as_json:
        found = with_kpay(lambda kpay: kpay.list_keys(merchant), by_machines_time=True)
        print_json([shown(key) for key in found])
        return
    found, now = keys_by_now(merchant)
    for key in found:
        say(f"{key.id[:SHORT_ID]}  {key.hint:16}  {key.kind:11}  {standing(key, now=now)}")


def keys_by_now(merchant: str) -> tuple[Sequence[ApiKey], datetime]:
    """Return a merchant's keys, and the time that tells which of them have expired."""

    async def work(kpay: Kpay) -> tuple[Sequence[ApiKey], datetime]:
        return await kpay.list_keys(merchant), kpay.clock.now()

    try:
        return with_kpay(work)
    except Unreachable:
        # A sandbox may be away, and its time with it. The keys are here.
        return with_kpay(work, by_machines_time=True)


def standing(key: ApiKey, *, now: datetime) -> str:
    """Say whether a key is in force, and until when or since when not."""
    if key.revoked_at:
        return f"revoked {time(key.revoked_at)}"
    if key.expires_at:
        return f"{'until' if opens(key, now=now) else 'expired'} {time(key.expires_at)}"
    return "current"


@keys.command()
@merchant_option
@mode_option
@kind_option
@click.option("--now", "at_once", is_flag=True, help="End the old key at once instead of in 24 hours.")
@as_json
def rotate(merchant: str, mode: Mode, kind: Kind, at_once: bool, as_json: bool) -> None:
    """Issue a new key; the old one works 24 hours more."""
    rotated = with_kpay(lambda kpay: kpay.rotate_key(merchant, mode, kind=kind, at_once=at_once))
    ends = rotated.previous.expires_at if rotated.previous else None
    if as_json:
        print_json({"key": rotated.key, "previous_expires_at": time(ends) if ends else None})
        return
    say(rotated.key)
    if ends:
        say(f"The key before it works until {time(ends)}.")


@keys.command()
@merchant_option
@click.argument("id", metavar="KEY_ID")
@as_json
def revoke(merchant: str, id: str, as_json: bool) -> None:
    """End a key at once. KEY_ID is what `kpay keys list` shows first."""

    async def work(kpay: Kpay) -> ApiKey:
        found = [key for key in await kpay.list_keys(merchant) if key.id.startswith(id)]
        if len(id) < SHORT_ID or len(found) != 1:
            raise Invalid({"KEY_ID": ["no such key of this merchant"]})
        return await kpay.revoke_key(found[0].id)

    # Without a look at a sandbox, which may be away: a revoked key opens nothing at any time.
    revoked = with_kpay(work, by_machines_time=True)
    print_json(shown(revoked)) if as_json else say(f"{revoked.hint} is revoked.")


@keys.command()
@as_json
def reseal(as_json: bool) -> None:
    """
    Encrypt every endpoint's signing secret with the sealing key that is first now.

    To replace a key, put the new one before it in KPAY_SEALING_KEYS, restart everything, run this, and take the old
    one away.
    """
    count = with_kpay(lambda kpay: kpay.reseal_endpoints(), needs_secret=True)
    print_json({"resealed": count}) if as_json else say(
        f"Endpoints whose secrets were sealed again: {count}."
    )
