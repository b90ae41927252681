"""The only reader of the environment. Every URL is optional but the database's: what is set is what gets wired."""

import re
from email.headerregistry import Address
from email.utils import parseaddr
from ipaddress import IPv4Network, IPv6Network, ip_network
from pathlib import Path
from socket import gethostname
from typing import Annotated, Literal
from urllib.parse import urlsplit

from limits import RateLimitItem, parse
from pydantic import (
    AnyUrl,
    DirectoryPath,
    Field,
    HttpUrl,
    PostgresDsn,
    SecretStr,
    TypeAdapter,
    UrlConstraints,
    ValidationInfo,
    field_validator,
)
from pydantic_settings import BaseSettings, SettingsConfigDict

_DATABASE = re.compile("/[0-9]+")  # of Redis: a number
_POSTGRES_URL = TypeAdapter(PostgresDsn)
_HTTP_URL = TypeAdapter(HttpUrl)
_REDIS_URL: TypeAdapter[AnyUrl] = TypeAdapter(
    Annotated[AnyUrl, UrlConstraints(allowed_schemes=["redis"], host_required=True)]
)
_SMTP_URL: TypeAdapter[AnyUrl] = TypeAdapter(
    Annotated[AnyUrl, UrlConstraints(allowed_schemes=["smtp"], host_required=True)]
)


