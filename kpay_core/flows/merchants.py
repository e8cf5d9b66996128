"""Merchants and their keys: applying, approval, authentication, rotation, revocation."""

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime

import msgspec

from kpay_core.commit import Conflict, Record
from kpay_core.domain import keys, ledger, merchants, payouts
from kpay_core.domain.errors import Invalid, NotFound, Unauthenticated
from kpay_core.domain.keys import ApiKey, Kind
from kpay_core.domain.merchants import Merchant, MerchantChanges, NewMerchant
from kpay_core.domain.names import prefixed
from kpay_core.domain.scope import Mode, Scope
from kpay_core.domain.validation import read
from kpay_core.flows.booking import book_of
from kpay_core.flows.durably import Turns, commit
from kpay_core.ports import Ports
from kpay_core.query import Condition, Query
from kpay_core.remembered import FORGOTTEN_AFTER_SECONDS

# A merchant rotates a key a few times a year; this is where a list of keys loses its oldest.
MANY_KEYS = 1000

# The demo merchant of `kpay dev` has a fixed name, so that it is made once.
DEMO_MERCHANT = "mer_00de00de00de70de80de00de00de00de"

MakeKey = Callable[[Kind, Mode], str]


class KeyPair(msgspec.Struct, frozen=True, kw_only=True):
    """The two keys of a mode, in the clear. They are told once."""

    secret: str
    publishable: str


class KeySet(msgspec.Struct, frozen=True, kw_only=True):
    """The four keys of a merchant, in the clear."""

    test: KeyPair
    live: KeyPair


class Approved(msgspec.Struct, frozen=True, kw_only=True):
    """A merchant who was let in, and the keys that were issued on it."""

    merchant: Merchant
    keys: KeySet


async def authenticate(ports: Ports, key: str) -> Scope:
    """
    Return the scope that a secret key opens, or raise `Unauthenticated`.

    A mistyped key is refused without a look-up, and one that was let in is let in again without another for a second.
    Once `revoke_key` has returned, its key is refused everywhere.
    """
    id = keys.key_hash(key)
    held = ports.remembered.api_keys.find(id, now=ports.clock.monotonic()) or await _read(ports, key, id)
    if held is None or not keys.opens(held, now=ports.clock.now()):
        raise Unauthenticated
    return held.scope


async def _read(ports: Ports, key: str, id: str) -> ApiKey | None:
    """Read a secret key, and remember it if it opens: one that does not is looked up each time, as unknown ones are."""
    if not keys.is_well_formed(key) or not key.startswith(keys.PREFIXES["secret"]):
        return None
    read_at = ports.clock.monotonic()
    held = await ports.store.get(ApiKey, id)
    if held is None or held.kind != "secret":
        return None
    if keys.opens(held, now=ports.clock.now()):
        ports.remembered.api_keys.keep(held, read_at=read_at)
    return held


async def apply(
    ports: Ports,
    *,
    name: str,
    bank_account: str = merchants.TEST_BANK_ACCOUNT,
    fee_basis_points: int = merchants.FEE_BASIS_POINTS,
    fee_cents: int = merchants.FEE_CENTS,
) -> Merchant:
    """Take in a merchant's application, and open its books; raises `Invalid`."""
    fees = {"fee_basis_points": fee_basis_points, "fee_cents": fee_cents}
    new = read(NewMerchant, {"name": name, "bank_account": bank_account, **fees}).finish(NewMerchant)
    now = ports.clock.now()
    merchant = merchants.apply(new, id=prefixed("mer", ports.ids.uuid7(now)), now=now)
    await commit(ports, merchant, *_open_books(merchant.id, new, now=now))
    return merchant


def _open_books(merchant: str, new: NewMerchant, *, now: datetime) -> list[Record]:
    """Open a merchant's book and settlement in each mode."""
    books: list[Record] = []
    for livemode in (False, True):
        scope = Scope(merchant, livemode)
        terms = {"fee_basis_points": new.fee_basis_points, "fee_cents": new.fee_cents}
        books += [ledger.open_book(scope, **terms), payouts.open_settlement(scope, now=now)]
    return books


async def update_merchant(ports: Ports, id: str, changes: Mapping[str, object]) -> Merchant:
    """
    Change where payouts go, or what charges cost: `bank_account`, `fee_basis_points`, `fee_cents`.

    New terms hold, in both modes, for every charge whose making begins after this has returned.
    Raises `NotFound`, or `Invalid`.
    """
    wanted = read(MerchantChanges, dict(changes)).finish(MerchantChanges)
    turns = Turns(ports)
    while True:
        merchant = await get_merchant(ports, id)
        changed = merchants.update(merchant, wanted)
        books = [await book_of(ports, Scope(id, livemode)) for livemode in (False, True)]
        moved = [ledger.change_terms(book, wanted.fee_basis_points, wanted.fee_cents) for book in books]
        try:
            await commit(ports, changed, *moved)
            return changed
        except Conflict:
            await turns.wait()


async def approve(ports: Ports, id: str) -> Approved:
    """Let a merchant in and issue its four keys; raises `NotFound`, or `Invalid` for one who is in already."""

    def random_key(kind: Kind, mode: Mode) -> str:
        return keys.make_key(kind, mode, ports.ids.random_bytes(keys.RANDOM_BYTES))

    turns = Turns(ports)
    while True:
        merchant = await get_merchant(ports, id)
        if merchant.status is not merchants.Status.APPLIED:
            raise Invalid({"merchant": ["approved already"]})
        now = ports.clock.now()
        key_set, kept = _issue(merchant.id, random_key, now=now)
        approved = merchants.approve(merchant, now=now)
        try:
            await commit(ports, approved, *kept)
            return Approved(merchant=approved, keys=key_set)
        except Conflict:
            await turns.wait()


