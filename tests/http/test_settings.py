"""Settings: what each takes, and that one which is wrong is named."""

import asyncio
from base64 import b64encode
from pathlib import Path

import pytest

from kpay_http import compose
from kpay_http.compose.systems import limiter_of
from kpay_http.metrics import Metrics
from kpay_http.settings import BadSetting, Settings, read_settings


@pytest.mark.parametrize(
    ("url", "is_taken"),
    [
        ("sqlite:///kpay.db", True),
        ("sqlite:////var/lib/kpay.db", True),
        ("postgresql://user@host/db", True),
        ("postgresql://user@[::1]:5432,pg.example/db", True),
        ("postgresql://user@host:65536/db", False),
        ("postgresql://user@pg..internal/db", False),
        ("sqlite:///.", False),
        ("sqlite:///data/..", False),
        ("sqlite:///", False),
        ("sqlite:///:memory:", False),
        ("sqlite:///kpay.db?mode=ro", False),
        ("sqlite:kpay.db", False),
        ("sqlite://host/kpay.db", False),
        ("mysql://user@host/db", False),
        ("kpay.db", False),
    ],
)
def test_a_database_is_a_file_or_a_server(url: str, is_taken: bool) -> None:
    if is_taken:
        assert read_settings({"KPAY_DATABASE_URL": url}).database_url == url
        return
    with pytest.raises(BadSetting, match="KPAY_DATABASE_URL takes sqlite"):
        read_settings({"KPAY_DATABASE_URL": url})


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("KPAY_HOST", "a..b"),
        ("KPAY_HOST", "a" * 64),
        ("KPAY_BROKER_URL", "redis://localhost:65536"),
        ("KPAY_SANDBOX_URL", "http://127.0.0.1:abc"),
        ("KPAY_SANDBOX_URL", "http://127.0.0.1:65536"),
        ("KPAY_SANDBOX_URL", "https://pay..example"),
    ],
)
def test_what_nobody_can_dial_is_refused(name: str, value: str) -> None:
    with pytest.raises(BadSetting, match=f"{name} takes"):
        read_settings({name: value})


@pytest.mark.parametrize("host", ["127.0.0.1", "::1", "localhost", "0.0.0.0"])
def test_a_host_is_a_name_or_an_address(host: str) -> None:
    assert read_settings({"KPAY_HOST": host}).host == host


@pytest.mark.parametrize("text", [",,", " , "])
def test_a_list_of_sealing_keys_names_one(text: str) -> None:
    with pytest.raises(BadSetting, match="KPAY_SEALING_KEYS takes"):
        read_settings({"KPAY_SEALING_KEYS": text})


def test_an_empty_part_beside_a_sealing_key_is_passed_over() -> None:
    key = b64encode(bytes(32)).decode()
    assert read_settings({"KPAY_SEALING_KEYS": f"{key}, ,"}).sealing_keys == (key,)


def test_what_redis_does_not_take_names_its_setting() -> None:
    with pytest.raises(BadSetting, match="KPAY_BROKER_URL takes"):
        limiter_of(Settings(broker_url="redis://localhost?socket_timeout=soon"), Metrics())


def test_a_port_that_nobody_can_dial_makes_a_database_unreachable() -> None:
    with pytest.raises(compose.Unreachable, match="cannot be used"):
        asyncio.run(
            compose.check_migrated(Settings(database_url="postgresql://user@127.0.0.1/db?port=99999"))
        )


def test_a_file_that_may_not_be_looked_for_is_unreachable(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_: Path) -> bool:
        raise PermissionError("not for you")

    monkeypatch.setattr(Path, "exists", refuse)
    with pytest.raises(compose.Unreachable, match="cannot be looked for: not for you"):
        compose.is_there(Path("kpay.db"))
