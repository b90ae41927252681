"""Articles by their cover, whose files are deleted with the last article that shows it; a user's reports by age."""

import sqlalchemy as sa
from alembic import op

revision = "0008_covers_and_reports_end"
down_revision = "0007_outbox_generation"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_index(
        op.f("articles_cover_digest_idx"),
        "articles",
        ["cover_digest"],
        postgresql_where=sa.text("cover_digest IS NOT NULL"),
    )
    op.create_index(op.f("reports_user_id_idx"), "reports", ["user_id", sa.text("id DESC")])
