"""Lists over HTTP: section 1 of the contract, and the filters of the public document."""

import json
from collections.abc import Callable
from typing import Any

import pytest

from tests.http.world import DECLINES, LOST, REFUND_PENDING, Client, World, field_errors


@pytest.fixture(params=["charges", "refunds", "events", "webhook_endpoints"])
def path(request: pytest.FixtureRequest) -> str:
    return f"/v1/{request.param}"


@pytest.fixture
def make(path: str, client: Client) -> Callable[[int], list[str]]:
    """Make so many objects of the list, and return their ids, newest first."""

    def make(count: int) -> list[str]:
        if path == "/v1/charges":
            ids = [client.charged()["id"] for _ in range(count)]
        elif path == "/v1/refunds":
            paid = client.charged()["id"]
            ids = [client.refunded(paid, amount=1)["id"] for _ in range(count)]
        elif path == "/v1/events":
            charges = [client.charged()["id"] for _ in range(count)]
            events = {event["data"]["object"]["id"]: event["id"] for event in client.data(path)}
            ids = [events[charge] for charge in charges]
        else:
            ids = [client.registered()["id"] for _ in range(count)]
        return ids[::-1]

    return make


def ids(page: dict[str, Any]) -> list[str]:
    return [each["id"] for each in page["data"]]


def test_an_empty_list_is_a_list(path: str, client: Client) -> None:
    empty = b'{"object":"list","url":"%s","data":[],"has_more":false}' % path.encode()
    assert client.get(path).content == empty


def test_a_list_is_newest_first_20_by_default_and_all_endpoints(
    path: str, client: Client, make: Callable[[int], list[str]]
) -> None:
    made = make(22)
    page = client.get(path).json()
    assert list(page) == ["object", "url", "data", "has_more"]
    assert (page["object"], page["url"]) == ("list", path)
    # The document says "all webhook endpoints", and knows no parameter.
    shown = 22 if path.endswith("/webhook_endpoints") else 20
    assert ids(page) == made[:shown]
    assert page["has_more"] == (shown < 22)


def test_a_list_holds_what_a_get_by_id_shows(
    path: str, client: Client, make: Callable[[int], list[str]]
) -> None:
    (only,) = make(1)
    shown = client.get(f"{path}/{only}").json()
    shown.pop("refunds", None)
    assert client.get(path).json()["data"] == [shown]


@pytest.mark.parametrize(("limit", "has_more"), [(1, True), (2, True), (3, False), (100, False)])
def test_limit_says_how_many_and_has_more_whether_there_are_others(
    path: str, client: Client, make: Callable[[int], list[str]], limit: int, has_more: bool
) -> None:
    made = make(3)
    page = client.get(path, params={"limit": limit}).json()
    assert (ids(page), page["has_more"]) == (made[:limit], has_more)


def test_starting_after_and_ending_before_walk_the_list_and_back(
    path: str, client: Client, make: Callable[[int], list[str]]
) -> None:
    made = make(5)

    def page(**cursor: str) -> tuple[list[str], bool]:
        found = client.get(path, params={"limit": 2, **cursor}).json()
        return ids(found), found["has_more"]

    assert page() == (made[:2], True)
    assert page(starting_after=made[1]) == (made[2:4], True)
    assert page(starting_after=made[3]) == (made[4:], False)
    assert page(starting_after=made[4]) == ([], False)
    assert page(ending_before=made[4]) == (made[2:4], True)
    assert page(ending_before=made[2]) == (made[:2], False)
    assert page(ending_before=made[0]) == ([], False)


def test_pages_stay_correct_while_rows_are_added(
    path: str, client: Client, make: Callable[[int], list[str]]
) -> None:
    made = make(6)
    seen: list[str] = []
    cursor: dict[str, str] = {}
    while True:
        page = client.get(path, params={"limit": 2, **cursor}).json()
        seen += ids(page)
        if not page["has_more"]:
            break
        cursor = {"starting_after": seen[-1]}
        make(3)
    assert seen == made


@pytest.mark.parametrize("name", ["starting_after", "ending_before"])
@pytest.mark.parametrize("cursor", ["", "nonsense", "01941f29-7c00-7000-8000-000000000001", "%F0%9D%84%9E"])
def test_an_unknown_cursor_is_a_400_on_it(path: str, client: Client, name: str, cursor: str) -> None:
    assert field_errors(client.get(f"{path}?{name}={cursor}")) == {name: ["no such id in this list"]}


def test_a_cursor_is_an_id_of_the_same_list(client: Client, other: Client, live: Client) -> None:
    mine, others, lives = client.charged()["id"], other.charged()["id"], live.charged()["id"]
    refund = client.refunded(mine)["id"]
    wrong = {"starting_after": ["no such id in this list"]}
    for path, cursor in [
        ("/v1/charges", others),
        ("/v1/charges", lives),
        ("/v1/charges", refund),
        ("/v1/refunds", mine),
        ("/v1/charges?status=failed", mine),
        (f"/v1/refunds?charge={others}", refund),
    ]:
        assert field_errors(client.get(path, params={**params_of(path), "starting_after": cursor})) == wrong


def params_of(path: str) -> dict[str, str]:
    return dict(pair.split("=") for pair in path.partition("?")[2].split("&") if pair)


