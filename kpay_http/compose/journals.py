"""The sandbox's journal: its tables, and where it is kept."""

from sqlalchemy import MetaData, Table

from kpay_adapters.sandbox import RECORDS
from kpay_adapters.sql.derive import table_for
from kpay_core.commit import Record
from kpay_http.settings import Settings

JOURNAL_METADATA = MetaData()
JOURNAL: dict[type[Record], Table] = {
    kind: table_for(kind, name, JOURNAL_METADATA) for kind, name in RECORDS.items()
}


def journal_url(settings: Settings) -> str:
    """Say where the sandbox keeps its journal: in a file beside the database's, or in a table of its own there."""
    file = settings.database_file
    if file is None:
        return settings.database_url
    return f"sqlite:///{file.with_name(f'{file.stem}-sandbox{file.suffix}')}"
