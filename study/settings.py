"""Deployment settings, read once from environment variables ``ADAI_*``."""

from pydantic_settings import BaseSettings, SettingsConfigDict

DEFAULT_DATABASE_URL = "sqlite:///adai-study.db"


class Settings(BaseSettings):
    """Where things are on this machine; what a study *is* stands in its spec.

    Attributes:
        database_url: ``ADAI_DATABASE_URL``: SQLAlchemy URL of the database.
        ray_address: ``ADAI_RAY_ADDRESS``: a running Ray cluster; none means a local Ray for the command's duration.
    """

    model_config = SettingsConfigDict(env_prefix="ADAI_", frozen=True, env_ignore_empty=True)

    database_url: str = DEFAULT_DATABASE_URL
    ray_address: str | None = None
