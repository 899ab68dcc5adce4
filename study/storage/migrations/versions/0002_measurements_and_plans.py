"""Gradient norms, time to target, memory and curvature of runs; the engine that each workload was planned for."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    """Add what later versions measure; runs of earlier ones keep NULL there."""
    op.add_column("adai_epochs", sa.Column("grad_norm", sa.Double))
    op.add_column("adai_runs", sa.Column("steps_to_target", sa.Integer))
    op.add_column("adai_runs", sa.Column("seconds_to_target", sa.Double))
    op.add_column("adai_runs", sa.Column("peak_memory", sa.BigInteger))
    op.create_table(
        "adai_curvature",
        sa.Column("run_id", sa.Integer, nullable=False),
        sa.Column("epoch", sa.Integer, nullable=False),
        sa.Column("values", sa.JSON, nullable=False),
        sa.PrimaryKeyConstraint("run_id", "epoch", name="pk_adai_curvature"),
        sa.ForeignKeyConstraint(["run_id"], ["adai_runs.id"], name="fk_adai_curvature_run_id"),
    )
    op.create_table(
        "adai_plans",
        sa.Column("id", sa.Integer, nullable=False),
        sa.Column("study_id", sa.Integer, nullable=False),
        sa.Column("workload", sa.String(64), nullable=False),
        sa.Column("engine", sa.String(32), nullable=False),
        sa.Column("max_rows", sa.Integer, nullable=False),
        sa.Column("reason", sa.Text, nullable=False),
        sa.Column("device", sa.String(64), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_adai_plans"),
        sa.UniqueConstraint("study_id", "workload", name="uq_adai_plans_study_id_workload"),
        sa.ForeignKeyConstraint(["study_id"], ["adai_studies.id"], name="fk_adai_plans_study_id"),
    )
