"""The ports: interfaces whose adapters differ by stage. ``bootstrap.py`` chooses the adapters."""

from collections.abc import Iterable, Sequence
from contextlib import AbstractContextManager
from typing import Any, ClassVar, NamedTuple, Protocol

from conduit import schemas
from conduit.events import Event
from conduit.statements import Row, Statement


class Reader(Protocol):
    """Reads rows of one server. Each call is on its own: a read opens no transaction.

    Every call raises UnavailableError if the server does not answer in time.
    """

    @property
    def server(self) -> str:
        """The server's name, for metrics and logs."""

    def all(self, statement: Statement[Row], **parameters: Any) -> list[Row]: ...

    def first(self, statement: Statement[Row], **parameters: Any) -> Row | None: ...


class Writer(Reader, Protocol):
    """A transaction on one owner's primary.

    Raises DuplicateError, MissingOwnerError, UnavailableError, and ConflictError if it was rolled back in favour of a
    concurrent transaction and may be retried.
    """

    def record(self, event: Event) -> None:
        """Record an event of this transaction. Listeners get it after the commit, and only then."""


class Found(NamedTuple):
    """The server that holds a named user's rows, and the user's id.

    ``user_id`` is None if one server holds everything: the statement then looks the name up itself.
    """

    reader: Reader
    user_id: int | None


class Database(Protocol):
    """Readers and transactions by owner, and all servers for a query that crosses owners.

    It is a gateway to PostgreSQL: a stage changes the number of servers, not their SQL.
    """

    def reader(self, owner_id: int) -> Reader: ...

    def readers(self) -> Sequence[Reader]:
        """One reader for every server."""

    def readers_of(self, owner_ids: Iterable[int]) -> list[tuple[Reader, list[int]]]:
        """The servers that hold these owners' rows, each with its own owners' ids."""

    def writing(self, owner_id: int) -> AbstractContextManager[Writer]: ...

    def directory(self) -> AbstractContextManager[Writer]:
        """A transaction on the server that holds ``usernames`` and ``emails``."""

    def find_username(self, username: str) -> Found | None: ...

    def find_email(self, email: str) -> Found | None: ...

    def ping(self) -> None:
        """Raise UnavailableError unless a server that holds rows answers: without one of several, the others go on."""

    def close(self) -> None: ...


class Page(NamedTuple):
    """A part of a list, newest first: by RealWorld's offset, or the rows ``before`` an id (keyset pagination).

    ``before`` is ``MAX_ID + 1`` by default, which is above every id.
    """

    limit: int
    offset: int
    before: int


class Reads(Protocol):
    """The reads that depend on the stage: from the database, a cache or a read store.

    ``viewer`` is the signed-in user's id, or None. The result is None if the thing does not exist. A list comes with
    its total number of articles. What is Encoded looks the same in an answer.
    """

    def article(self, article_id: int, viewer: int | None) -> schemas.Article | schemas.Encoded | None: ...

    def articles(
        self, page: Page, viewer: int | None, *, tag: str | None, author: str | None, favorited: str | None
    ) -> tuple[list[schemas.ArticleSummary] | schemas.Encoded, int]: ...

    def feed(self, page: Page, viewer: int) -> tuple[list[schemas.ArticleSummary], int]: ...

    def comments(
        self, article_id: int, viewer: int | None, page: Page
    ) -> list[schemas.Comment] | schemas.Encoded | None: ...

    def profile(self, username: str, viewer: int | None) -> schemas.Profile | schemas.Encoded | None: ...

    def tags(self) -> list[str] | schemas.Encoded: ...


class Task(Protocol):
    """A background task. Each kind is a subclass; its fields are the arguments, and the handler looks up the rest.

    The same work always has the same ``key``. ``owner_id`` is the id of the article or report that the task is about;
    the task is stored on its logical shard.
    """

    name: ClassVar[str]

    @property
    def key(self) -> str: ...

    @property
    def owner_id(self) -> int: ...


class Enqueued(NamedTuple):
    """A task that is kept. Enqueued again it has another ``generation``: messages of an earlier one have no effect."""

    task: Task
    generation: int


class Tasks(Protocol):
    """Runs tasks, at once or later. A task may run twice, so its handler must be idempotent. It may run much later, so
    its caller first sets a row's state to "pending", and then answers with the row's current state.
    """

    def enqueue(self, writer: Writer, task: Task) -> Enqueued:
        """Store the task, in the transaction that makes it necessary."""

    def send(self, enqueued: Enqueued) -> None:
        """Send the task, after the commit. If tasks run at once, this raises what the handler raises."""


class Letter(NamedTuple):
    """A message as it is sent (RFC 5322), and its envelope's recipient (SMTP does not read the headers)."""

    address: str
    message_id: str
    content: bytes


class Mail(Protocol):
    """Sends mail."""

    def deliver(self, letters: Sequence[Letter]) -> None:
        """Send the messages; one that is rejected for good is only counted and logged.

        Raises UnavailableError if the mail server does not answer in time. It may have accepted some of the messages;
        a retry sends them again with the same Message-IDs. Raises DeferredError, a subclass, if the server temporarily
        rejects some of them and has accepted the others.
        """


class Media(Protocol):
    """The store of files. A name is ``public/…`` or ``private/…`` (see ``media_names``); only public files have a URL.

    Raises UnavailableError if the store does not answer, and ValueError for an invalid name.
    """

    def put(self, name: str, content: bytes, content_type: str) -> None:
        """Store or replace a file, atomically."""

    def get(self, name: str) -> bytes | None: ...

    def delete(self, name: str) -> None:
        """Delete a file; a missing one is no error."""

    def left_in(self, folder: str, older_than: float) -> list[str]:
        """The names of a folder's files that were stored at least ``older_than`` seconds ago."""

    def url(self, name: str) -> str:
        """The URL of a public file. It needs no request to the store: it is called for every article shown."""


class Edge(Protocol):
    """The edge cache in front of the app, which stores its responses."""

    def purge(self, article_ids: Sequence[int]) -> None:
        """Invalidate these articles, at every one of their URLs.

        Raises nothing, and takes at most a tenth of a second: the change is committed, and its request waits.
        """


class Limits(Protocol):
    """Rate limits. Each ``count`` counts a request, and raises TooManyError beyond the limit."""

    def count_write(self, account: str) -> None: ...

    def count_sign_in(self, address: str, account: str) -> None: ...

    def signed_in(self, address: str, account: str) -> None:
        """The account's owner is at this address, so others' attempts do not count for it."""


class Events(Protocol):
    """Stores a transaction's events in the same transaction, or nowhere."""

    def record(self, writer: Writer, events: Sequence[Event]) -> None: ...


class Listener(Protocol):
    """Gets the events of each committed transaction: a cache or an edge cache."""

    def __call__(self, events: Sequence[Event]) -> None: ...
