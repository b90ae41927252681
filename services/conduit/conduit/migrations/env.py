"""Alembic's entry: online only, with the connection's URL given by ``migrate.py``."""

from alembic import context
from sqlalchemy import create_engine, make_url, pool

from conduit.models import metadata

_url = make_url(context.config.attributes["url"]).set(drivername="postgresql+psycopg")
_engine = create_engine(_url, poolclass=pool.NullPool)
with _engine.connect() as connection:
    context.configure(connection=connection, target_metadata=metadata)
    with context.begin_transaction():
        context.run_migrations()
