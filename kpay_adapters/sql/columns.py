"""
The five kinds of column, spelt so that both databases keep the same values and sort them the same way.

                 PostgreSQL           SQLite
    TEXT         text COLLATE "C"     text            compared by code point, as Python does
    INTEGER      bigint               bigint
    Boolean      boolean              boolean         0 and 1 on SQLite
    TIME         timestamptz          text            YYYY-MM-DDTHH:MM:SS.mmmZ: of one width, so its order is time's
    DOCUMENT     json                 json            the text as it was written
"""

from typing import Any

from sqlalchemy import JSON, BigInteger, Dialect, Text
from sqlalchemy.dialects import postgresql
from sqlalchemy.types import TypeDecorator, TypeEngine


class Time(TypeDecorator[str]):
    """A moment in UTC, in whole milliseconds."""

    impl = Text
    cache_ok = True

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[Any]:
        on_postgres = dialect.name == "postgresql"
        return postgresql.TIMESTAMP(timezone=True) if on_postgres else Text()


# A database's own collation may put "a" before "B", would serve no index on ids, and changes with the system's libc.
TEXT = Text().with_variant(postgresql.TEXT(collation="C"), "postgresql")
INTEGER = BigInteger()
TIME = Time()
# Not jsonb: it rewrites numbers (1e22 becomes an integer, -0.0 becomes 0), and a merchant's metadata must come back
# with the same types and values.
DOCUMENT = JSON()
