"""The only reader of the environment. Only the database's URL is required: each other one adds a component."""

import re
from email.headerregistry import Address
from email.utils import parseaddr
from ipaddress import IPv4Network, IPv6Network, ip_network
from pathlib import Path
from socket import gethostname
from typing import Annotated, Literal
from urllib.parse import quote, urlsplit

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
# As a browser sends it: in lower case, without a path.
_ORIGIN = re.compile(r"https?://[a-z0-9.-]+(:[0-9]{1,5})?")
_POSTGRES_URL = TypeAdapter(PostgresDsn)
_SHARD = re.compile(r"([a-z][a-z0-9]*)=(\S+)")
_HTTP_URL = TypeAdapter(HttpUrl)
_REDIS_URL: TypeAdapter[AnyUrl] = TypeAdapter(
    Annotated[AnyUrl, UrlConstraints(allowed_schemes=["redis"], host_required=True)]
)
_SMTP_URL: TypeAdapter[AnyUrl] = TypeAdapter(
    Annotated[AnyUrl, UrlConstraints(allowed_schemes=["smtp"], host_required=True)]
)


class Settings(BaseSettings):
    """The configuration of one process. The fields are named like the environment variables, in lower case."""

    model_config = SettingsConfigDict(extra="ignore", frozen=True, hide_input_in_errors=True)

    database_url: str
    # The servers of the rows, as "shard1=URL shard2=URL"; the one above is then the directory. None: it has everything.
    # A URL may name several hosts, of which one is the primary: postgresql://conduit@shard1a,shard1b/conduit.
    shards: str = ""
    # The key of the tokens, which only a process that takes requests needs.
    jwt_secret: SecretStr | None = Field(default=None, min_length=32)
    token_hours: float = Field(default=24.0, gt=0)

    # Comma-separated addresses and networks whose X-Forwarded-For header is trusted.
    trusted_proxies: str = ""

    # Origins whose pages may use the API: * for all, or comma-separated ones; none if empty.
    cors_origins: str = "*"

    # "plain" leaves the routes to FastAPI alone, to measure what compiling them gains.
    routes: Literal["compiled", "plain"] = "compiled"

    port: int = Field(default=8000, ge=0, le=65535)
    metrics_port: int = Field(default=9100, ge=0, le=65535)

    # Covers and reports: the app's own disk, or a media store at http://host:port.
    media_dir: Path = Path("/data/media")
    media_url: str | None = None
    media_password: SecretStr | None = None
    # The edge cache's purge port, http://host:port; none: there is no edge cache.
    edge_url: str | None = None
    # The password of each Redis below whose URL has none. The server's box has it by the same name, redis-cli's.
    rediscli_auth: SecretStr | None = None
    # The cache and the rate limit counters, redis://[user]:[password]@host:port/database; none: every read goes to the
    # database, and the counters are in this process's memory. Neither logs nor repr() show the password.
    cache_url: str | None = Field(default=None, repr=False)
    limits_url: str | None = Field(default=None, repr=False)
    # On a cache miss, one request queries the database and the others wait for it; false only to measure the gain.
    cache_single_flight: bool = True
    # The queue's broker, a URL like the cache's; none: tasks run inside the request.
    broker_url: str | None = Field(default=None, repr=False)
    # Where pins are kept, which say how far a replica must be to answer a user; a URL like the cache's, of a Redis that
    # evicts nothing. None: nothing is read from replicas. One that may be more than MAX_LAG seconds behind answers
    # nobody: long enough to read from it until a failover is over, and shorter than pins are kept. READ_YOUR_WRITES is
    # false only to see what happens then.
    pins_url: str | None = Field(default=None, repr=False)
    max_lag: float = Field(default=30.0, gt=0, le=50)
    read_your_writes: bool = True
    # The worker's name in the rows of the tasks that it has claimed; unique among workers.
    box_name: str = Field(default_factory=gethostname, min_length=1)
    # The mail server, smtp://host:port; none: mail is only logged. Then the From address, and the base URL of links.
    smtp_url: str | None = None
    mail_from: str = "Conduit <news@conduit.test>"
    public_url: str = "http://127.0.0.1:8000"
    # The web pages' files; none: the API alone.
    web_dir: DirectoryPath | None = None

    # For a box of 256 MB and less than a core: ten threads with at most one connection each, and one password hash (19
    # MiB) at once. Two would take twice as long each.
    threads: int = Field(default=10, ge=1, le=100)
    pool_size: int = Field(default=10, ge=1, le=100, validate_default=True)
    password_hashes_at_once: int = Field(default=1, ge=1)
    # Requests accepted and not answered yet: a guard of the memory. One more takes the place of who waits longest.
    max_in_flight: int = Field(default=256, ge=1)
    # How long a request's body may take to arrive, and how many bytes of bodies may be in memory at once.
    body_seconds: float = Field(default=30.0, gt=0)
    max_body_bytes_at_once: int = Field(default=24_000_000, ge=5_000_000)
    # How long a sign-in waits for a slot to hash a password.
    hash_wait_seconds: float = Field(default=1.0, gt=0)

    # Tasks inside a request: the timeout of one SMTP session, and the time after which no follow-up task is started.
    mail_seconds: float = Field(default=3.0, gt=0)
    task_seconds: float = Field(default=10.0, gt=0)
    # Uploads: how many may be in memory (5 MB each), and how long one waits for each of its two slots: memory, and
    # decoding, which is done one at a time.
    uploads_at_once: int = Field(default=4, ge=1)
    upload_wait_seconds: float = Field(default=15.0, gt=0)

    # How many seconds a request may wait for a thread before it is refused (threads.py).
    max_wait: float = Field(default=1.5, gt=0)

    login_limit: str = "10/minute"
    write_limit: str = "60/minute"

    @field_validator("database_url")
    @classmethod
    def _postgres(cls, value: str) -> str:
        _POSTGRES_URL.validate_python(value)
        return value

    @field_validator("shards")
    @classmethod
    def _are_shards(cls, value: str) -> str:
        found = [match for word in value.split() if (match := _SHARD.fullmatch(word))]
        if len({match[1] for match in found}) < len(value.split()):
            raise ValueError("must be name=URL name=URL, each name once")
        for match in found:
            _POSTGRES_URL.validate_python(match[2])
        return value

    @field_validator("pool_size")
    @classmethod
    def _one_a_thread(cls, value: int, info: ValidationInfo) -> int:
        """A thread that waits for another's connection would look like a database outage."""
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

    @field_validator("cors_origins")
    @classmethod
    def _are_origins(cls, value: str) -> str:
        for origin in _listed(value):
            if origin != "*" and not _ORIGIN.fullmatch(origin):
                raise ValueError("must be *, or comma-separated origins like https://example.com")
        return value

    @field_validator("broker_url", "cache_url", "limits_url", "pins_url", mode="before")
    @classmethod
    def _redis(cls, value: str | None) -> str | None:
        if not value:
            return None
        url = _REDIS_URL.validate_python(value)
        # A user without a password would authenticate as nobody.
        if (url.username and not url.password) or url.query or url.fragment or not _DATABASE.fullmatch(url.path or ""):
            raise ValueError("must be redis://[user]:[password]@host:port/database and nothing more")
        return value

    @field_validator("broker_url", "cache_url", "limits_url", "pins_url")
    @classmethod
    def _with_its_password(cls, value: str | None, info: ValidationInfo) -> str | None:
        password: SecretStr | None = info.data.get("rediscli_auth")
        if value is None or password is None or "@" in value:
            return value
        return value.replace("://", f"://:{quote(password.get_secret_value(), safe='')}@", 1)

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
    def shard_urls(self) -> dict[str, str]:
        """Each shard's URL by its name; empty where one server has everything."""
        return {name: url for name, _, url in (word.partition("=") for word in self.shards.split())}

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
    def allowed_origins(self) -> list[str]:
        return _listed(self.cors_origins)

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
    return [ip_network(network) for network in _listed(value)]


def _listed(value: str) -> list[str]:
    return [part for part in map(str.strip, value.split(",")) if part]
