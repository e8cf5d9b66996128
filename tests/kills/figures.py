"""What a run was like: how many died, how much was done, and how soon it was resolved what a death had left open."""

from collections import Counter
from collections.abc import Collection, Sequence
from typing import NamedTuple

from tests.kills.clients import Client
from tests.kills.fleets import Fleet
from tests.kills.shops import Shops
from tests.servers import rows_of


class Unfinished(NamedTuple):
    """Charges and refunds without an outcome, by what the network says of them."""

    # It has given its verdict, and somebody can learn of it: resolved at the next look.
    known: list[str]
    # Captured, and nobody can learn of it: undone when its attempt must be over, a minute after it.
    cut_off: list[str]
    # The network has never heard of it, or does not tell yet: undone after two minutes, or asked again.
    unknown: list[str]


def unfinished(fleet: Fleet, *, before: float) -> Unfinished:
    """List what was made before a moment, and has no outcome. The network's pending refunds have one, of a kind."""
    database = fleet.installation.database_url
    rows = [
        *rows_of(database, "SELECT id, idempotency_key, told, status FROM charges WHERE look_at IS NOT NULL"),
        *rows_of(database, "SELECT id, id, 1, status FROM refunds WHERE status IN ('sending', 'reversing')"),
    ]
    open = {id: others for id, *others in rows if made_at(id) < before}
    outcomes = outcomes_of(fleet, open)
    found = Unfinished([], [], [])
    for id, (key, told, status) in open.items():
        outcome = outcomes.get(id)
        if outcome == "captured" and not key and not told:
            found.cut_off.append(id)
        elif status == "reversing" or outcome in (None, "not_found"):
            found.unknown.append(id)
        else:
            found.known.append(id)
    return found


def outcomes_of(fleet: Fleet, ids: Collection[str]) -> dict[str, str]:
    """Return what the network has on record of some references, but for cards of which it tells nothing for a while."""
    listed = ", ".join(f"'{id}'" for id in ids)
    query = f"SELECT id, outcome FROM sandbox_journal WHERE id IN ({listed}) AND behaviour <> 'lost'"
    return dict(rows_of(fleet.journal, query))


def made_at(id: str) -> float:
    """Read the time of day off an id, which is a UUIDv7 or ends in one."""
    return int(id.rpartition("_")[2].replace("-", "")[:12], 16) / 1000


def summary(fleet: Fleet, clients: Sequence[Client], shops: Shops, *, seconds: float) -> str:
    """Say in a few lines what there was."""
    requests = [request for client in clients for request in client.requests]
    answers = Counter(status for request in requests for status in request.statuses)
    silent = sum(not request.statuses for request in requests)
    deaths = sum(fleet.deaths.values())
    return "\n".join(
        [
            f"{deaths} kills in {seconds:.0f} s, {seconds / deaths:.2f} s each: {dict(fleet.deaths)}",
            f"{len(requests)} requests, {silent} of them without any answer; answers {dict(sorted(answers.items()))}",
            f"{shops.posts} posts accepted",
        ]
    )
