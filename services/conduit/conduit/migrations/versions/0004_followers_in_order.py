"""An index of followers sorted by id, so that mail reads one chunk of an author's followers and no more."""

from alembic import op

revision = "0004_followers_in_order"
down_revision = "0003_names_as_they_are_held"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_index(op.f("follows_followee_id_follower_id_idx"), "follows", ["followee_id", "follower_id"])
    op.drop_index(op.f("follows_followee_id_idx"), table_name="follows")
