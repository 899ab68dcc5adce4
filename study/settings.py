"""Deployment settings, read once from environment variables ``ADAI_*``."""

from pathlib import Path
from typing import Annotated

from pydantic import BeforeValidator, Field
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

DEFAULT_DATABASE_URL = "sqlite:///adai-study.db"

Seconds = Annotated[float, Field(gt=0, allow_inf_nan=False)]


def _split(value: object) -> object:
    return [part.strip() for part in value.split(",") if part.strip()] if isinstance(value, str) else value


#: Written with commas between them.
Names = Annotated[tuple[str, ...], NoDecode, BeforeValidator(_split)]


class Settings(BaseSettings):
    """Where things are on this machine, and how patient it is; what a study *is* stands in its spec.

    Attributes:
        database_url: ``ADAI_DATABASE_URL``: SQLAlchemy URL of the database.
        database_password_file: ``ADAI_DATABASE_PASSWORD_FILE``: a file with the password of the database's user, where
            the URL has none.
        ray_address: ``ADAI_RAY_ADDRESS``: a running Ray cluster; none means a local Ray for the command's duration.
        lease_seconds: ``ADAI_LEASE_SECONDS``: a worker without a training step for so long is taken for hanging.
        heartbeat_seconds: ``ADAI_HEARTBEAT_SECONDS``: between two signs of life of a driver.
        database_retry_seconds: ``ADAI_DATABASE_RETRY_SECONDS``: how long a database that is away is waited for.
        reader_database_url: ``ADAI_READER_DATABASE_URL``: the same database with a role that only reads, for Optuna
            Dashboard's pages; none uses ``database_url``, through connections that cannot write.
        reader_database_password_file: ``ADAI_READER_DATABASE_PASSWORD_FILE``: the same of ``reader_database_url``.
        study: ``ADAI_STUDY``: a spec, by its path or its name among the shipped ones, that a server submits at its
            start, unless it knows the study.
        dashboard_secret_file: ``ADAI_DASHBOARD_SECRET_FILE``: a file with 32 characters or more, which sign the
            dashboard's sessions; without one it listens on this machine only.
        dashboard_users_file: ``ADAI_DASHBOARD_USERS_FILE``: users beside those of the database, a line
            ``name:role:argon2-hash`` each.
        dashboard_hosts: ``ADAI_DASHBOARD_HOSTS``: host names under which the dashboard answers, with commas.
        dashboard_tls: ``ADAI_DASHBOARD_TLS``: whether people reach the dashboard by https, by a proxy that ends TLS.
        dashboard_proxies: ``ADAI_DASHBOARD_PROXIES``: addresses or networks of proxies whose word on the client's
            address is taken, with commas.
    """

    model_config = SettingsConfigDict(env_prefix="ADAI_", frozen=True, env_ignore_empty=True)

    database_url: str = DEFAULT_DATABASE_URL
    database_password_file: Path | None = None
    ray_address: str | None = None
    lease_seconds: Seconds = 600.0
    heartbeat_seconds: Annotated[float, Field(gt=0, le=5)] = 2.0
    database_retry_seconds: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 60.0
    reader_database_url: str | None = None
    reader_database_password_file: Path | None = None
    study: str | None = None
    dashboard_secret_file: Path | None = None
    dashboard_users_file: Path | None = None
    dashboard_hosts: Names = ()
    dashboard_tls: bool = False
    dashboard_proxies: Names = ()
