"""The tasks table becomes the outbox: Celery does the retries, and a row has a task's state. No row is lost."""

import sqlalchemy as sa
from alembic import op

revision = "0006_outbox"
down_revision = "0005_tasks"
branch_labels = None
depends_on = None

_COLUMNS = {"tries": "attempts", "taken_by": "worker", "noted_at": "created_at"}


def upgrade() -> None:
    op.rename_table("tasks", "outbox")
    for old, new in _COLUMNS.items():
        op.alter_column("outbox", old, new_column_name=new)
    op.drop_column("outbox", "asked")
    op.drop_constraint(op.f("tasks_state_check"), "outbox", type_="check")
    # A failed task was waiting for its next attempt. A running one has a lease, which ends.
    op.execute("UPDATE outbox SET state = 'retrying' WHERE state = 'failed'")
    op.create_check_constraint(
        op.f("outbox_state_check"), "outbox", sa.text("state IN ('waiting', 'running', 'retrying', 'dead', 'done')")
    )
    op.execute("ALTER INDEX tasks_pkey RENAME TO outbox_pkey")
    op.execute("ALTER INDEX tasks_state_due_at_idx RENAME TO outbox_state_due_at_idx")