@pytest.mark.parametrize(
    ("query", "errors"),
    [
        ("limit=0", {"limit": ["min 1"]}),
        ("limit=101", {"limit": ["max 100"]}),
        ("limit=-1", {"limit": ["min 1"]}),
        ("limit=", {"limit": ["must be an integer"]}),
        ("limit=ten", {"limit": ["must be an integer"]}),
        ("limit=1.0", {"limit": ["must be an integer"]}),
        ("limit=1e1", {"limit": ["must be an integer"]}),
        ("limit=+5", {"limit": ["must be an integer"]}),
        ("limit=%D9%A5", {"limit": ["must be an integer"]}),
        ("limit=" + "9" * 5000, {"limit": ["must be an integer"]}),
        ("limit=5&limit=5", {"limit": ["given more than once"]}),
        ("limit=5&limit=5&limit=5", {"limit": ["given more than once"]}),
        ("limit", {"limit": ["must be an integer"]}),
        ("limits=5", {"limits": ["unknown field"]}),
        ("limit=0&foo=1&bar=2", {"limit": ["min 1"], "foo": ["unknown field"], "bar": ["unknown field"]}),
        ("starting_after=a&ending_before=b", {"ending_before": ["not together with starting_after"]}),
        ("starting_after=%FF", {"query": ["malformed"]}),
        ("&".join(f"a{n}=1" for n in range(51)), {"query": ["malformed"]}),
    ],
)
def test_a_bad_unknown_or_repeated_parameter_is_a_400_that_names_it(
    path: str, client: Client, query: str, errors: dict[str, list[str]]
) -> None:
    assert field_errors(client.get(f"{path}?{query}")) == errors


def test_refunds_are_filtered_by_charge(client: Client, other: Client) -> None:
    first, second = client.charged()["id"], client.charged()["id"]
    wanted = [client.refunded(first, amount=n)["id"] for n in (1, 2)][::-1]
    client.refunded(second)
    assert ids(client.get("/v1/refunds", params={"charge": first}).json()) == wanted
    for unknown in ("nonsense", "", wanted[0]):
        assert ids(client.get("/v1/refunds", params={"charge": unknown}).json()) == []
    assert ids(other.get("/v1/refunds", params={"charge": first}).json()) == []


def test_charges_are_filtered_by_status(client: Client) -> None:
    succeeded = client.charged()["id"]
    client.charge(number=DECLINES)
    client.charge(number=LOST)
    client.charged(number=REFUND_PENDING)
    every = client.get("/v1/charges").json()["data"]
    for status in ("succeeded", "failed", "processing"):
        wanted = [each["id"] for each in every if each["status"] == status]
        assert wanted
        assert ids(client.get("/v1/charges", params={"status": status}).json()) == wanted
    assert succeeded in [each["id"] for each in every]
    message = {"status": ["one of: failed, processing, succeeded"]}
    assert field_errors(client.get("/v1/charges?status=reversing")) == message


def test_charges_are_filtered_by_a_range_of_created_at(client: Client, world: World) -> None:
    made: list[dict[str, Any]] = []
    for _ in range(3):
        made.append(client.charged())
        world.pass_time(minutes=1)
    first, middle, last = made
    at = middle["created_at"]
    for name, wanted in {
        "gt": [last],
        "gte": [last, middle],
        "lt": [first],
        "lte": [middle, first],
    }.items():
        found = client.get("/v1/charges", params={f"created_at[{name}]": at}).json()["data"]
        assert found == wanted, name
    both = {"created_at[gte]": "2026-01-01T14:00:30+02:00", "created_at[lt]": last["created_at"]}
    assert client.get("/v1/charges", params=both).json()["data"] == [middle]


@pytest.mark.parametrize("time", ["", "yesterday", "2026-01-01", "2026-01-01T12:00:00", "1767268800", "٢"])
def test_a_time_without_an_offset_is_a_400(client: Client, time: str) -> None:
    answer = client.get("/v1/charges", params={"created_at[gte]": time})
    assert field_errors(answer) == {"created_at[gte]": ["must be an RFC 3339 time with an offset"]}


def test_times_beyond_the_ends_of_the_calendar_are_before_and_after_everything(client: Client) -> None:
    made = client.charged()
    ends = {"0001-01-01T00:00:00+14:00": [made], "9999-12-31T23:59:59-14:00": []}
    for time, later in ends.items():
        earlier = [made] if not later else []
        for sign, wanted in {"gt": later, "gte": later, "lt": earlier, "lte": earlier}.items():
            answer = client.get("/v1/charges", params={f"created_at[{sign}]": time})
            assert (answer.status_code, answer.json()["data"]) == (200, wanted), (sign, time)


def test_no_list_crosses_merchants_or_modes(client: Client, live: Client, other: Client) -> None:
    for each in (client, live, other):
        each.refunded(each.charged()["id"])
        each.registered()
    paths = {"/v1/charges": 1, "/v1/refunds": 1, "/v1/events": 3, "/v1/webhook_endpoints": 1}
    for path, count in paths.items():
        seen = [ids(each.get(path).json()) for each in (client, live, other)]
        assert [len(one) for one in seen] == [count] * 3
        assert len({json.dumps(one) for one in seen}) == 3
