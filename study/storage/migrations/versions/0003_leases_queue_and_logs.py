"""Leases of studies and attempts, the queue of submitted studies, rounds of trials, and logs."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    """Add what drivers that share a database need; what earlier versions wrote keeps NULL there."""
    op.add_column("adai_studies", sa.Column("beat", sa.BigInteger, nullable=False, server_default="0"))
    op.add_column("adai_studies", sa.Column("queued_at", sa.DateTime(timezone=True)))
    op.add_column("adai_studies", sa.Column("error", sa.Text))
    op.add_column("adai_trials", sa.Column("round", sa.Integer, nullable=False, server_default="0"))
    op.add_column("adai_attempts", sa.Column("driver", sa.String(320)))
    op.add_column("adai_attempts", sa.Column("environment_hash", sa.String(64)))
    op.add_column("adai_attempts", sa.Column("heartbeat_at", sa.DateTime(timezone=True)))
    op.add_column("adai_attempts", sa.Column("tries", sa.Integer))
    op.add_column("adai_attempts", sa.Column("first_epoch", sa.Integer))
    op.create_table(
        "adai_logs",
        sa.Column("id", sa.Integer, nullable=False),
        sa.Column("study_id", sa.Integer, nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("level", sa.String(16), nullable=False),
        sa.Column("event", sa.String(64), nullable=False),
        sa.Column("details", sa.JSON, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_adai_logs"),
        sa.ForeignKeyConstraint(["study_id"], ["adai_studies.id"], name="fk_adai_logs_study_id"),
    )
    op.create_index("ix_adai_logs_study_id", "adai_logs", ["study_id"])
