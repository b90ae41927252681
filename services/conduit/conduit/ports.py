"""What the stages swap. Each port has the few methods that its callers use; ``bootstrap.py`` chooses the adapters."""

from collections.abc import Iterable, Sequence
from contextlib import AbstractContextManager
from typing import Any, ClassVar, NamedTuple, Protocol

from msgspec import Struct

from conduit import schemas
from conduit.events import Event
from conduit.statements import Row, Statement


class Reader(Protocol):
    """Reads rows of one server, each call on its own: no transaction is opened for a read.

    Every call raises UnavailableError when the server does not answer in time.
    """

    @property
    def server(self) -> str:
        """The server's name, for metrics and logs."""

    def all(self, statement: Statement[Row], **parameters: Any) -> list[Row]: ...

    def first(self, statement: Statement[Row], **parameters: Any) -> Row | None: ...


class Writer(Reader, Protocol):
    """A transaction on one owner's primary.

    Raises DuplicateError, MissingOwnerError, UnavailableError, and ConflictError where it was rolled back in favour of
    a concurrent transaction and may run again.
    """

    def record(self, event: Event) -> None:
        """Record what this transaction makes true. Listeners get it after the commit, and only then."""


class Found(NamedTuple):
    """The server that holds a named user's rows, and the user's id.

    ``user_id`` is None where one server holds everything: the statement then looks the name up itself.
    """

    reader: Reader
    user_id: int | None


class Database(Protocol):
    """Sessions for reading or writing an owner's rows, and all servers for a query that crosses owners.

    It is a gateway to PostgreSQL: what a stage swaps is how many servers there are, not their SQL.
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
        """Return when every server answers; raise UnavailableError otherwise."""

    def close(self) -> None: ...


class Page(NamedTuple):
    """A part of a list, newest first: by RealWorld's offset, or the rows ``before`` an id (keyset pagination).

    ``before`` is ``MAX_ID + 1`` by default: every id lies before it.
    """

    limit: int
    offset: int
    before: int


class Reads(Protocol):
    """The reads that stages answer differently: from the database, a cache or a read store.

    ``viewer`` is the signed-in user's id, or None. A missing thing is None. A list comes with the number of all its
    articles.
    """

    def article(self, article_id: int, viewer: int | None) -> schemas.Article | None: ...

    def articles(
        self, page: Page, viewer: int | None, *, tag: str | None, author: str | None, favorited: str | None
    ) -> tuple[list[schemas.ArticleSummary], int]: ...

    def feed(self, page: Page, viewer: int) -> tuple[list[schemas.ArticleSummary], int]: ...

    def comments(self, article_id: int, viewer: int | None, page: Page) -> list[schemas.Comment] | None: ...

    def profile(self, username: str, viewer: int | None) -> schemas.Profile | None: ...

    def tags(self) -> list[str]: ...


class Task(Struct, frozen=True):
    """Slow work. Each kind is a subclass, whose fields are the arguments: few, as the handler looks up the rest.

    The same work has the same ``key``, however often it is asked for. ``owner_id`` is the id of what the task is about:
    it says on which logical shard the task is kept.
    """

    name: ClassVar[str]

    @property
    def key(self) -> str:
        raise NotImplementedError

    @property
    def owner_id(self) -> int:
        raise NotImplementedError


class Enqueued(NamedTuple):
    """A task that is kept. Enqueued again it has another ``generation``: messages of an earlier one have no effect."""

    task: Task
    generation: int


class Tasks(Protocol):
    """Where slow work goes. A task may be done twice, so its handler must be idempotent. It may be done much later, so
    its caller first writes "pending" into a row, and then answers with what the row says.
    """

    def enqueue(self, writer: Writer, task: Task) -> Enqueued:
        """Keep the task, in the transaction that makes it necessary."""

    def send(self, enqueued: Enqueued) -> None:
        """Call this after the commit. Where tasks are done at once, it raises what the handler raises."""


class Letter(NamedTuple):
    """A message as it goes over the wire (RFC 5322), and whom it goes to: what its headers say is for reading."""

    address: str
    message_id: str
    content: bytes


class Mail(Protocol):
    """The way out for messages."""

    def deliver(self, letters: Sequence[Letter]) -> None:
        """Hand them over; an address that is refused is only counted and logged.

        Raises UnavailableError when the mail server does not answer in time: it may have taken some of them, and
        sending them again sends the same Message-IDs. Raises DeferredError, a subclass, when the server answers and
        takes some of them later.
        """


class Media(Protocol):
    """Where files are kept. A name is ``public/…`` or ``private/…`` (see ``media_names``); only public ones have an
    address. Raises UnavailableError when the store does not answer, ValueError for what is no such name.
    """

    def put(self, name: str, content: bytes, content_type: str) -> None:
        """Keep a file, whole or not at all, instead of any that had this name."""

    def get(self, name: str) -> bytes | None: ...

    def delete(self, name: str) -> None:
        """Keep it no longer; one that is not there is no error."""

    def left_in(self, folder: str, older_than: float) -> list[str]:
        """The names of the files in a folder that were put ``older_than`` seconds ago or earlier."""

    def url(self, name: str) -> str:
        """Where a browser finds a public file. Asks nobody: it is made for every article shown."""


class Edge(Protocol):
    """What stands before the app, nearer to the readers, and keeps answers of it."""

    def purge(self, article_ids: Sequence[int]) -> None:
        """Have these articles asked for anew, by any of their addresses. Raises nothing, and waits a tenth of a second
        at the most: who waits for it has changed them already.
        """


class Limits(Protocol):
    """Counts an account's requests; raises TooManyError beyond the limit."""

    def count_write(self, account: str) -> None: ...

    def count_sign_in(self, address: str, account: str) -> None: ...


class Events(Protocol):
    """Where a transaction's events go: into the transaction itself, or nowhere."""

    def record(self, writer: Writer, events: Sequence[Event]) -> None: ...


class Listener(Protocol):
    """Told of committed events: caches and edges."""

    def __call__(self, events: Sequence[Event]) -> None: ...