async def ensure_demo_merchant(ports: Ports, *, name: str = "Demo merchant") -> Approved:
    """
    Return the demo merchant and its first keys, making both at the first call.

    The keys follow from the keyring's secret, so they can be told again without being stored. One that was rotated
    or revoked meanwhile is still told, and opens nothing.
    """

    def derived_key(kind: Kind, mode: Mode) -> str:
        digest = ports.keyring.mac("demo merchant's keys", f"{kind}/{mode}".encode())
        return keys.make_key(kind, mode, bytes.fromhex(digest))

    now = ports.clock.now()
    key_set, kept = _issue(DEMO_MERCHANT, derived_key, now=now)
    merchant = await ports.store.get(Merchant, DEMO_MERCHANT)
    if merchant is None:
        new = NewMerchant(name=name)
        merchant = merchants.enrol(new, id=DEMO_MERCHANT, now=now)
        try:
            await commit(ports, merchant, *kept, *_open_books(merchant.id, new, now=now))
        except Conflict:
            merchant = await get_merchant(ports, DEMO_MERCHANT)
    return Approved(merchant=merchant, keys=key_set)


def _issue(merchant: str, make_key: MakeKey, *, now: datetime) -> tuple[KeySet, list[ApiKey]]:
    """Make a merchant's four keys: in the clear, to be told, and as records, to be kept."""
    kept: list[ApiKey] = []

    def issue(kind: Kind, mode: Mode) -> str:
        key = make_key(kind, mode)
        kept.append(keys.issue(key, kind=kind, scope=Scope(merchant, mode == "live"), now=now))
        return key

    def pair(mode: Mode) -> KeyPair:
        return KeyPair(secret=issue("secret", mode), publishable=issue("publishable", mode))

    return KeySet(test=pair("test"), live=pair("live")), kept


async def get_merchant(ports: Ports, id: str) -> Merchant:
    """Return a merchant; raises `NotFound`."""
    merchant = await ports.store.get(Merchant, id)
    if merchant is None:
        raise NotFound
    return merchant


async def list_merchants(
    ports: Ports, *, limit: int = 100, starting_after: str | None = None
) -> Sequence[Merchant]:
    """Return merchants, newest first."""
    where: tuple[Condition, ...] = () if starting_after is None else (("id", "<", starting_after),)
    return await ports.store.find(Query(kind=Merchant, where=where, descending=True, limit=limit))


async def list_keys(ports: Ports, merchant: str) -> Sequence[ApiKey]:
    """Return what is kept of a merchant's keys, oldest first, ended ones too; raises `NotFound`."""
    await get_merchant(ports, merchant)
    where: tuple[Condition, ...] = (("merchant", "=", merchant),)
    newest = Query(kind=ApiKey, where=where, order="created_at", descending=True, limit=MANY_KEYS)
    return (await ports.store.find(newest))[::-1]


class Rotated(msgspec.Struct, frozen=True, kw_only=True):
    """A new key in the clear, and what became of the one before it, if there was one."""

    key: str
    previous: ApiKey | None


async def rotate_key(
    ports: Ports, merchant: str, mode: Mode, *, kind: Kind = "secret", at_once: bool = False
) -> Rotated:
    """
    Issue a new key, which opens from now on; the current one goes on for 24 hours, or ends `at_once`.

    What ends at once has ended when this returns, two seconds later. Raises `NotFound`, or `Invalid` for a merchant
    who is not approved.
    """
    turns = Turns(ports)
    while True:
        if (await get_merchant(ports, merchant)).status is not merchants.Status.APPROVED:
            raise Invalid({"merchant": ["not approved yet"]})
        now = ports.clock.now()
        scope = Scope(merchant, mode == "live")
        held = await list_keys(ports, merchant)
        current = [k for k in held if k.scope == scope and k.kind == kind and keys.is_current(k)]
        ended = [keys.rotate_out(key, at_once=at_once, now=now) for key in current]
        fresh = keys.make_key(kind, mode, ports.ids.random_bytes(keys.RANDOM_BYTES))
        try:
            await commit(ports, keys.issue(fresh, kind=kind, scope=scope, now=now), *ended)
            if at_once:
                await _until_forgotten(ports, ended)
            return Rotated(key=fresh, previous=ended[-1] if ended else None)
        except Conflict:
            await turns.wait()


async def revoke_key(ports: Ports, id: str) -> ApiKey:
    """
    End a key, by the id that `list_keys` tells: when this returns, two seconds later, it opens nothing anywhere.

    Raises `NotFound`. Ending it again changes nothing, and takes as long.
    """
    turns = Turns(ports)
    while True:
        key = await ports.store.get(ApiKey, id)
        if key is None:
            raise NotFound
        try:
            if key.revoked_at is None:
                key = keys.revoke(key, now=ports.clock.now())
                await commit(ports, key)
            await _until_forgotten(ports, [key])
            return key
        except Conflict:
            await turns.wait()


async def _until_forgotten(ports: Ports, ended: Sequence[ApiKey]) -> None:
    """Return when no process lets anybody in by what it had read of some keys before they were ended."""
    for key in ended:
        ports.remembered.api_keys.forget(key.id)
    await ports.clock.sleep(FORGOTTEN_AFTER_SECONDS)
