"""Endpoints: what may be registered, what a change means, and which secrets are in force."""

from datetime import timedelta
from itertools import product
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kpay_core.domain import endpoints, signing
from kpay_core.domain.endpoints import Endpoint, Status, Step, Subscriptions
from kpay_core.domain.errors import Invalid
from kpay_core.domain.events import EVENT_TYPES
from kpay_core.domain.machine import IllegalTransition, step
from tests.domain.samples import NOW, SCOPE

URL = "https://shop.example/hooks"
LAW = {
    ("enabled", "enable"): "enabled",
    ("enabled", "disable"): "disabled",
    ("enabled", "delete"): "deleted",
    ("disabled", "enable"): "enabled",
    ("disabled", "disable"): "disabled",
    ("disabled", "delete"): "deleted",
}


def an_endpoint(id: str = "we_1", **body: Any) -> Endpoint:
    new = endpoints.read_new_endpoint({"url": URL, **body}, local=False)
    return endpoints.open_endpoint(new, id=id, scope=SCOPE, secret="sealed 1", now=NOW)


def changed(endpoint: Endpoint, **body: Any) -> Endpoint:
    return endpoints.change(endpoint, endpoints.read_changes(body, local=False))


@pytest.mark.parametrize(("status", "by"), list(product(Status, Step)))
def test_an_endpoint_moves_only_as_the_diagram_says(status: Status, by: Step) -> None:
    if (status, by) in LAW:
        assert step(endpoints.TRANSITIONS, status, by) == LAW[status, by]
    else:
        with pytest.raises(IllegalTransition):
            step(endpoints.TRANSITIONS, status, by)


@pytest.mark.parametrize("events", [{}, {"enabled_events": None}, {"enabled_events": ["*"]}])
def test_an_endpoint_is_for_everything_unless_it_says_otherwise(events: dict[str, Any]) -> None:
    endpoint = an_endpoint(**events)
    assert (endpoint.enabled_events, endpoint.status, endpoint.version) == (("*",), "enabled", 1)


def test_a_type_that_is_named_twice_counts_once_in_the_order_given() -> None:
    endpoint = an_endpoint(enabled_events=["refund.created", "charge.failed", "refund.created"])
    assert endpoint.enabled_events == ("refund.created", "charge.failed")
    again = changed(endpoint, enabled_events=["*", "charge.failed", "*"])
    assert again.enabled_events == ("*", "charge.failed")


@pytest.mark.parametrize(
    ("body", "wrong"),
    [
        ({}, "url"),
        ({"url": None}, "url"),
        ({"url": "http://shop.example"}, "url"),
        ({"url": "https://127.0.0.1/"}, "url"),
        ({"url": "https://shop.example/" + "x" * 2028}, "url"),
        ({"url": URL, "enabled_events": []}, "enabled_events"),
        ({"url": URL, "enabled_events": ["charge.succeeded"] * 51}, "enabled_events"),
        ({"url": URL, "enabled_events": "*"}, "enabled_events"),
        ({"url": URL, "description": "x" * 201}, "description"),
        ({"url": URL, "status": "disabled"}, "status"),
        ({"url": URL, "signing_secret": "whsec_mine"}, "signing_secret"),
    ],
)
def test_what_no_endpoint_may_be_is_refused_by_its_field(body: dict[str, Any], wrong: str) -> None:
    with pytest.raises(Invalid) as caught:
        endpoints.read_new_endpoint(body, local=False)
    assert set(caught.value.fields) == {wrong}


def test_an_unknown_type_is_refused() -> None:
    with pytest.raises(Invalid):
        endpoints.read_new_endpoint({"url": URL, "enabled_events": ["charge.created"]}, local=False)


def test_the_limits_themselves_are_allowed() -> None:
    endpoint = an_endpoint(
        url="https://shop.example/" + "x" * 2027, enabled_events=["*"] * 50, description="x" * 200
    )
    assert (len(endpoint.url), endpoint.enabled_events, len(endpoint.description or "")) == (
        2048,
        ("*",),
        200,
    )


@pytest.mark.parametrize("url", ["http://localhost:8000/", "http://127.0.0.1/"])
def test_the_own_machine_is_admitted_for_development_only(url: str) -> None:
    assert endpoints.read_new_endpoint({"url": url}, local=True).url == url
    assert endpoints.read_changes({"url": url}, local=True) == {"url": url}
    with pytest.raises(Invalid):
        endpoints.read_changes({"url": url}, local=False)


@pytest.mark.parametrize("body", [{}, {"url": None}, {"enabled_events": None}, {"status": None}])
def test_what_is_left_out_or_null_stays(body: dict[str, Any]) -> None:
    endpoint = an_endpoint(description="ours", enabled_events=["charge.failed"])
    again = changed(endpoint, **body)
    assert again.version == 2
    assert (again.url, again.enabled_events, again.status) == (URL, ("charge.failed",), "enabled")
    assert again.description == "ours"


def test_a_description_of_null_is_cleared_and_an_empty_one_is_one() -> None:
    endpoint = an_endpoint(description="ours")
    assert changed(endpoint, description=None).description is None
    assert changed(endpoint, description="").description == ""


@pytest.mark.parametrize("body", [None, [], "x", {"status": "deleted"}, {"id": "we_2"}, {"secret": "x"}])
def test_a_change_that_is_none_is_refused(body: object) -> None:
    with pytest.raises(Invalid):
        endpoints.read_changes(body, local=False)


# Secrets.


