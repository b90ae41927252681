"""A row of the outbox counts how often it was enqueued again. No row is lost."""

import sqlalchemy as sa
from alembic import op

revision = "0007_outbox_generation"
down_revision = "0006_outbox"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("outbox", sa.Column("generation", sa.Integer, nullable=False, server_default=sa.text("0")))
