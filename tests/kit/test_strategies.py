"""What the strategies call valid is taken, to the limits of what is; what they call wrong is refused by its name."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.errors import NoSuchExample
from hypothesis import find
from hypothesis import settings, HealthCheck

from kpay_adapters.testing import START, mistakes, strategies
from kpay_adapters.testing.mistakes import Mistaken
from kpay_core.domain import charges, disputes, endpoints, refunds
from kpay_core.domain.addresses import check_url
from kpay_core.domain.charges import ChargeListParams
from kpay_core.domain.errors import Invalid
from kpay_core.domain.idempotency import check_key
from kpay_core.domain.pages import PageParams, read_params
from kpay_http import body as bodies

READERS = {
    "charges": (lambda body: charges.read_new_charge(body, now=START), strategies.charges(), mistakes.charges()),
    "refunds": (refunds.read_new_refund, strategies.refunds("ch_1"), mistakes.refunds("ch_1")),
    "endpoints": (
        lambda body: endpoints.read_new_endpoint(body, local=False),
        strategies.endpoints(),
        mistakes.endpoints(),
    ),
    "endpoint changes": (
        lambda body: endpoints.read_changes(body, local=False),
        strategies.endpoint_changes(),
        st.nothing(),
    ),
    "evidence": (disputes.read_dispute_changes, strategies.evidence(), mistakes.evidence()),
}


@pytest.mark.parametrize("what", READERS)
@given(data=st.data())
def test_a_valid_body_is_taken_and_fits_into_a_request(what: str, data: st.DataObject) -> None:
    read, valid, _ = READERS[what]
    body = data.draw(valid)
    read(body)
    assert bodies.decode(msgspec.json.encode(body), "application/json") == body
    assert len(msgspec.json.encode(body)) <= bodies.LIMIT_BYTES


@pytest.mark.parametrize("what", set(READERS) - {"endpoint changes"})
@given(data=st.data())
@settings(max_examples=300)
def test_a_wrong_body_is_refused_and_every_field_that_is_wrong_is_named(what: str, data: st.DataObject) -> None:
    read, _, wrong = READERS[what]
    mistaken = data.draw(wrong)
    with pytest.raises(Invalid) as refused:
        read(mistaken.body)
    assert set(refused.value.fields) == set(mistaken.fields)
