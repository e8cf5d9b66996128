"""The keyring: what is sealed opens with the same keyring, for the same purpose, unchanged, and in no other way."""

import os
from base64 import b64decode, b64encode
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kpay_adapters.keyring import SecretKeyring, read_secret, secret_beside
from kpay_core.ports import CannotUnseal

SECRET, OTHER = bytes(32), b"o" * 32
OLD, NEW = b"1" * 32, b"2" * 32


@given(
    purpose=st.text(st.characters(exclude_categories=["Cs"])),
    text=st.text(st.characters(exclude_categories=["Cs"])),
)
def test_what_is_sealed_comes_back(purpose: str, text: str) -> None:
    keyring = SecretKeyring(SECRET)
    assert keyring.unseal(purpose, keyring.seal(purpose, text)) == text


def test_a_sealed_text_shows_nothing_of_what_is_in_it_and_is_never_the_same() -> None:
    keyring = SecretKeyring(SECRET)
    many = {keyring.seal("p", "whsec_secret") for _ in range(100)}
    assert len(many) == 100
    assert not any("whsec" in sealed for sealed in many)
    assert len({sealed.partition(".")[0] for sealed in many}) == 1


def test_another_keyring_another_purpose_and_another_text_do_not_open() -> None:
    keyring = SecretKeyring(SECRET)
    sealed = keyring.seal("endpoint/1", "whsec_secret")
    for stranger, purpose, text in [
        (SecretKeyring(OTHER), "endpoint/1", sealed),
        (SecretKeyring(SECRET, sealing_keys=[NEW]), "endpoint/2", sealed),
        (keyring, "endpoint/2", sealed),
        (keyring, "endpoint/1", ""),
        (keyring, "endpoint/1", "."),
        (keyring, "endpoint/1", sealed.partition(".")[2]),
        (keyring, "endpoint/1", sealed.partition(".")[0] + "."),
        (keyring, "endpoint/1", sealed + "="),
        (keyring, "endpoint/1", sealed + "é"),
    ]:
        with pytest.raises(CannotUnseal):
            stranger.unseal(purpose, text)


def test_a_sealed_text_of_which_any_bit_was_changed_does_not_open() -> None:
    keyring = SecretKeyring(SECRET)
    name, _, content = keyring.seal("p", "whsec_secret").partition(".")
    raw = b64decode(content)
    for bit in range(8 * len(raw)):
        changed = (int.from_bytes(raw) ^ 1 << bit).to_bytes(len(raw))
        with pytest.raises(CannotUnseal):
            keyring.unseal("p", f"{name}.{b64encode(changed).decode()}")


def test_a_refusal_shows_nothing_of_the_secret() -> None:
    sealed = SecretKeyring(SECRET).seal("p", "whsec_secret")
    for keyring in (SecretKeyring(OTHER), SecretKeyring(SECRET)):
        with pytest.raises(CannotUnseal) as caught:
            keyring.unseal("q", sealed)
        assert "whsec" not in str(caught.value)
        assert caught.value.__cause__ is None


def test_a_sealing_key_is_replaced_by_putting_a_new_one_before_it() -> None:
    before = SecretKeyring(SECRET)
    first = before.seal("p", "derived")
    during = SecretKeyring(SECRET, sealing_keys=[OLD])
    second = during.seal("p", "old")
    after = SecretKeyring(SECRET, sealing_keys=[NEW, OLD])
    third = after.seal("p", "new")

    assert [after.unseal("p", sealed) for sealed in (first, second, third)] == ["derived", "old", "new"]
    assert [after.is_current(sealed) for sealed in (first, second, third)] == [False, False, True]
    assert [during.is_current(sealed) for sealed in (first, second, third)] == [False, True, False]
    with pytest.raises(CannotUnseal):
        during.unseal("p", third)
    # Without the old key, what it sealed is lost: everything is to be sealed again before it goes.
    with pytest.raises(CannotUnseal):
        SecretKeyring(SECRET, sealing_keys=[NEW]).unseal("p", second)


def test_a_sealing_key_changes_no_fingerprint() -> None:
    assert SecretKeyring(SECRET).mac("card", b"x") == SecretKeyring(SECRET, sealing_keys=[NEW]).mac(
        "card", b"x"
    )


def test_keys_and_secrets_are_in_no_repr() -> None:
    assert repr(SecretKeyring(SECRET, sealing_keys=[NEW])) == "<SecretKeyring>"


def test_a_secret_is_on_the_disk_under_its_name_before_anything_is_kept_under_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sync, path = os.fsync, tmp_path / "kpay.secret"
    # What each sync brought to the disk: the text of a file, and whether the secret had its name by then.
    synced: list[tuple[str | None, bool]] = []

    def observe(descriptor: int) -> None:
        number = os.fstat(descriptor).st_ino
        what = next(each for each in (tmp_path, *tmp_path.iterdir()) if each.stat().st_ino == number)
        synced.append((None if what == tmp_path else what.read_text(), path.exists()))
        sync(descriptor)

    monkeypatch.setattr(os, "fsync", observe)
    secret = secret_beside(path)
    (text, had_its_name), folder = synced
    assert text is not None
    assert (read_secret(text), had_its_name) == (secret, False)
    assert folder == (None, True)

    assert secret_beside(path) == secret
    assert len(synced) == 2
    assert [file.name for file in tmp_path.iterdir()] == ["kpay.secret"]
