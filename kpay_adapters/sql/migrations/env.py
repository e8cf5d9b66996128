"""Alembic runs this for every command. `migrate` gives it a connection whose transaction is open already."""

from alembic import context

from kpay_adapters.sql.tables import METADATA

context.configure(connection=context.config.attributes["connection"], target_metadata=METADATA)
with context.begin_transaction():
    context.run_migrations()
