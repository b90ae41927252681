"""A report of an author's audience as CSV: who follows, who favourited, who commented, and when.

Followers are asked for from every server; favourites and comments lie with the author's articles, and the names of
those who made them with those people. All of it is read in pages by key, so that no statement grows with the audience.
"""

import csv
import io
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from sqlalchemy import ARRAY, BigInteger, ColumnElement, Integer, Interval, Table, bindparam, func, select, tuple_

from conduit import ids, writes
from conduit.errors import MissingOwnerError, NotFoundError, NotSignedInError
from conduit.media_names import report_file
from conduit.models import articles, comments, favorites, follows, reports, users
from conduit.ports import Database, Media, Reader, Task, Tasks
from conduit.schemas import Report
from conduit.statements import AnyRow, Statement

if TYPE_CHECKING:
    from conduit.services import Services

TASK = "audience_report"
COLUMNS = ("username", "relation", "article", "at")
PAGE = 1_000

# Read by a spreadsheet as the beginning of a formula: https://owasp.org/www-community/attacks/CSV_Injection
_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠")


def _param(name: str) -> Any:
    return bindparam(name, type_=BigInteger)


_LIMIT = bindparam("limit", type_=Integer)
_REPORT = Statement(
    "report",
    select(reports.c.id, reports.c.state, reports.c.created_at).where(
        reports.c.id == _param("report_id"), reports.c.user_id == _param("viewer")
    ),
)
_FOLLOWERS = Statement(
    "audience that follows",
    select(follows.c.follower_id, users.c.username, follows.c.created_at)
    .join_from(follows, users, users.c.id == follows.c.follower_id)
    .where(follows.c.followee_id == _param("author_id"), follows.c.follower_id > _param("after"))
    .order_by(follows.c.follower_id)
    .limit(_LIMIT),
)


# Read through whole, which is little: a row is a few dozen bytes, and there is one for every report ever asked for.
_WAITED_FOR = Statement(
    "reports that are waited for",
    select(reports.c.id).where(
        reports.c.state == "pending", reports.c.created_at <= func.now() - bindparam("older_than", type_=Interval)
    ),
)


def _on_articles(name: str, table: Table, person: ColumnElement[int], row_id: ColumnElement[int]) -> Statement:
    """Article, the id that orders within it, person, slug and time, of what hangs on an author's articles."""
    return Statement(
        name,
        select(table.c.article_id, row_id, person, articles.c.slug, table.c.created_at)
        .join_from(articles, table, table.c.article_id == articles.c.id)
        .where(
            articles.c.author_id == _param("author_id"),
            articles.c.id >= _param("after_article"),
            tuple_(table.c.article_id, row_id) > tuple_(_param("after_article"), _param("after")),
        )
        .order_by(table.c.article_id, row_id)
        .limit(_LIMIT),
    )


_FAVORITES = _on_articles("audience that favourited", favorites, favorites.c.user_id, favorites.c.user_id)
_COMMENTS = _on_articles("audience that commented", comments, comments.c.author_id, comments.c.id)
_NAMES = Statement(
    "names of the audience",
    select(users.c.id, users.c.username).where(users.c.id == func.any(bindparam("ids", type_=ARRAY(BigInteger)))),
)


def request(database: Database, tasks: Tasks, viewer: int) -> Report:
    """Ask for a report on one's own audience; the report as it then is.

    Where it is made at once, raises UnavailableError when it can't be, and BusyError while another is being made.
    Raises NotSignedInError where the token outlived its user.
    """
    try:
        with database.writing(viewer) as writer:
            row = writer.first(writes.NEW_REPORT, viewer=viewer, shard=ids.shard_of(viewer))
            assert row is not None, "the statement always gives a row"
            task = Task(TASK, {"report_id": row[0], "author_id": viewer}, _key(row[0]))
            tasks.note(writer, task)
    except MissingOwnerError as error:
        raise NotSignedInError(message="is of no user here") from error
    tasks.send(task)
    # From the primary: a replica may not have it yet.
    with database.writing(viewer) as writer:
        return _report(writer, viewer, row[0])


