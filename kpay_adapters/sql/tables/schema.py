"""What tables are made of: named constraints, indexes of what is unfinished, rows that stay as they were written."""

# The names in these texts are the tables' own.
# ruff: noqa: S608

from collections.abc import Iterable
from typing import Any

from sqlalchemy import DDL, Boolean, CheckConstraint, Column, Index, MetaData, Table, column, event

from kpay_adapters.sql.columns import INTEGER, TEXT

NAMES = {
    "pk": "%(table_name)s_pkey",
    "fk": "%(table_name)s_%(column_0_name)s_fkey",
    "uq": "%(table_name)s_%(column_0_N_name)s_key",
    "ck": "%(table_name)s_%(constraint_name)s_check",
}

METADATA = MetaData(naming_convention=NAMES)


def check(name: str, sql: str) -> CheckConstraint:
    """Make a CHECK that is named after its table and what it says."""
    return CheckConstraint(sql, name=name)


def words(values: Iterable[str]) -> str:
    """Write words as SQL lists them."""
    return ", ".join(f"'{value}'" for value in values)


def one_of(name: str, values: Iterable[str]) -> CheckConstraint:
    """Make the CHECK that a column holds one of these words."""
    return check(name, f"{name} IN ({words(values)})")


def guarded() -> tuple[Column[Any], Column[Any], CheckConstraint]:
    """Make what every guarded record has."""
    return (
        Column("id", TEXT, primary_key=True),
        Column("version", INTEGER, nullable=False),
        check("version", "version >= 1"),
    )


def flag(name: str) -> Column[Any]:
    """Make a column of true and false. Where that is a number (SQLite), a CHECK holds it to 0 and 1."""
    return Column(name, Boolean(create_constraint=True, name=name), nullable=False)


def index_while(set: str, name: str, *columns: str) -> Index:
    """Make an index of the rows in which a column is set: the few that somebody must still look at."""
    unfinished = column(set).is_not(None)
    return Index(name, *columns, postgresql_where=unfinished, sqlite_where=unfinished)


# The refusal is named after the table, as a constraint's is.
_REFUSE_CHANGE = """
CREATE OR REPLACE FUNCTION refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION '%%s is append-only', TG_TABLE_NAME
        USING ERRCODE = 'restrict_violation', CONSTRAINT = TG_TABLE_NAME || '_append_only';
END
$$
"""


def append_only(table: Table, *keys: str) -> None:
    """
    Let rows of a table be written once, and neither be changed nor deleted: by triggers, whoever writes.

    `keys` are the conditions under which NEW clashes with a row, one for each unique constraint. SQLite's INSERT OR
    REPLACE deletes such a row and runs no trigger of DELETE, so there the clash itself is refused.
    """
    name = table.name
    _after_create(
        table,
        "postgresql",
        _REFUSE_CHANGE,
        f"CREATE TRIGGER {name}_no_change BEFORE UPDATE OR DELETE ON {name}"
        " FOR EACH ROW EXECUTE FUNCTION refuse_change()",
        f"CREATE TRIGGER {name}_no_truncate BEFORE TRUNCATE ON {name}"
        " FOR EACH STATEMENT EXECUTE FUNCTION refuse_change()",
    )
    refuse = f"BEGIN SELECT RAISE(ABORT, '{name}_append_only'); END"
    # A rowid that is not given reads -1, and no row has that.
    found = (f"EXISTS (SELECT 1 FROM {name} WHERE {key})" for key in ("rowid = NEW.rowid", *keys))
    _after_create(
        table,
        "sqlite",
        f"CREATE TRIGGER {name}_no_update BEFORE UPDATE ON {name} {refuse}",
        f"CREATE TRIGGER {name}_no_delete BEFORE DELETE ON {name} {refuse}",
        f"CREATE TRIGGER {name}_no_replace BEFORE INSERT ON {name} WHEN {' OR '.join(found)} {refuse}",
    )


def _after_create(table: Table, dialect: str, *statements: str) -> None:
    for statement in statements:
        event.listen(table, "after_create", DDL(statement).execute_if(dialect=dialect))
