"""What a start knows of migrations without Alembic is what Alembic knows."""

from collections.abc import Callable

import pytest
from alembic.config import Config
from alembic.script import ScriptDirectory
from sqlalchemy import text

from kpay_adapters.sql.migrate import migrate, transaction
from kpay_adapters.sql.pending import MIGRATIONS, REVISIONS, Ahead, pending
from kpay_http import compose
from kpay_http.settings import read_settings

pytestmark = pytest.mark.anyio


def test_revisions_are_the_numbers_of_their_files_and_follow_each_other() -> None:
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    known = ScriptDirectory.from_config(config).walk_revisions("base", "heads")
    assert [revision.revision for revision in known] == REVISIONS[::-1]


async def test_what_is_pending_is_what_follows_the_revision_that_was_reached(
    empty_database: Callable[[], str],
) -> None:
    url = empty_database()
    await migrate(url)
    async with transaction(url) as connection:
        await connection.execute(text("UPDATE alembic_version SET version_num = '0001'"))
    assert await pending(url) == [revision for revision in REVISIONS if revision > "0001"]


async def test_a_database_that_is_ahead_of_us_is_not_ours_to_use(empty_database: Callable[[], str]) -> None:
    url = empty_database()
    await migrate(url)
    async with transaction(url) as connection:
        await connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    with pytest.raises(Ahead, match="9999"):
        await pending(url)
    with pytest.raises(compose.NotMigrated, match="a newer version"):
        await compose.migrate_all(read_settings({"KPAY_DATABASE_URL": url}))
    with pytest.raises(compose.NotMigrated, match="a newer version"):
        await compose.check_migrated(read_settings({"KPAY_DATABASE_URL": url}))