class Settings(BaseSettings):
    """What one process of the app needs to know. Names are those of the environment variables, in lower case."""

    model_config = SettingsConfigDict(extra="ignore", frozen=True, hide_input_in_errors=True)

    database_url: str
    jwt_secret: SecretStr = Field(min_length=32)
    token_hours: float = Field(default=24.0, gt=0)

    # Addresses and networks, with commas between them, that are believed when they say whose request they pass on.
    trusted_proxies: str = ""

    # Who serves the routes: our compiled ones, or FastAPI alone, to measure what optimising code gives.
    routes: Literal["compiled", "plain"] = "compiled"

    port: int = Field(default=8000, ge=0, le=65535)
    metrics_port: int = Field(default=9100, ge=0, le=65535)

    # Covers and reports: the app's own disk, or a place for files, http://host:port.
    media_dir: Path = Path("/data/media")
    media_url: str | None = None
    # The edge's port for purging, http://host:port; none: nothing keeps what this app answers.
    edge_url: str | None = None
    # The cache, and the counters of the limits, redis://[user]:[password]@host:port/database; none: everything is read
    # from the database, and counted in this process's memory. A password is not shown in any form of the settings.
    cache_url: str | None = Field(default=None, repr=False)
    limits_url: str | None = Field(default=None, repr=False)
    # One at a time asks the database for what the cache has not; false only to measure what that is worth.
    cache_single_flight: bool = True
    # The queue's broker, a URL as the cache's; none: slow work is done inside the request that asks for it.
    broker_url: str | None = Field(default=None, repr=False)
    # What a worker is called in the rows of the tasks that it is at; no two of them may share a name.
    box_name: str = Field(default_factory=gethostname, min_length=1)
    # Where mail goes, smtp://host:port; none: it is only logged. The address it comes from, and the one in its links.
    smtp_url: str | None = None
    mail_from: str = "Conduit <news@conduit.test>"
    public_url: str = "http://127.0.0.1:8000"
    # The pages' files; none: the API alone.
    web_dir: DirectoryPath | None = None

    # 256 MB boxes: ten threads, each with a connection at the most; two password hashes (19 MiB each) at once.
    threads: int = Field(default=10, ge=1, le=100)
    pool_size: int = Field(default=10, ge=1, le=100, validate_default=True)
    password_hashes_at_once: int = Field(default=2, ge=1)
    # Requests accepted and not answered yet; beyond it the answer is 503 at once. A box of a quarter CPU answers some
    # 200 a second, so that a longer queue would hold only requests that are late already.
    max_in_flight: int = Field(default=64, ge=1)
    # How long a request's body may take to arrive, and how many bytes of bodies are held at once.
    body_seconds: float = Field(default=30.0, gt=0)
    max_body_bytes_at_once: int = Field(default=24_000_000, ge=5_000_000)
    # How long a sign-in waits for its turn to hash.
    hash_wait_seconds: float = Field(default=1.0, gt=0)

    # Slow work inside a request: how long one conversation with the mail server may take, and after how long nothing is
    # begun any more of what follows from the first task.
    mail_seconds: float = Field(default=3.0, gt=0)
    task_seconds: float = Field(default=10.0, gt=0)
    # Uploads: how many are held in memory (5 MB each), and how long one waits for that and to be made into a cover,
    # which is done one at a time.
    uploads_at_once: int = Field(default=4, ge=1)
    upload_wait_seconds: float = Field(default=15.0, gt=0)

    # Seconds that a request may wait for a thread in overload (threads.py) before it is refused.
    max_wait: float = Field(default=0.1, gt=0)

    login_limit: str = "10/minute"
    write_limit: str = "60/minute"

    @field_validator("database_url")
    @classmethod
    def _postgres(cls, value: str) -> str:
        _POSTGRES_URL.validate_python(value)
        return value

    @field_validator("pool_size")
    @classmethod
    def _one_a_thread(cls, value: int, info: ValidationInfo) -> int:
        """A thread that waits for another's connection would look like an outage of the database."""
        if value < info.data.get("threads", 0):
            raise ValueError("must be at least THREADS: each thread may need a connection")
        return value

    @field_validator("smtp_url", mode="before")
    @classmethod
    def _smtp(cls, value: str | None) -> str | None:
        if not value:
            return None
        url = _SMTP_URL.validate_python(value)
        if url.path not in (None, "/") or url.username is not None or url.query is not None:
            raise ValueError("must be smtp://host:port and nothing more")
        return value

    @field_validator("media_url", "edge_url", mode="before")
    @classmethod
    def _store(cls, value: str | None) -> str | None:
        if not value:
            return None
        url = _HTTP_URL.validate_python(value)
        if url.scheme != "http" or url.path not in (None, "/") or url.username or url.query or url.fragment:
            raise ValueError("must be http://host:port and nothing more")
        return value

    @field_validator("trusted_proxies")
    @classmethod
    def _are_networks(cls, value: str) -> str:
        _networks(value)
        return value

    @field_validator("broker_url", "cache_url", "limits_url", mode="before")
    @classmethod
    def _redis(cls, value: str | None) -> str | None:
        if not value:
            return None
        url = _REDIS_URL.validate_python(value)
        # A user without a password would authenticate as nobody.
        if (url.username and not url.password) or url.query or url.fragment or not _DATABASE.fullmatch(url.path or ""):
            raise ValueError("must be redis://[user]:[password]@host:port/database and nothing more")
        return value

    @field_validator("mail_from")
    @classmethod
    def _mailbox(cls, value: str) -> str:
        local, at, domain = parseaddr(value)[1].rpartition("@")
        if not (local and at and domain):
            raise ValueError("must be an address, or a name and an <address>")
        return value

    @field_validator("public_url")
    @classmethod
    def _site(cls, value: str) -> str:
        _HTTP_URL.validate_python(value)
        return value.rstrip("/")

    @field_validator("login_limit", "write_limit")
    @classmethod
    def _limit(cls, value: str) -> str:
        parse(value)
        return value

    @property
    def smtp_server(self) -> tuple[str, int] | None:
        """Host and port; None where mail is only logged."""
        if self.smtp_url is None:
            return None
        url = urlsplit(self.smtp_url)
        return url.hostname or "", url.port or 25

    @property
    def trusted_networks(self) -> list[IPv4Network | IPv6Network]:
        return _networks(self.trusted_proxies)

    @property
    def mail_address(self) -> Address:
        name, address = parseaddr(self.mail_from)
        return Address(name, addr_spec=address)

    @property
    def login_limit_item(self) -> RateLimitItem:
        return parse(self.login_limit)

    @property
    def write_limit_item(self) -> RateLimitItem:
        return parse(self.write_limit)


def _networks(value: str) -> list[IPv4Network | IPv6Network]:
    return [ip_network(network) for network in filter(None, map(str.strip, value.split(",")))]
