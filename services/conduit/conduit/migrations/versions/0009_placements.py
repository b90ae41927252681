"""The directory's map: which server holds which logical shard."""

import sqlalchemy as sa
from alembic import op

revision = "0009_placements"
down_revision = "0008_covers_and_reports_end"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "placements",
        sa.Column("shard", sa.SmallInteger(), autoincrement=False, nullable=False),
        sa.Column("server", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("shard", name=op.f("placements_pkey")),
    )
