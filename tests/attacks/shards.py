"""What attacks put into requests: numbers, texts, bytes and headers that somewhere, for somebody, mean trouble."""

from tests.attacks.spellings import BAD_URLS, GOOD_URLS

# Numbers as they are written: at and past the limits of fields, of machines' integers and of doubles, and no numbers.
NUMBERS = b"""
    0 1 -1 2 49 50 51 50.0 50.5 5e1 5000E-2 0.05e+3 12 13 99 100 1000 9999 2001 2030 10000000 10000001 31622400 31622401
    2147483647 2147483648 -2147483649 9007199254740991 9007199254740993 9223372036854775807 9223372036854775808
    -9223372036854775809 18446744073709551616 1e15 1e16 1e18 1e22 1e300 1e308 1e309 1e400 -1e400 1e-400 5e-324 0e0
    0e99999 -0 -0.0 0.1 0.30000000000000004 1E999999999 1e-999999999 NaN Infinity -Infinity +1 01 1. .5 0x10
    1_000 1e 1e+ - -a 4242424242424242
    4000000000000002 true false null True nil undefined
""".split()
LONG_NUMBERS = [
    b"9" * 308,
    b"9" * 309,
    b"9" * 5000,
    b"1" + b"0" * 60_000,
    b"0." + b"3" * 5000,
    b"1e" + b"9" * 5000,
]

# Texts that mean something to somebody: to us, to databases, formats, terminals, other languages.
TEXTS = [
    *["", " ", "\n", "\t", "a", "0", "-1", "4999", "null", "true", "*", "US", "USD", "CA", "94105"],
    *[
        "94105-0001",
        "XX",
        "123",
        "1234",
        "12\n",
        "4242424242424242",
        "4242 4242 4242 4242",
        "378282246310005",
    ],
    # Digits that are none of ours: full width, Arabic-Indic, double-struck, superscript.
    *[
        "\uff14\uff12" * 8,
        "\u0664\u0662" * 8,
        "\U0001d7dc\U0001d7da",
        "\xb9\xb2\xb3",
        "4242424242424242\u200b",
    ],
    *["\0", "a\0b", "\ud800", "\udfff", "\ud83d", "\udc00\ud800", "\ufeff", "\ufffe", "\uffff", "\u2028"],
    *["\x85", "\x7f", "\u202e", "e\u0301" * 100, "\U0001d11e" * 250, "\u0131", "\xdf", "\ufb00", "\u0130"],
    *[
        "\U0001f469\u200d\U0001f467",
        "\x1b[31m",
        "\b\b\b",
        "\r\nSet-Cookie: a=b",
        "' OR 1=1 --",
        "%s%n%p",
        "{0}",
    ],
    *['"; DROP TABLE charges; --', "${jndi:ldap://x}", "{{7*7}}", "<script>", "\\", "\\u0000", "__proto__"],
    *[
        "constructor",
        "$ref",
        "../../etc/passwd",
        "%00",
        "charge.succeeded",
        "enabled",
        "deleted",
        "fraudulent",
    ],
    *["duplicate", "requested_by_customer", "winning_evidence", " losing_evidence ", "re_x", "we_x", "P1D"],
    *["2026-01-01T00:00:00Z", "9999-12-31T23:59:60Z", "0001-01-01T00:00:00+14:00", "1e5"],
    *[
        "a" * length
        for length in (39, 40, 41, 199, 200, 201, 255, 256, 499, 500, 501, 2048, 2049, 20_000, 20_001)
    ],
    *["\xe9" * 500, "\xe9" * 501, "\U0001f600" * 500, "\U0001f600" * 501],
    *GOOD_URLS,
    *(url for urls in BAD_URLS.values() for url in urls),
]

# Strings that no JSON may hold: not UTF-8, overlong, surrogates as bytes, raw control characters, broken escapes.
BROKEN_STRINGS = [
    *[
        b'"\xff"',
        b'"\xc3"',
        b'"\xc0\x80"',
        b'"\xc0\xaf"',
        b'"\xe0\x80\xaf"',
        b'"\xf0\x80\x80\xaf"',
        b'"\xed\xa0\x80"',
    ],
    *[
        b'"\xed\xa0\x80\xed\xb0\x80"',
        b'"\xf4\x90\x80\x80"',
        b'"\xf8\x88\x80\x80\x80"',
        b'"\x80"',
        b'"\x00"',
        b'"\n"',
    ],
    *[
        b'"\\x41"',
        b'"\\u12"',
        b'"\\u{41}"',
        b'"\\ud800"',
        b'"\\ud800\\ud800"',
        b'"\\udc00"',
        b'"\\u0000"',
        b'"a',
        b"'a'",
    ],
]

NAMES = [
    "",
    "amount",
    "source",
    "number",
    "cvc",
    "metadata",
    "charge",
    "url",
    "evidence",
    "submit",
    "__proto__",
    "é",
    "\0",
]

CONTENT_TYPES = [
    *[
        b"application/json",
        b"APPLICATION/JSON",
        b"application/json; charset=utf-8",
        b'application/json;charset="UTF-8"',
    ],
    *[
        b"application/json;",
        b"application/json; charset=utf-16",
        b"application/json; charset=utf-8; charset=utf-8",
        b"",
    ],
    *[
        b"text/plain",
        b"text/json",
        b"application/x-www-form-urlencoded",
        b"multipart/form-data; boundary=a",
        b"*/*",
    ],
    *[
        b"application/json, text/plain",
        b"application/merge-patch+json",
        b"application/json\xff",
        b"application/json\0",
    ],
    *[b"application/json" + b";" * 5000, b"application/msgpack", b"application/json; boundary=\xc3\xa9"],
]
HEADERS = [
    *[
        (b"idempotency-key", value)
        for value in (b"order", b"order", b"other", b"", b"\xff", b"a" * 255, b"a" * 256)
    ],
    *[
        (b"content-length", value)
        for value in (b"0", b"2", b"-1", b"65536", b"65537", b"9" * 5000, b"ten", b"2, 2")
    ],
    *[(b"transfer-encoding", value) for value in (b"chunked", b"gzip", b"identity", b"chunked, chunked")],
    *[
        (b"content-encoding", b"gzip"),
        (b"expect", b"100-continue"),
        (b"accept", b"text/html"),
        (b"cookie", b"a=" * 2000),
    ],
    *[
        (b"authorization", b"Bearer nonsense"),
        (b"host", b""),
        (b"x-http-method-override", b"DELETE"),
        (b"", b""),
    ],
    *[(b"accept-encoding", b"br"), (b"range", b"bytes=0-1"), (b"if-none-match", b"*"), (b"origin", b"null")],
]

SHARDS = [
    *[bytes([byte]) for byte in b'{}[]:,"\\ \x00\x1f\x7f\x80\xff09.eE+-tn'],
    *[
        b"{}",
        b"[]",
        b"null",
        b'"a":1',
        b',"a":',
        b"\\u0000",
        b"\\ud800",
        b"\xef\xbb\xbf",
        b"\xff\xfe",
        b"//",
        b"/**/",
        b"\r\n",
    ],
]
