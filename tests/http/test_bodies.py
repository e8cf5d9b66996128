"""Bodies: whatever bytes come, there is one strict JSON object, or one of four errors."""

import asyncio
import json
import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kpay_http.body import (
    DEPTH_LIMIT,
    LIMIT_BYTES,
    BadBody,
    Disconnected,
    TooLarge,
    TooSlow,
    decode,
    read,
)

JSON = "application/json"


def refusal(raw: bytes, content_type: str | None = JSON) -> str:
    with pytest.raises(BadBody) as caught:
        decode(raw, content_type)
    return str(caught.value)


def nested(levels: int) -> bytes:
    """An object that is so many levels deep, itself counted."""
    return b'{"a":' + b"[" * (levels - 1) + b"]" * (levels - 1) + b"}"


@pytest.mark.parametrize(
    "content_type",
    [
        *["application/json", "Application/JSON", "application/json; charset=utf-8"],
        *["application/json;charset=UTF-8", 'application/json ; charset="utf-8"', "application/json;"],
    ],
)
def test_json_is_taken_with_or_without_its_charset(content_type: str) -> None:
    assert decode(b'{"amount":4999}', content_type) == {"amount": 4999}


@pytest.mark.parametrize(
    "content_type",
    [
        *[None, "", "text/plain", "text/json", "application/jsonp", "application/x-www-form-urlencoded"],
        *["application/merge-patch+json", "application/json; charset=latin-1"],
        *["application/json; charset=utf-8; charset=utf-16", "application/json, text/plain"],
        *["application/json" + ";" * 60_000, "application/json" + " " * 60_000 + "x"],
    ],
)
def test_any_other_content_type_is_refused(content_type: str | None) -> None:
    assert refusal(b"{}", content_type) == "The Content-Type must be application/json."


@pytest.mark.parametrize("raw", [b"[]", b"null", b"true", b"4999", b'"amount"', b"[{}]"])
def test_the_top_level_must_be_an_object(raw: bytes) -> None:
    assert refusal(raw) == "The body must be an object."


def test_an_empty_body_is_refused_before_its_content_type() -> None:
    assert refusal(b"", None) == "The body must not be empty."


@pytest.mark.parametrize(
    "raw",
    [
        *[b" ", b"{", b'{"a":1,}', b"{'a':1}", b'{"a":01}', b'{"a":1.}', b'{"a":.5}', b'{"a":+1}'],
        *[b'{"a":0x10}', b'{"a":NaN}', b'{"a":Infinity}', b'{"a":-Infinity}', b'{"a":"\n"}'],
        *[b'{"a":"\\x41"}', b'{"a":"\x00"}', b'{"\x00":1}', b'{"a":1}\x00', b'{"a":1}{}', b"\xef\xbb\xbf{}"],
        *[b'{"a":"\\ud800"}', b'{"a":"\\udc00\\ud800"}', b'{"\\udbff":1}', b'{"a":"\\ud83d"}'],
    ],
)
def test_malformed_json_is_refused(raw: bytes) -> None:
    assert refusal(raw) == "The body is not valid JSON."


@pytest.mark.parametrize("text", [b"\xff", b"\xc3", b"\xc0\x80", b"\xed\xa0\x80", b"\xf4\x90\x80\x80"])
def test_bytes_that_are_not_utf8_are_refused_in_values_and_keys(text: bytes) -> None:
    assert refusal(b'{"a":"' + text + b'"}') == "The body is not valid UTF-8."
    assert refusal(b'{"' + text + b'":1}') == "The body is not valid UTF-8."


@pytest.mark.parametrize(
    "raw",
    [
        *[b'{"amount":1,"amount":5000}', b'{"amount":1 , "amount" : 1}'],
        *[b'{"source":{"number":"1","cvc":"2","number":"3"}}', b'{"list":[1,{"a":1,"b":2,"a":{}}]}'],
        *[b'{"amount":1,"am\\u006funt":5000}', b'{"":1,"":2}', b'{"a:b":1,"a\\u003ab":"\\\\u003a"}'],
        *[b'{"a":"\\u003a","b":1,"b":2}', b'{"a":{"b":1},"a":{"c":"::"}}'],
    ],
)
def test_a_key_that_stands_twice_is_refused_however_it_is_spelt(raw: bytes) -> None:
    assert refusal(raw) == "The body must not have the same key twice in one object."


@pytest.mark.parametrize(
    "raw",
    [
        b'{"a":{"a":1},"b":{"a":1}}',
        b'{"url":"https://x.example/a:b","a\\u003ab":":\\u003A\\\\u003a"}',
        b'{"a":"{\\"b\\":1,\\"b\\":2}"}',
    ],
)
def test_equal_keys_in_different_objects_and_colons_in_strings_are_no_duplicates(raw: bytes) -> None:
    assert decode(raw, JSON) == json.loads(raw)


