"""Deployment settings, read once from environment variables ``ADAI_*``."""

from typing import Annotated

from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict

DEFAULT_DATABASE_URL = "sqlite:///adai-study.db"

Seconds = Annotated[float, Field(gt=0, allow_inf_nan=False)]


class Settings(BaseSettings):
    """Where things are on this machine, and how patient it is; what a study *is* stands in its spec.

    Attributes:
        database_url: ``ADAI_DATABASE_URL``: SQLAlchemy URL of the database.
        ray_address: ``ADAI_RAY_ADDRESS``: a running Ray cluster; none means a local Ray for the command's duration.
        lease_seconds: ``ADAI_LEASE_SECONDS``: a worker without a training step for so long is taken for hanging.
        heartbeat_seconds: ``ADAI_HEARTBEAT_SECONDS``: between two signs of life of a driver.
        database_retry_seconds: ``ADAI_DATABASE_RETRY_SECONDS``: how long a database that is away is waited for.
    """

    model_config = SettingsConfigDict(env_prefix="ADAI_", frozen=True, env_ignore_empty=True)

    database_url: str = DEFAULT_DATABASE_URL
    ray_address: str | None = None
    lease_seconds: Seconds = 600.0
    heartbeat_seconds: Annotated[float, Field(gt=0, le=5)] = 2.0
    database_retry_seconds: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 60.0
