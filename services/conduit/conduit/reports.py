"""A report on an author's audience, as CSV: who followed, favourited or commented, and when.

Followers are on every server. Favourites and comments are on the author's server, but the usernames may be on others.
Everything is read by keyset pagination, so that no statement grows with the audience.
"""

import csv
import io
import logging
from collections.abc import Collection, Iterable, Iterator, Sequence
from datetime import timedelta
from typing import Any, ClassVar, NamedTuple, TypeVar

from msgspec import Struct
from sqlalchemy import ARRAY, BigInteger, ColumnElement, Integer, Interval, Table, bindparam, func, select, tuple_

from conduit import ids, writes
from conduit.errors import AppError, NotFoundError, UserGoneError, missing_owner_as
from conduit.media_names import report_file
from conduit.models import articles, comments, favorites, follows, reports, users
from conduit.ports import Database, Media, Reader, Task, Tasks, Writer
from conduit.rows import IdRow
from conduit.schemas import Report
from conduit.statements import Statement

log = logging.getLogger(__name__)

# An author has at most so many, for so long.
MOST_KEPT = 10
KEPT_FOR = timedelta(days=30)
COLUMNS = ("username", "relation", "article", "at")
PAGE = 1_000

# A spreadsheet may run a cell that starts with one of these as a formula: https://owasp.org/www-community/attacks/CSV_Injection
_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠")


class WriteReport(Struct, frozen=True):
    """Write the file of a report."""

    name: ClassVar[str] = "audience_report"

    report_id: int
    author_id: int

    @property
    def key(self) -> str:
        return f"{self.name}-{self.report_id}"

    @property
    def owner_id(self) -> int:
        return self.report_id


class _ReportRow(NamedTuple):
    id: int
    state: str
    created_at: str


class _PendingRow(NamedTuple):
    id: int
    author_id: int


class _FollowerRow(NamedTuple):
    id: int
    username: str
    created_at: str

    @property
    def position(self) -> tuple[int, int]:
        """The row's sort key."""
        return 0, self.id


class _MarkRow(NamedTuple):
    """A favourite or a comment. Those of one article are sorted by ``id``."""

    article_id: int
    id: int
    user_id: int
    slug: str
    created_at: str

    @property
    def position(self) -> tuple[int, int]:
        return self.article_id, self.id


class _NameRow(NamedTuple):
    id: int
    username: str


_Paged = TypeVar("_Paged", _FollowerRow, _MarkRow)


def _param(name: str) -> Any:
    return bindparam(name, type_=BigInteger)


_LIMIT = bindparam("limit", type_=Integer)
_REPORT = Statement(
    "report",
    select(reports.c.id, reports.c.state, reports.c.created_at).where(
        reports.c.id == _param("report_id"), reports.c.user_id == _param("viewer")
    ),
    _ReportRow,
)
# Both scan the whole table, which has one small row for each report.
_OLD = Statement(
    "old reports",
    select(reports.c.id)
    .where(reports.c.created_at <= func.now() - bindparam("older_than", type_=Interval))
    .limit(_LIMIT),
    IdRow,
)
_PENDING = Statement(
    "pending reports",
    select(reports.c.id, reports.c.user_id.label("author_id")).where(
        reports.c.state == "pending", reports.c.created_at <= func.now() - bindparam("older_than", type_=Interval)
    ),
    _PendingRow,
)
_FOLLOWERS = Statement(
    "audience that follows",
    select(follows.c.follower_id.label("id"), users.c.username, follows.c.created_at)
    .join_from(follows, users, users.c.id == follows.c.follower_id)
    .where(follows.c.followee_id == _param("author_id"), follows.c.follower_id > _param("after"))
    .order_by(follows.c.follower_id)
    .limit(_LIMIT),
    _FollowerRow,
)


def _on_articles(
    name: str, table: Table, user_id: ColumnElement[int], row_id: ColumnElement[int]
) -> Statement[_MarkRow]:
    """The favourites or comments on an author's articles, sorted by article and ``row_id``."""
    return Statement(
        name,
        select(table.c.article_id, row_id.label("id"), user_id.label("user_id"), articles.c.slug, table.c.created_at)
        .join_from(articles, table, table.c.article_id == articles.c.id)
        .where(
            articles.c.author_id == _param("author_id"),
            articles.c.id >= _param("after_article"),
            tuple_(table.c.article_id, row_id) > tuple_(_param("after_article"), _param("after")),
        )
        .order_by(table.c.article_id, row_id)
        .limit(_LIMIT),
        _MarkRow,
    )


_FAVORITES = _on_articles("audience that favourited", favorites, favorites.c.user_id, favorites.c.user_id)
_COMMENTS = _on_articles("audience that commented", comments, comments.c.author_id, comments.c.id)
_NAMES = Statement(
    "names of the audience",
    select(users.c.id, users.c.username).where(users.c.id == func.any(bindparam("ids", type_=ARRAY(BigInteger)))),
    _NameRow,
)


def request(database: Database, media: Media, tasks: Tasks, viewer: int) -> Report:
    """Request a report on the viewer's audience. Returns the report in its current state.

    Those beyond MOST_KEPT are deleted, failed ones first, then the oldest. If tasks run at once, raises
    UnavailableError when the task fails, and BusyError while another report is being written; then none is deleted but
    failed ones.
    Raises UserGoneError if the token outlived its user.
    """
    with missing_owner_as(UserGoneError()), database.writing(viewer) as writer:
        row = writer.first(writes.NEW_REPORT, viewer=viewer, shard=ids.shard_of(viewer), most=MOST_KEPT)
        assert row is not None, "the statement always gives a row"
        report = tasks.enqueue(writer, WriteReport(row.id, viewer))
    try:
        tasks.send(report)
    except Exception:
        _make_room(database, media, row.surplus[: row.failed])
        raise
    _make_room(database, media, row.surplus)
    # From the primary: a replica may not have it yet.
    with database.writing(viewer) as writer:
        return _report(writer, viewer, row.id)