@pytest.mark.parametrize(
    "raw", [b'{"a":"x\\u0000"}', b'{"\\u0000":1}', b'{"a":["\\\\\\u0000"]}', b'{"a":{"b\\u0000":{}}}']
)
def test_nul_characters_are_refused_in_values_and_keys(raw: bytes) -> None:
    assert refusal(raw) == "The body must not contain NUL characters."


def test_a_backslash_before_the_letters_u0000_is_no_nul_character() -> None:
    assert decode(b'{"a":"\\\\u0000"}', JSON) == {"a": "\\u0000"}


def test_nesting_is_taken_to_the_limit_and_not_one_level_deeper() -> None:
    assert decode(nested(DEPTH_LIMIT), JSON)
    for levels in (DEPTH_LIMIT + 1, 500, 5_000, 30_000):
        assert refusal(nested(levels)) == "The body must not be nested deeper than 32 levels."


def test_many_brackets_side_by_side_are_not_deep() -> None:
    raw = b'{"a":[' + b",".join([b'{"b":[]}'] * 500) + b"]}"
    assert decode(raw, JSON) == json.loads(raw)


@pytest.mark.parametrize(
    "number", [b"1e400", b"-1e400", b"9" * 309, b"-" + b"9" * 309, b"9" * 4_000, b"9" * 5_000, b"9" * 60_000]
)
def test_numbers_past_a_double_are_refused(number: bytes) -> None:
    assert refusal(b'{"metadata":{"n":' + number + b"}}") == "The body holds a number that is out of range."


def test_numbers_keep_their_type_and_value() -> None:
    raw = (
        b'{"a":1,"b":1.0,"c":1e22,"d":18446744073709551617,"e":-0.0,"f":1e-400,"g":true,"h":'
        + b"9" * 308
        + b"}"
    )
    taken = decode(raw, JSON)
    assert [type(value) for value in taken.values()] == [int, float, float, int, float, float, bool, int]
    assert list(taken.values())[:4] == [1, 1.0, 1e22, 18446744073709551617]
    assert math.copysign(1, taken["e"]) == -1  # pyright: ignore[reportArgumentType]
    assert taken["h"] == 10**308 - 1


def test_a_long_run_of_digits_in_a_string_is_no_number() -> None:
    assert decode(b'{"a":"' + b"9" * 5_000 + b'"}', JSON) == {"a": "9" * 5_000}


def test_no_message_repeats_what_was_sent() -> None:
    card = b"4242424242424242"
    for raw in (
        card,
        b'{"number":"' + card,
        b'{"' + card + b'":1,"' + card + b'":2}',
        b'{"number":"' + card + b'\xff"}',
        b'{"number":' + card * 20 + b"}",
        b'{"number":"' + card + b'\\u0000"}',
    ):
        assert "4242" not in refusal(raw)
    assert "4242" not in refusal(b"{}", "text/" + card.decode())


Values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)
Objects = st.dictionaries(st.text(max_size=8), Values, max_size=5)


def reference(raw: bytes) -> object:
    """What the standard library makes of it, or ValueError for what the contract refuses."""

    def once_each(pairs: list[tuple[str, object]]) -> dict[str, object]:
        if len(dict(pairs)) < len(pairs) or any("\0" in key for key, _ in pairs):
            raise ValueError
        return dict(pairs)

    def refuse(_: str) -> object:
        raise ValueError

    value = json.loads(raw.decode(), object_pairs_hook=once_each, parse_constant=refuse)
    text = json.dumps(value, ensure_ascii=False, allow_nan=False)
    if "\\u0000" in text.replace("\\\\", ""):
        raise ValueError
    text.encode()
    if type(value) is not dict:
        raise ValueError
    return value


def agrees_with_the_reference(raw: bytes) -> None:
    try:
        expected = reference(raw)
    except (ValueError, RecursionError):
        expected = None
    try:
        taken = decode(raw, JSON)
    except BadBody:
        assert expected is None, "a body that the contract allows was refused"
    else:
        assert repr(taken) == repr(expected), "a body was read as something else"


@given(st.binary(max_size=200))
def test_random_bytes_never_raise_anything_else(raw: bytes) -> None:
    agrees_with_the_reference(raw)


@settings(max_examples=40)
@given(Objects, st.booleans(), st.sampled_from([None, 1]))
def test_every_honest_object_comes_back_as_it_was_sent(
    sent: dict[str, object], ascii_only: bool, indent: int | None
) -> None:
    agrees_with_the_reference(json.dumps(sent, ensure_ascii=ascii_only, indent=indent).encode())


