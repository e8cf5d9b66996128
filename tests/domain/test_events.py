"""Events: their types are the public document's, and who asks for one type gets no other."""

import pytest

from kpay_core import Scope
from kpay_core.domain.errors import Invalid
from kpay_core.domain.events import EVENT_TYPES, Event, EventListParams
from kpay_core.domain.pages import read_params
from tests.domain.samples import NOW


def test_the_types_are_those_of_the_public_document() -> None:
    assert EVENT_TYPES == (
        "charge.succeeded",
        "charge.failed",
        "charge.refunded",
        "refund.created",
        "refund.updated",
        "payout.created",
        "payout.paid",
        "payout.failed",
        "dispute.created",
        "dispute.updated",
        "dispute.closed",
    )


def test_a_list_of_events_may_be_of_one_type() -> None:
    params = read_params(EventListParams, {"type": "charge.failed"})
    assert params.filters == (("type", "=", "charge.failed"),)
    assert read_params(EventListParams, {}).filters == ()


@pytest.mark.parametrize("type", ["*", "", "charge", "charge.created"])
def test_a_type_that_never_happens_is_refused(type: str) -> None:
    with pytest.raises(Invalid) as caught:
        read_params(EventListParams, {"type": type})
    assert set(caught.value.fields) == {"type"}


def test_an_event_belongs_to_one_merchant_and_mode() -> None:
    event = Event(
        id="evt_1", merchant="mer_1", livemode=True, type="charge.failed", body="{}", created_at=NOW
    )
    assert event.scope == Scope("mer_1", livemode=True)
