"""Disputes: answered by their merchant; the evidence is committed before the network hears of it."""

from collections.abc import Mapping

from kpay_core.commit import CommitFailed, Conflict
from kpay_core.domain import disputes, happenings
from kpay_core.domain.disputes import Dispute, DisputeListParams, Status
from kpay_core.domain.events import Origin
from kpay_core.domain.pages import Page, read_params
from kpay_core.domain.scope import Scope
from kpay_core.flows.asking import ask, processor_of
from kpay_core.flows.durably import Turns, commit
from kpay_core.flows.reading import list_page, own
from kpay_core.flows.recording import record
from kpay_core.ports import Ports


async def update_dispute(
    ports: Ports, scope: Scope, id: str, body: object, *, request_id: str | None = None
) -> Dispute:
    """
    Save a draft of the evidence against a dispute, or submit it; return the dispute.

    Evidence that was submitted is handed in to the network, by a sweeper where it cannot be reached now. It is final:
    of two who submit at once, one is told that the dispute needs no response. A body with nothing in it changes
    nothing. Raises `NotFound`, `Invalid`, `NoProcessor`, `Contention`.
    """
    await own(ports, scope, Dispute, id)
    changes = disputes.read_dispute_changes(body)
    turns = Turns(ports)
    while True:
        dispute = await own(ports, scope, Dispute, id)
        changed = disputes.change(dispute, changes, now=ports.clock.now())
        if changed is dispute:
            return dispute
        processor_of(ports, scope)
        try:
            await _record(ports, dispute, changed, Origin(request_id=request_id))
        except Conflict:
            await turns.wait()
            continue
        return await _submitted(ports, changed) if changed.status is Status.SUBMITTING else changed


async def _submitted(ports: Ports, dispute: Dispute) -> Dispute:
    """
    Hand in evidence that is durable by now.

    Whatever goes wrong from here on is seen through by the sweeper: an error would invite a second submission, and
    that would be refused.
    """
    try:
        return await _hand_in(ports, dispute)
    except CommitFailed:
        return dispute


async def _hand_in(ports: Ports, dispute: Dispute) -> Dispute:
    """Hand the evidence in, and note that; without an answer it stays on its way."""
    text = dispute.evidence.uncategorized_text
    assert text is not None, "submitted evidence says something"
    taken = await ask(processor_of(ports, dispute.scope).dispute(dispute=dispute.case, evidence=text))
    if taken is None:
        return dispute
    handed_in = disputes.hand_in(dispute, taken=taken)
    await _record(ports, dispute, handed_in, Origin())
    return handed_in


async def _record(ports: Ports, before: Dispute, dispute: Dispute, origin: Origin) -> None:
    told = happenings.of_dispute(before, dispute)
    await record(ports, dispute, scope=dispute.scope, told=told, origin=origin)


async def resolve_dispute(ports: Ports, id: str) -> Dispute:
    """
    Hand in the evidence against a dispute again, if it is on its way and its time has come.

    Safe to call for any dispute, by anybody, at any time: the look is leased, only the first evidence counts.
    """
    dispute = await ports.store.get(Dispute, id)
    assert dispute is not None, "a dispute is never deleted"
    now = ports.clock.now()
    if dispute.look_at is None or now < dispute.look_at:
        return dispute
    leased = disputes.lease(dispute, now=now)
    try:
        await commit(ports, leased)
        return await _hand_in(ports, leased)
    except Conflict:
        # The verdict has come, or somebody else hands it in.
        return await own(ports, dispute.scope, Dispute, id)


async def get_dispute(ports: Ports, scope: Scope, id: str) -> Dispute:
    """Return a dispute; raises `NotFound`."""
    return await own(ports, scope, Dispute, id)


async def list_disputes(ports: Ports, scope: Scope, params: Mapping[str, object]) -> Page[Dispute]:
    """
    Return a page of disputes, newest first.

    Takes `limit`, `starting_after` and `ending_before` as in a query string. Raises `Invalid`.
    """
    return await list_page(ports, scope, Dispute, read_params(DisputeListParams, params))
