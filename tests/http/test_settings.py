"""Settings: what each takes, and that one which is wrong is named."""

import pytest

from kpay_http.settings import BadSetting, read_settings


@pytest.mark.parametrize(
    ("url", "is_taken"),
    [
        ("sqlite:///kpay.db", True),
        ("sqlite:////var/lib/kpay.db", True),
        ("postgresql://user@host/db", True),
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