def show(database: Database, viewer: int, report_id: int) -> Report:
    """One of the viewer's own reports. Raises NotFoundError, for another's too."""
    return _report(database.reader(report_id), viewer, report_id)


def file(database: Database, media: Media, viewer: int, report_id: int) -> bytes:
    """The CSV of one of the viewer's own reports. Raises NotFoundError while it is not ready, and for another's."""
    content = media.get(report_file(report_id)) if show(database, viewer, report_id).url else None
    if content is None:
        raise NotFoundError("report")
    return content


def _key(report_id: int) -> str:
    return f"{TASK}-{report_id}"


def _report(reader: Reader, viewer: int, report_id: int) -> Report:
    row = reader.first(_REPORT, report_id=report_id, viewer=viewer)
    if row is None:
        raise NotFoundError("report")
    _, state, created_at = row
    return Report(
        report_id, state, created_at, f"/api/user/reports/{report_id}/audience.csv" if state == "ready" else None
    )


# The task ---------------------------------------------------------------------------------------------------


def make(services: "Services", arguments: Mapping[str, Any]) -> Sequence[Task]:
    """Write the file of a report, then say that it is ready. Raises UnavailableError."""
    report_id, author_id = arguments["report_id"], arguments["author_id"]
    content = as_csv(audience(services.database, author_id))
    services.media.put(report_file(report_id), content, "text/csv; charset=utf-8")
    _finish(services, report_id, "ready")
    return ()


def give_up(services: "Services", arguments: Mapping[str, Any]) -> None:
    """Nobody makes this report any more."""
    _finish(services, arguments["report_id"], "failed")


def give_up_left(services: "Services", older_than: float, known: Collection[str] = ()) -> None:
    """Nobody makes reports any more that were asked for so many seconds ago or earlier, unless their task's key is
    among the ``known``. Raises UnavailableError.
    """
    for server in services.database.readers():
        for (report_id,) in server.all(_WAITED_FOR, older_than=timedelta(seconds=older_than)):
            if _key(report_id) not in known:
                _finish(services, report_id, "failed")


def _finish(services: "Services", report_id: int, state: str) -> None:
    with services.database.writing(report_id) as writer:
        writer.all(writes.FINISH_REPORT, report_id=report_id, state=state)


def audience(database: Database, author_id: int) -> Iterator[tuple[str, str, str, str]]:
    """Rows of COLUMNS: followers first, then favourites and comments by article."""
    for server in database.readers():
        for page in _pages(server, _FOLLOWERS, author_id):
            yield from ((name, "follower", "", at) for _, name, at in page)
    server = database.reader(author_id)
    for relation, statement in (("favorited", _FAVORITES), ("commented", _COMMENTS)):
        for page in _pages(server, statement, author_id):
            people = {row[2] for row in page}
            names: dict[int, str] = {}
            for reader, held in database.readers_of(people):
                names.update(reader.all(_NAMES, ids=held))
            yield from ((names[person], relation, slug, at) for _, _, person, slug, at in page if person in names)


def _pages(server: Reader, statement: Statement, author_id: int) -> Iterator[list[AnyRow]]:
    """All that the statement finds, PAGE rows at a time. A row begins with what it is ordered by."""
    after_article = after = 0
    while True:
        rows = server.all(statement, author_id=author_id, after_article=after_article, after=after, limit=PAGE)
        yield rows
        if len(rows) < PAGE:
            return
        after_article, after = rows[-1][0], rows[-1][0 if statement is _FOLLOWERS else 1]


def as_csv(rows: Iterable[Sequence[str]]) -> bytes:
    """The rows under COLUMNS, in UTF-8 with RFC 4180's line ends; no cell is a formula."""
    # Encoded as it grows: a text of the whole takes several times the memory, and its copy in bytes comes on top.
    content = io.BytesIO()
    text = io.TextIOWrapper(content, "utf-8", newline="")
    writer = csv.writer(text)
    writer.writerow(COLUMNS)
    writer.writerows([_guarded(cell) for cell in row] for row in rows)
    text.flush()
    return content.getvalue()


def _guarded(cell: str) -> str:
    return f"'{cell}" if cell.startswith(_FORMULA) else cell
