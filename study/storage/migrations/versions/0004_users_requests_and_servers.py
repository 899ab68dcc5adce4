"""Users, their sessions and tokens, the audit log, requests of dashboards, and servers that live."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    """Add the tables of the dashboard; nothing else changes."""
    moment = sa.DateTime(timezone=True)
    op.create_table(
        "adai_users",
        sa.Column("name", sa.String(64), nullable=False),
        sa.Column("role", sa.String(16), nullable=False),
        sa.Column("password_hash", sa.Text, nullable=False),
        sa.Column("created_at", moment, nullable=False),
        sa.PrimaryKeyConstraint("name", name="pk_adai_users"),
    )
    op.create_table(
        "adai_sessions",
        sa.Column("hash", sa.String(64), nullable=False),
        sa.Column("user_name", sa.String(64), nullable=False),
        sa.Column("created_at", moment, nullable=False),
        sa.Column("expires_at", moment, nullable=False),
        sa.PrimaryKeyConstraint("hash", name="pk_adai_sessions"),
    )
    op.create_index("ix_adai_sessions_user_name", "adai_sessions", ["user_name"])
    op.create_table(
        "adai_tokens",
        sa.Column("id", sa.Integer, nullable=False),
        sa.Column("user_name", sa.String(64), nullable=False),
        sa.Column("name", sa.String(64), nullable=False),
        sa.Column("role", sa.String(16), nullable=False),
        sa.Column("hash", sa.String(64), nullable=False),
        sa.Column("created_at", moment, nullable=False),
        sa.Column("expires_at", moment),
        sa.Column("revoked_at", moment),
        sa.PrimaryKeyConstraint("id", name="pk_adai_tokens"),
        sa.UniqueConstraint("hash", name="uq_adai_tokens_hash"),
    )
    op.create_index("ix_adai_tokens_user_name", "adai_tokens", ["user_name"])
    op.create_table(
        "adai_audit",
        sa.Column("id", sa.Integer, nullable=False),
        sa.Column("at", moment, nullable=False),
        sa.Column("user_name", sa.String(64)),
        sa.Column("address", sa.String(64), nullable=False),
        sa.Column("action", sa.String(64), nullable=False),
        sa.Column("subject", sa.Text, nullable=False),
        sa.Column("status", sa.Integer, nullable=False),
        sa.Column("details", sa.JSON, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_adai_audit"),
    )
    op.create_table(
        "adai_requests",
        sa.Column("id", sa.Integer, nullable=False),
        sa.Column("kind", sa.String(16), nullable=False),
        sa.Column("study", sa.String(64), nullable=False),
        sa.Column("spec", sa.JSON),
        sa.Column("requested_by", sa.String(64), nullable=False),
        sa.Column("requested_at", moment, nullable=False),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("handler", sa.String(320)),
        sa.Column("finished_at", moment),
        sa.Column("message", sa.Text),
        sa.PrimaryKeyConstraint("id", name="pk_adai_requests"),
    )
    op.create_index("ix_adai_requests_state", "adai_requests", ["state"])
    op.create_table(
        "adai_servers",
        sa.Column("process", sa.String(320), nullable=False),
        sa.Column("started_at", moment, nullable=False),
        sa.Column("seen_at", moment, nullable=False),
        sa.Column("workers", sa.Integer, nullable=False),
        sa.Column("studies", sa.Integer, nullable=False),
        sa.PrimaryKeyConstraint("process", name="pk_adai_servers"),
    )
