"""The tables of the sandbox's journal, as the composition root makes them."""

from sqlalchemy import MetaData, Table

from kpay_adapters.sandbox import RECORDS
from kpay_adapters.sql.derive import table_for
from kpay_core.commit import Record

JOURNAL_METADATA = MetaData()
JOURNAL: dict[type[Record], Table] = {
    kind: table_for(kind, name, JOURNAL_METADATA) for kind, name in RECORDS.items()
}