def _make_room(database: Database, media: Media, surplus: Sequence[int]) -> None:
    """Delete reports. The new one is there even if this fails, and the rest is deleted later."""
    try:
        for report_id in surplus:
            _delete(database, media, report_id)
    except AppError as error:
        log.warning("surplus reports stay", extra={"cause": str(error)})
    except Exception:
        log.exception("surplus reports stay")


def _delete(database: Database, media: Media, report_id: int) -> None:
    """Delete a report's row and file. Raises UnavailableError, and then the row is still there, to be found again.

    The file is deleted inside the transaction: without a row nobody would find it. A task that finishes this report
    meanwhile waits, and then deletes its file itself.
    """
    with database.writing(report_id) as writer:
        writer.all(writes.DELETE_REPORT, report_id=report_id)
        media.delete(report_file(report_id))


def show(database: Database, viewer: int, report_id: int) -> Report:
    """A report of the viewer. Raises NotFoundError, also for another user's report."""
    return _report(database.reader(report_id), viewer, report_id)


def file(database: Database, media: Media, viewer: int, report_id: int) -> bytes:
    """The CSV of a report of the viewer. Raises NotFoundError if it is not ready, or another user's."""
    content = media.get(report_file(report_id)) if show(database, viewer, report_id).url else None
    if content is None:
        raise NotFoundError("report")
    return content


def _report(reader: Reader, viewer: int, report_id: int) -> Report:
    row = reader.first(_REPORT, report_id=report_id, viewer=viewer)
    if row is None:
        raise NotFoundError("report")
    url = f"/api/user/reports/{report_id}/audience.csv" if row.state == "ready" else None
    return Report(report_id, row.state, row.created_at, url)


# The task ---------------------------------------------------------------------------------------------------


def write(database: Database, media: Media, task: WriteReport) -> Sequence[Task]:
    """Write the file of a report, then set its state to "ready". Raises UnavailableError."""
    content = as_csv(audience(database, task.author_id))
    media.put(report_file(task.report_id), content, "text/csv; charset=utf-8")
    with database.writing(task.report_id) as writer:
        row = writer.first(writes.FINISH_REPORT, report_id=task.report_id, state="ready")
    if row is None:  # deleted meanwhile
        media.delete(report_file(task.report_id))
    return ()


def fail(writer: Writer, task: WriteReport) -> None:
    """Set the report's state to "failed"."""
    writer.all(writes.FINISH_REPORT, report_id=task.report_id, state="failed")


def fail_abandoned(database: Database, older_than: float, known: Collection[str]) -> None:
    """Fail the reports that have been pending for ``older_than`` seconds, except for tasks whose keys are ``known``.

    Raises UnavailableError.
    """
    for server in database.readers():
        for row in server.all(_PENDING, older_than=timedelta(seconds=older_than)):
            task = WriteReport(row.id, row.author_id)
            if task.key not in known:
                with database.writing(task.report_id) as writer:
                    fail(writer, task)


def delete_old(database: Database, media: Media, most: int) -> None:
    """Delete reports that were requested longer than KEPT_FOR ago, ``most`` of them. Raises UnavailableError."""
    for server in database.readers():
        old = server.all(_OLD, older_than=KEPT_FOR, limit=most)
        for row in old:
            _delete(database, media, row.id)
        most -= len(old)


def audience(database: Database, author_id: int) -> Iterator[tuple[str, str, str, str]]:
    """Rows of COLUMNS: followers first, then favourites and comments by article."""
    for server in database.readers():
        for followers in _pages(server, _FOLLOWERS, author_id):
            yield from ((row.username, "follower", "", row.created_at) for row in followers)
    server = database.reader(author_id)
    for relation, statement in (("favorited", _FAVORITES), ("commented", _COMMENTS)):
        for marks in _pages(server, statement, author_id):
            names = _names(database, {row.user_id for row in marks})
            yield from (
                (names[row.user_id], relation, row.slug, row.created_at) for row in marks if row.user_id in names
            )


def _names(database: Database, user_ids: Collection[int]) -> dict[int, str]:
    """Usernames by id, without users who no longer exist."""
    return {
        row.id: row.username for reader, held in database.readers_of(user_ids) for row in reader.all(_NAMES, ids=held)
    }


def _pages(server: Reader, statement: Statement[_Paged], author_id: int) -> Iterator[list[_Paged]]:
    """All rows of the statement, in lists of at most PAGE rows."""
    after_article = after = 0
    while True:
        rows = server.all(statement, author_id=author_id, after_article=after_article, after=after, limit=PAGE)
        yield rows
        if len(rows) < PAGE:
            return
        after_article, after = rows[-1].position


def as_csv(rows: Iterable[Sequence[str]]) -> bytes:
    """The rows under a header of COLUMNS, in UTF-8 with RFC 4180's line ends; no cell is a formula."""
    # Encoded row by row: the whole file as text would take several times the memory, and then its bytes as well.
    content = io.BytesIO()
    text = io.TextIOWrapper(content, "utf-8", newline="")
    writer = csv.writer(text)
    writer.writerow(COLUMNS)
    writer.writerows([_guarded(cell) for cell in row] for row in rows)
    text.flush()
    return content.getvalue()


def _guarded(cell: str) -> str:
    return f"'{cell}" if cell.startswith(_FORMULA) else cell
