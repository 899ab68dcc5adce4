"""Alembic's entry: run revisions on the connection that the caller gives."""

from alembic import context

from study.storage.tables import VERSION_TABLE

context.configure(connection=context.config.attributes["connection"], version_table=VERSION_TABLE)
with context.begin_transaction():
    context.run_migrations()
