"""The directory has a name's holder and the time of its reservation; the user's row has the names in use."""

from alembic import op

revision = "0003_names_as_they_are_held"
down_revision = "0002_covers_and_reports"
branch_labels = None
depends_on = None


def upgrade() -> None:
    # Dropping a column rewrites nothing either.
    for table in ("usernames", "emails"):
        op.drop_column(table, "confirmed")
