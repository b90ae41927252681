"""Covers of articles, and reports on an author's audience: their states. Media keeps the files."""

import sqlalchemy as sa
from alembic import op

revision = "0002_covers_and_reports"
down_revision = "0001_initial"
branch_labels = None
depends_on = None

_STATES = "('pending', 'ready', 'failed')"


def upgrade() -> None:
    # Nullable and without a default: no row is rewritten, so a large table is as quick as an empty one.
    op.add_column("articles", sa.Column("cover_digest", sa.Text(), nullable=True))
    op.add_column("articles", sa.Column("cover_state", sa.Text(), nullable=True))
    op.create_check_constraint(op.f("articles_cover_state_check"), "articles", f"cover_state IN {_STATES}")
    op.create_check_constraint(
        op.f("articles_cover_check"), "articles", "(cover_digest IS NULL) = (cover_state IS NULL)"
    )
    op.create_table(
        "reports",
        sa.Column("id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("user_id", sa.BigInteger(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column(
            "created_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("date_trunc('milliseconds', now())"),
            nullable=False,
        ),
        sa.Column("finished_at", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint(f"state IN {_STATES}", name=op.f("reports_state_check")),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], name=op.f("reports_user_id_fkey")),
        sa.PrimaryKeyConstraint("id", name=op.f("reports_pkey")),
    )
