"""What a run was like: how many died, how much was done, how soon it was resolved what a death had left open."""

from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple

from tests.kills.clients import LOST, Client
from tests.kills.fleets import Fleet
from tests.kills.shops import Shops
from tests.servers import rows_of

# The look at an unfinished charge is five seconds after it.
SOON_SECONDS = 5


class Unfinished(NamedTuple):
    """What has no outcome yet, by what the network says of it."""

    # It has given its verdict, and somebody can learn of it: resolved at the next look.
    known: list[str]
    # Captured, and nobody can learn of it: undone when its attempt must be over, a minute after it.
    cut_off: list[str]
    # The network has never heard of it, or does not tell yet: undone after two minutes, or asked again.
    unknown: list[str]


def unfinished(fleet: Fleet) -> Unfinished:
    """List what has no outcome, in a database that nobody works on."""
    found = Unfinished([], [], [])
    database = fleet.installation.database_url
    charges = rows_of(
        database, "SELECT id, idempotency_key, told, status FROM charges WHERE look_at IS NOT NULL"
    )
    refunds = rows_of(
        database, "SELECT id, id, 1, status FROM refunds WHERE status IN ('sending', 'reversing')"
    )
    seen = {id: outcome for id, outcome, is_late in journal_of(fleet) if not is_late}
    for id, key, told, status in (*charges, *refunds):
        outcome = seen.get(id)
        if outcome == "captured" and not key and not told:
            found.cut_off.append(id)
        elif status == "reversing" or outcome in (None, "not_found"):
            found.unknown.append(id)
        else:
            found.known.append(id)
    return found


def journal_of(fleet: Fleet) -> list[tuple[str, str, bool]]:
    """What the network has on record; what is late is not told for a while."""
    return rows_of(fleet.journal, "SELECT id, outcome, behaviour = 'lost' FROM sandbox_journal")


def resolved_after(fleet: Fleet, shops: Shops, until: datetime) -> list[float]:
    """
    Return the seconds from a restart to the outcome of each charge that was made before and settled after it.

    What was undone is left out, and so are cards of which the network tells nothing for a while.
    """
    restarts = sorted(fleet.restarts)
    slow = {id for id, _, is_late in journal_of(fleet) if is_late}
    found: list[float] = []
    for told, (happened_at, made_at) in shops.times.items():
        if told.type not in ("charge.succeeded", "charge.failed") or told.object in slow:
            continue
        happened, made = datetime.fromisoformat(happened_at), datetime.fromisoformat(made_at).timestamp()
        restart = next((each for each in restarts if each > made), None)
        if restart is None or happened > until or shops.failures[told.object] == "not_processed":
            continue
        if (after := happened.timestamp() - restart) > 0:
            found.append(after)
    return sorted(found)


def summary(fleet: Fleet, clients: Sequence[Client], shops: Shops, *, seconds: float, until: datetime) -> str:
    """Say in a few lines what there was."""
    requests = [request for client in clients for request in client.requests]
    statuses = [status for request in requests for status in request.statuses]
    kinds = {status: statuses.count(status) for status in sorted(set(statuses))}
    silent = sum(not request.statuses for request in requests)
    deaths = sum(fleet.deaths.values())
    after = resolved_after(fleet, shops, until)
    late = sum(each > SOON_SECONDS + 1 for each in after)
    assert LOST
    lines = [
        f"{deaths} kills in {seconds:.0f} s ({seconds / max(deaths, 1):.2f} s each): {dict(fleet.deaths)}",
        f"{len(requests)} requests, {silent} without any answer; answers: {kinds}; {shops.posts} posts accepted",
    ]
    if after:
        lines.append(
            f"{len(after)} charges were settled after a restart that they lived through: median "
            f"{after[len(after) // 2]:.2f} s after it, 99 of 100 within {after[len(after) * 99 // 100]:.2f} s, "
            f"all within {after[-1]:.2f} s; {late} took more than {SOON_SECONDS + 1} s"
        )
    return "\n".join(lines)
