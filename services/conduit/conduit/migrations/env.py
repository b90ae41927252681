"""Alembic's entry: online only, with the connection's URL given by ``migrate.py``."""

import psycopg
from alembic import context
from sqlalchemy import create_engine, pool

from conduit.models import metadata

# Connected by psycopg itself, which knows several hosts.
_engine = create_engine(
    "postgresql+psycopg://",
    creator=lambda: psycopg.connect(context.config.attributes["url"]),
    poolclass=pool.NullPool,
)
with _engine.connect() as connection:
    context.configure(connection=connection, target_metadata=metadata)
    with context.begin_transaction():
        context.run_migrations()