def test_a_rotated_secret_signs_for_24_hours_to_the_millisecond() -> None:
    endpoint = endpoints.rotate(an_endpoint(), secret="sealed 2", now=NOW)
    day = timedelta(hours=24)
    last = NOW + day - timedelta(milliseconds=1)
    assert endpoints.secrets_in_force(endpoint, now=NOW) == ("sealed 2", "sealed 1")
    assert endpoints.secrets_in_force(endpoint, now=last) == ("sealed 2", "sealed 1")
    assert endpoints.secrets_in_force(endpoint, now=NOW + day) == ("sealed 2",)


def test_a_second_rotation_leaves_each_secret_its_own_24_hours() -> None:
    hour, day, instant = timedelta(hours=1), timedelta(hours=24), timedelta(milliseconds=1)
    once = endpoints.rotate(an_endpoint(), secret="sealed 2", now=NOW)
    twice = endpoints.rotate(once, secret="sealed 3", now=NOW + hour)
    assert endpoints.secrets_in_force(twice, now=NOW + hour) == ("sealed 3", "sealed 2", "sealed 1")
    assert endpoints.secrets_in_force(twice, now=NOW + day) == ("sealed 3", "sealed 2")
    assert endpoints.secrets_in_force(twice, now=NOW + day + hour - instant) == ("sealed 3", "sealed 2")
    assert endpoints.secrets_in_force(twice, now=NOW + day + hour) == ("sealed 3",)


def test_a_rotation_forgets_the_secrets_whose_time_is_over() -> None:
    once = endpoints.rotate(an_endpoint(), secret="sealed 2", now=NOW)
    later = endpoints.rotate(once, secret="sealed 3", now=NOW + timedelta(hours=24))
    assert endpoints.sealed(later) == ("sealed 3", "sealed 2")


def test_however_often_it_is_rotated_the_signatures_fit_a_header() -> None:
    endpoint = an_endpoint()
    for number in range(50):
        endpoint = endpoints.rotate(endpoint, secret=f"sealed {number}", now=NOW)
    secrets = endpoints.secrets_in_force(endpoint, now=NOW)
    assert (len(secrets), secrets[0]) == (10, "sealed 49")
    header = signing.sign(b"{}", secrets=secrets, now=NOW)
    assert signing.verify(b"{}", header, secrets[-1], now=NOW)


def test_a_rotation_that_is_applied_twice_keeps_the_secret_before_it() -> None:
    once = endpoints.rotate(an_endpoint(), secret="sealed 2", now=NOW)
    twice = endpoints.rotate(once, secret="sealed 2", now=NOW + timedelta(seconds=1))
    assert endpoints.secrets_in_force(twice, now=NOW) == ("sealed 2", "sealed 1")


def test_a_deleted_endpoint_forgets_its_secrets() -> None:
    deleted = endpoints.delete(endpoints.rotate(an_endpoint(), secret="sealed 2", now=NOW))
    assert (deleted.secret, deleted.retired) == ("", ())
    assert endpoints.sealed(deleted) == ()


# Subscriptions.


def test_there_are_at_most_100_endpoints_and_a_deleted_one_makes_room() -> None:
    held: Subscriptions | None = None
    for number in range(100):
        held = endpoints.enter(held, an_endpoint(f"we_{number}"))
    with pytest.raises(Invalid) as caught:
        endpoints.enter(held, an_endpoint("we_100"))
    assert caught.value.details["code"] == "too_many_endpoints"
    # One that is there already may change, and a disabled one still counts.
    held = endpoints.enter(held, changed(an_endpoint("we_7"), status="disabled"))
    with pytest.raises(Invalid):
        endpoints.enter(held, an_endpoint("we_100"))
    held = endpoints.enter(held, endpoints.delete(an_endpoint("we_7")))
    assert len(endpoints.enter(held, an_endpoint("we_100")).entries) == 100


@given(
    st.lists(
        st.tuples(
            st.integers(0, 4),
            st.sampled_from(["enable", "disable", "delete", "events"]),
            st.lists(st.sampled_from(["*", *EVENT_TYPES]), min_size=1, max_size=4),
        ),
        max_size=30,
    )
)
def test_who_is_subscribed_is_always_what_the_endpoints_say(steps: list[tuple[int, str, list[str]]]) -> None:
    all_of_them = {f"we_{number}": an_endpoint(f"we_{number}") for number in range(5)}
    held: Subscriptions | None = None
    for endpoint in all_of_them.values():
        held = endpoints.enter(held, endpoint)
    for number, what, events in steps:
        endpoint = all_of_them[f"we_{number}"]
        if endpoint.status is Status.DELETED:
            continue
        if what == "delete":
            endpoint = endpoints.delete(endpoint)
        elif what == "events":
            endpoint = changed(endpoint, enabled_events=events)
        else:
            endpoint = changed(endpoint, status=f"{what}d")
        all_of_them[endpoint.id] = endpoint
        held = endpoints.enter(held, endpoint)
        for type in EVENT_TYPES:
            assert endpoints.subscribed(held, type) == [
                each.id
                for each in all_of_them.values()
                if each.status is Status.ENABLED and {"*", type} & set(each.enabled_events)
            ]


def test_an_endpoint_and_a_record_of_different_moments_are_no_error_yet() -> None:
    """Somebody else has deleted it, and others have filled its place; the commit will conflict."""
    held: Subscriptions | None = None
    for number in range(100):
        held = endpoints.enter(held, an_endpoint(f"we_{number}"))
    stale = an_endpoint("we_stale")
    assert endpoints.enter(held, endpoints.delete(stale)).entries == (held.entries if held else None)
    assert len(endpoints.enter(held, changed(stale, description="x")).entries) == 101


def test_nobody_is_subscribed_where_there_was_never_an_endpoint() -> None:
    assert endpoints.subscribed(None, "charge.failed") == []
