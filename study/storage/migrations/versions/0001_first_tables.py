"""Environments, studies, trials, attempts, runs and epochs."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None


def upgrade() -> None:
    """Create the first tables."""
    op.create_table(
        "adai_environments",
        sa.Column("id", sa.Integer, nullable=False),
        sa.Column("hash", sa.String(64), nullable=False),
        sa.Column("details", sa.JSON, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_adai_environments"),
        sa.UniqueConstraint("hash", name="uq_adai_environments_hash"),
    )
    op.create_table(
        "adai_studies",
        sa.Column("id", sa.Integer, nullable=False),
        sa.Column("name", sa.String(64), nullable=False),
        sa.Column("spec", sa.JSON, nullable=False),
        sa.Column("spec_hash", sa.String(64), nullable=False),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("driver", sa.String(320)),
        sa.Column("environment_id", sa.Integer, nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("finished_at", sa.DateTime(timezone=True)),
        sa.PrimaryKeyConstraint("id", name="pk_adai_studies"),
        sa.UniqueConstraint("name", name="uq_adai_studies_name"),
        sa.ForeignKeyConstraint(["environment_id"], ["adai_environments.id"], name="fk_adai_studies_environment_id"),
    )
    op.create_table(
        "adai_trials",
        sa.Column("id", sa.Integer, nullable=False),
        sa.Column("study_id", sa.Integer, nullable=False),
        sa.Column("workload", sa.String(64), nullable=False),
        sa.Column("optimizer", sa.String(64), nullable=False),
        sa.Column("number", sa.Integer, nullable=False),
        sa.Column("origin", sa.String(16), nullable=False),
        sa.Column("hyperparameters", sa.JSON, nullable=False),
        sa.Column("unit", sa.JSON, nullable=False),
        sa.Column("optuna_trial_id", sa.Integer, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_adai_trials"),
        sa.UniqueConstraint("optuna_trial_id", name="uq_adai_trials_optuna_trial_id"),
        sa.UniqueConstraint(
            "study_id",
            "workload",
            "optimizer",
            "number",
            name="uq_adai_trials_study_id_workload_optimizer_number",
        ),
        sa.ForeignKeyConstraint(["study_id"], ["adai_studies.id"], name="fk_adai_trials_study_id"),
    )
    op.create_table(
        "adai_attempts",
        sa.Column("id", sa.Integer, nullable=False),
        sa.Column("study_id", sa.Integer, nullable=False),
        sa.Column("workload", sa.String(64), nullable=False),
        sa.Column("optimizer", sa.String(64), nullable=False),
        sa.Column("runs", sa.Integer, nullable=False),
        sa.Column("started_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("finished_at", sa.DateTime(timezone=True)),
        sa.Column("termination", sa.String(16)),
        sa.Column("error", sa.Text),
        sa.Column("worker", sa.String(255)),
        sa.Column("host", sa.String(255)),
        sa.Column("pid", sa.BigInteger),
        sa.Column("device", sa.String(64)),
        sa.Column("engine", sa.String(64)),
        sa.Column("torch_version", sa.String(64)),
        sa.PrimaryKeyConstraint("id", name="pk_adai_attempts"),
        sa.ForeignKeyConstraint(["study_id"], ["adai_studies.id"], name="fk_adai_attempts_study_id"),
    )
    op.create_index("ix_adai_attempts_study_id", "adai_attempts", ["study_id"])
    op.create_table(
        "adai_runs",
        sa.Column("id", sa.Integer, nullable=False),
        sa.Column("trial_id", sa.Integer, nullable=False),
        sa.Column("seed", sa.Integer, nullable=False),
        sa.Column("termination", sa.String(16)),
        sa.Column("reason", sa.Text),
        sa.Column("epochs", sa.Integer),
        sa.Column("objective", sa.Double),
        sa.Column("at_chance", sa.Boolean),
        sa.Column("train_loss", sa.Double),
        sa.Column("val_loss", sa.Double),
        sa.Column("val_error", sa.Double),
        sa.Column("test_loss", sa.Double),
        sa.Column("test_error", sa.Double),
        sa.Column("seconds", sa.Double),
        sa.Column("attempt_id", sa.Integer),
        sa.PrimaryKeyConstraint("id", name="pk_adai_runs"),
        sa.UniqueConstraint("trial_id", "seed", name="uq_adai_runs_trial_id_seed"),
        sa.ForeignKeyConstraint(["trial_id"], ["adai_trials.id"], name="fk_adai_runs_trial_id"),
        sa.ForeignKeyConstraint(["attempt_id"], ["adai_attempts.id"], name="fk_adai_runs_attempt_id"),
    )
    op.create_table(
        "adai_epochs",
        sa.Column("run_id", sa.Integer, nullable=False),
        sa.Column("epoch", sa.Integer, nullable=False),
        sa.Column("train_loss", sa.Double),
        sa.Column("val_loss", sa.Double),
        sa.Column("val_error", sa.Double),
        sa.Column("lr", sa.Double, nullable=False),
        sa.Column("seconds", sa.Double, nullable=False),
        sa.PrimaryKeyConstraint("run_id", "epoch", name="pk_adai_epochs"),
        sa.ForeignKeyConstraint(["run_id"], ["adai_runs.id"], name="fk_adai_epochs_run_id"),
    )