Shards = st.sampled_from(
    [
        *[bytes([byte]) for byte in b'{}[]:,"\\ \x00\x1f\xff09.eE+-tn'],
        *[
            b'"a":1',
            b'"a":',
            b'\\"a\\":',
            b"\\u0000",
            b"\\u003a",
            b"\\u003A",
            b"\\\\",
            b"\\ud800",
            b"\\udfff",
        ],
        *[b"NaN", b"-Infinity", b"1e999", b"null", b"\xef\xbb\xbf", b"\xed\xa0\x80", b'"\xc3\xa9"'],
    ]
)
Wound = st.tuples(st.integers(min_value=0), st.integers(0, 3), Shards)


@settings(max_examples=200)
@given(Objects, st.lists(Wound, max_size=4))
def test_a_wounded_body_is_read_right_or_refused(
    sent: dict[str, object], wounds: list[tuple[int, int, bytes]]
) -> None:
    raw = json.dumps(sent).encode()
    for place, length, shard in wounds:
        at = place % (len(raw) + 1)
        raw = raw[:at] + shard + raw[at + length :]
    agrees_with_the_reference(raw)


@settings(max_examples=200)
@given(st.lists(Shards, max_size=25))
def test_a_body_made_of_shards_is_read_right_or_refused(shards: list[bytes]) -> None:
    agrees_with_the_reference(b"{" + b"".join(shards) + b"}")


class Client:
    """The client's side of an ASGI receive: some pieces, then the end, silence, or a hang-up."""

    def __init__(self, *pieces: bytes, then: str = "end") -> None:
        self.pieces = list(pieces)
        self.then = then
        self.asked = 0

    async def receive(self) -> dict[str, object]:
        self.asked += 1
        if self.pieces:
            piece = self.pieces.pop(0)
            more = bool(self.pieces) or self.then != "end"
            return {"type": "http.request", "body": piece, "more_body": more}
        if self.then == "silence":
            await asyncio.Event().wait()
        return {"type": "http.disconnect"}


def receive_body(client: Client, content_length: str | None = None, seconds: float = 5) -> bytes:
    return asyncio.run(read(client.receive, content_length, deadline_seconds=seconds))


def test_a_body_is_read_whole_from_one_piece_or_many() -> None:
    assert receive_body(Client(b'{"a":1}'), "7") == b'{"a":1}'
    assert receive_body(Client(b'{"a"', b"", b":1", b"}")) == b'{"a":1}'
    assert receive_body(Client(b"")) == b""


def test_a_body_of_exactly_the_limit_passes_and_one_byte_more_does_not() -> None:
    half = b"x" * (LIMIT_BYTES // 2)
    assert len(receive_body(Client(half, half), str(LIMIT_BYTES))) == LIMIT_BYTES
    with pytest.raises(TooLarge):
        receive_body(Client(half, half, b"x"))


@pytest.mark.parametrize("declared", [str(LIMIT_BYTES + 1), "00099999999", "9" * 5_000])
def test_a_declared_length_over_the_limit_is_refused_before_a_byte_is_asked_for(declared: str) -> None:
    client = Client(b"x")
    with pytest.raises(TooLarge):
        receive_body(client, declared)
    assert client.asked == 0


@pytest.mark.parametrize("declared", [None, "", "0", "-1", "many", "1e9", "\u0669" * 9, " 7 ", "+70000"])
def test_a_length_that_says_nothing_is_no_reason_to_refuse(declared: str | None) -> None:
    assert receive_body(Client(b"{}"), declared) == b"{}"


def test_an_endless_body_is_refused_at_the_limit_and_read_no_further() -> None:
    client = Client(*[b"x" * 10_000] * 100)
    with pytest.raises(TooLarge):
        receive_body(client)
    assert client.asked == LIMIT_BYTES // 10_000 + 1


def test_a_body_that_does_not_come_in_time_is_too_slow() -> None:
    for client in (Client(then="silence"), Client(b'{"amount"', then="silence")):
        with pytest.raises(TooSlow):
            receive_body(client, seconds=0.05)


def test_the_deadline_is_for_the_whole_body_not_for_each_piece() -> None:
    async def dripping() -> dict[str, object]:
        await asyncio.sleep(0.02)
        return {"type": "http.request", "body": b"x", "more_body": True}

    with pytest.raises(TooSlow):
        asyncio.run(read(dripping, deadline_seconds=0.1))


def test_a_body_that_is_here_is_read_without_a_deadline_and_within_the_limit() -> None:
    async def read_here(client: Client) -> bytes:
        return await read(client.receive, is_here=True, deadline_seconds=-1)

    assert asyncio.run(read_here(Client(b"{}"))) == b"{}"
    with pytest.raises(TooLarge):
        asyncio.run(read_here(Client(b"x" * (LIMIT_BYTES + 1))))


def test_a_client_that_hangs_up_is_told_from_a_body_that_ends() -> None:
    for client in (Client(then="hang-up"), Client(b"{}", then="hang-up")):
        with pytest.raises(Disconnected):
            receive_body(client)
