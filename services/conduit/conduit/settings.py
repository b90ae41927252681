"""The only reader of the environment. Every URL is optional but the database's: what is set is what gets wired."""

from pathlib import Path

from limits import RateLimitItem, parse
from pydantic import DirectoryPath, Field, PostgresDsn, SecretStr, TypeAdapter, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

_POSTGRES_URL = TypeAdapter(PostgresDsn)


class Settings(BaseSettings):
    """What one process of the app needs to know. Names are those of the environment variables, in lower case."""

    model_config = SettingsConfigDict(extra="ignore", frozen=True)

    database_url: str
    jwt_secret: SecretStr = Field(min_length=32)
    token_hours: float = Field(default=24.0, gt=0)

    port: int = Field(default=8000, ge=0, le=65535)
    metrics_port: int = Field(default=9100, ge=0, le=65535)

    # Covers and reports. The app's own disk, until a stage has a place for files.
    media_dir: Path = Path("/data/media")
    # The pages' files; none: the API alone.
    web_dir: DirectoryPath | None = None

    # 256 MB boxes: ten threads, each with a connection at the most; two password hashes (19 MiB each) at once.
    threads: int = Field(default=10, ge=1, le=100)
    pool_size: int = Field(default=10, ge=1, le=100)
    password_hashes_at_once: int = Field(default=2, ge=1)
    # Requests accepted and not answered yet; beyond it the answer is 503 at once. A box of a quarter CPU answers some
    # 200 a second, so that a longer queue would hold only requests that are late already.
    max_in_flight: int = Field(default=64, ge=1)

    login_limit: str = "10/minute"
    write_limit: str = "60/minute"

    @field_validator("database_url")
    @classmethod
    def _postgres(cls, value: str) -> str:
        _POSTGRES_URL.validate_python(value)
        return value

    @field_validator("login_limit", "write_limit")
    @classmethod
    def _limit(cls, value: str) -> str:
        parse(value)
        return value

    @property
    def login_limit_item(self) -> RateLimitItem:
        return parse(self.login_limit)

    @property
    def write_limit_item(self) -> RateLimitItem:
        return parse(self.write_limit)
