"""Our tables, prefix ``adai_``. Optuna's own tables lie beside them and are never altered.

::

    adai_environments ◄── adai_studies ◄── adai_trials ◄── adai_runs ◄── adai_epochs, adai_curvature
                           ▲   ▲    ▲                         │
             adai_plans, adai_logs  adai_attempts ◄───────────┘

    adai_users ◄─ by name ─ adai_sessions, adai_tokens, adai_audit      adai_requests     adai_servers

A study's trials and runs are written when it is created: what is missing is what has no termination yet.
Numbers that are not finite are stored as NULL: SQLite has no NaN, and a run's termination says what happened.
Columns of a later revision stand last, as they do in an upgraded database.
"""

import datetime as dt

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    Column,
    DateTime,
    Dialect,
    Double,
    ForeignKey,
    Index,
    Integer,
    MetaData,
    String,
    Table,
    Text,
    TypeDecorator,
    UniqueConstraint,
)

#: Alembic's table for our history; Optuna's own is called ``alembic_version``.
VERSION_TABLE = "adai_alembic_version"
#: The newest revision in migrations/versions, which these tables are.
HEAD_REVISION = "0004"


class UtcDateTime(TypeDecorator[dt.datetime]):
    """A point in time, UTC with and without time zones in the database, always aware in Python."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: dt.datetime | None, dialect: Dialect) -> dt.datetime | None:
        """To UTC."""
        del dialect
        return None if value is None else value.astimezone(dt.UTC)

    def process_result_value(self, value: dt.datetime | None, dialect: Dialect) -> dt.datetime | None:
        """From UTC; SQLite drops the zone."""
        del dialect
        if value is None:
            return None
        return value.replace(tzinfo=dt.UTC) if value.tzinfo is None else value.astimezone(dt.UTC)


metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s",
        "pk": "pk_%(table_name)s",
    }
)

environments = Table(
    "adai_environments",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("hash", String(64), nullable=False, unique=True),
    Column("details", JSON, nullable=False),
)

studies = Table(
    "adai_studies",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("name", String(64), nullable=False, unique=True),
    Column("spec", JSON, nullable=False),
    Column("spec_hash", String(64), nullable=False),
    Column("state", String(16), nullable=False),
    Column("driver", String(320)),
    Column("environment_id", ForeignKey("adai_environments.id"), nullable=False),
    Column("created_at", UtcDateTime, nullable=False),
    Column("finished_at", UtcDateTime),
    # Counts the driver's transactions: one whose beat does not move is dead, and one whose beat another has is fenced.
    Column("beat", BigInteger, nullable=False, server_default="0"),
    Column("queued_at", UtcDateTime),
    Column("error", Text),
)

trials = Table(
    "adai_trials",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("study_id", ForeignKey("adai_studies.id"), nullable=False),
    Column("workload", String(64), nullable=False),
    Column("optimizer", String(64), nullable=False),
    Column("number", Integer, nullable=False),
    Column("origin", String(16), nullable=False),
    Column("hyperparameters", JSON, nullable=False),
    Column("unit", JSON, nullable=False),
    Column("optuna_trial_id", Integer, nullable=False, unique=True),
    Column("round", Integer, nullable=False, server_default="0"),
    UniqueConstraint("study_id", "workload", "optimizer", "number"),
)

attempts = Table(
    "adai_attempts",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("study_id", ForeignKey("adai_studies.id"), nullable=False),
    Column("workload", String(64), nullable=False),
    Column("optimizer", String(64), nullable=False),
    Column("runs", Integer, nullable=False),
    Column("started_at", UtcDateTime, nullable=False),
    Column("finished_at", UtcDateTime),
    Column("termination", String(16)),
    Column("error", Text),
    Column("worker", String(255)),
    Column("host", String(255)),
    Column("pid", BigInteger),
    Column("device", String(64)),
    Column("engine", String(64)),
    Column("torch_version", String(64)),
    Column("driver", String(320)),
    # Names a row of adai_environments; SQLite cannot add a foreign key with a name to a table that there is.
    Column("environment_hash", String(64)),
    Column("heartbeat_at", UtcDateTime),
    Column("tries", Integer),
    Column("first_epoch", Integer),
    Index(None, "study_id"),
)

runs = Table(
    "adai_runs",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("trial_id", ForeignKey("adai_trials.id"), nullable=False),
    Column("seed", Integer, nullable=False),
    Column("termination", String(16)),
    Column("reason", Text),
    Column("epochs", Integer),
    Column("objective", Double),
    Column("at_chance", Boolean),
    Column("train_loss", Double),
    Column("val_loss", Double),
    Column("val_error", Double),
    Column("test_loss", Double),
    Column("test_error", Double),
    Column("seconds", Double),
    Column("attempt_id", ForeignKey("adai_attempts.id")),
    Column("steps_to_target", Integer),
    Column("seconds_to_target", Double),
    Column("peak_memory", BigInteger),
    UniqueConstraint("trial_id", "seed"),
)

epochs = Table(
    "adai_epochs",
    metadata,
    Column("run_id", ForeignKey("adai_runs.id"), primary_key=True),
    Column("epoch", Integer, primary_key=True),
    Column("train_loss", Double),
    Column("val_loss", Double),
    Column("val_error", Double),
    Column("lr", Double, nullable=False),
    Column("seconds", Double, nullable=False),
    Column("grad_norm", Double),
)

curvature = Table(
    "adai_curvature",
    metadata,
    Column("run_id", ForeignKey("adai_runs.id"), primary_key=True),
    Column("epoch", Integer, primary_key=True),
    # Quantity -> number, or list of numbers for a slice.
    Column("values", JSON, nullable=False),
)

plans = Table(
    "adai_plans",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("study_id", ForeignKey("adai_studies.id"), nullable=False),
    Column("workload", String(64), nullable=False),
    Column("engine", String(32), nullable=False),
    Column("max_rows", Integer, nullable=False),
    Column("reason", Text, nullable=False),
    Column("device", String(64), nullable=False),
    UniqueConstraint("study_id", "workload"),
)

logs = Table(
    "adai_logs",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("study_id", ForeignKey("adai_studies.id"), nullable=False),
    Column("at", UtcDateTime, nullable=False),
    Column("level", String(16), nullable=False),
    Column("event", String(64), nullable=False),
    Column("details", JSON, nullable=False),
    Index(None, "study_id"),
)

users = Table(
    "adai_users",
    metadata,
    Column("name", String(64), primary_key=True),
    Column("role", String(16), nullable=False),
    Column("password_hash", Text, nullable=False),
    Column("created_at", UtcDateTime, nullable=False),
)

# Users of sessions, tokens, requests and the audit log may also stand in a file: no foreign keys.
sessions = Table(
    "adai_sessions",
    metadata,
    Column("hash", String(64), primary_key=True),
    Column("user_name", String(64), nullable=False),
    Column("created_at", UtcDateTime, nullable=False),
    Column("expires_at", UtcDateTime, nullable=False),
    Index(None, "user_name"),
)

tokens = Table(
    "adai_tokens",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("user_name", String(64), nullable=False),
    Column("name", String(64), nullable=False),
    Column("role", String(16), nullable=False),
    Column("hash", String(64), nullable=False, unique=True),
    Column("created_at", UtcDateTime, nullable=False),
    Column("expires_at", UtcDateTime),
    Column("revoked_at", UtcDateTime),
    Index(None, "user_name"),
)

audit = Table(
    "adai_audit",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("at", UtcDateTime, nullable=False),
    Column("user_name", String(64)),
    Column("address", String(64), nullable=False),
    Column("action", String(64), nullable=False),
    Column("subject", Text, nullable=False),
    Column("status", Integer, nullable=False),
    Column("details", JSON, nullable=False),
)

# What a process that may not write trials asks of one that may.
requests = Table(
    "adai_requests",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("kind", String(16), nullable=False),
    Column("study", String(64), nullable=False),
    Column("spec", JSON),
    Column("requested_by", String(64), nullable=False),
    Column("requested_at", UtcDateTime, nullable=False),
    Column("state", String(16), nullable=False),
    Column("handler", String(320)),
    Column("finished_at", UtcDateTime),
    Column("message", Text),
    Index(None, "state"),
)

servers = Table(
    "adai_servers",
    metadata,
    Column("process", String(320), primary_key=True),
    Column("started_at", UtcDateTime, nullable=False),
    Column("seen_at", UtcDateTime, nullable=False),
    Column("workers", Integer, nullable=False),
    Column("studies", Integer, nullable=False),
)
