"""What the page says is stored is what is stored: every table, and every column that may hold a text."""

import re

from sqlalchemy import JSON, Text

from kpay_adapters.sql.tables import METADATA
from kpay_http.compose import JOURNAL_METADATA
from tests.attacks.spellings import BAD_URLS, NAMES_INSIDE, NOT_PUBLIC
from tests.attacks.test_clients import CLIENTS, habits
from tests.attacks.test_secrets import NOWHERE
from tests.attacks.test_smuggling import UNCERTAIN
from tests.docs.pages import PAGES

PAGE = PAGES["docs/explanation/security.md"]

# Names of ours, of which the page says so once.
NAMES = {"id", "merchant"}


def stored() -> dict[str, set[str]]:
    """Every table, and its columns that hold texts."""
    return {
        table.name: {column.name for column in table.columns if isinstance(column.type, Text | JSON)} - NAMES
        for metadata in (METADATA, JOURNAL_METADATA)
        for table in metadata.tables.values()
    }


def told() -> dict[str, set[str]]:
    """The tables of the page, and the columns that it names."""
    part = PAGE.partition("## What is stored\n")[2].partition("\n## ")[0]
    found: dict[str, set[str]] = {}
    for tables, holds in re.findall(r"^\| (`.*?`) \| (.*) \|$", part, re.MULTILINE):
        names = set(re.findall(r"`(\w+)`", holds))
        found |= dict.fromkeys(re.findall(r"`(\w+)`", tables), names)
    return found


def test_every_table_and_every_text_in_it_is_told() -> None:
    page = told()
    assert page.keys() == stored().keys()
    for table, columns in stored().items():
        assert columns <= page[table], f"{table} also holds {columns - page[table]}"
        everywhere = {name for columns in stored().values() for name in columns} | NAMES
        assert page[table] <= everywhere, f"{table} holds no {page[table] - everywhere}"


def test_the_counts_of_the_tests_are_those_of_the_tests() -> None:
    assert f"{CLIENTS:,} sockets of {len(habits(''))} kinds" in PAGE
    assert f"{len(UNCERTAIN)} ways to leave open" in PAGE
    assert f"out of reach in {len(NOWHERE)} ways" in PAGE
    inward = sum(len(each.split()) for each in NOT_PUBLIC.values()) + sum(map(len, BAD_URLS.values()))
    assert f"{inward + len(NAMES_INSIDE)} spellings" in PAGE
