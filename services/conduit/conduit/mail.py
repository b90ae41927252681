"""Mail to the followers of an author who has published: who gets it, and what it says.

Every message's id is made of the article's and the reader's: sent again, it is the same message, and can be told so.
"""

import datetime as dt
import heapq
import itertools
import re
from collections.abc import Mapping, Sequence
from email.headerregistry import Address
from email.message import EmailMessage
from email.policy import SMTP, SMTPUTF8
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import quote

from email_validator import EmailNotValidError, validate_email
from sqlalchemy import BigInteger, Integer, bindparam, select

from conduit.models import articles, follows, users
from conduit.ports import Database, Letter, Row, Task
from conduit.statements import Statement

if TYPE_CHECKING:
    from conduit.bootstrap import Services

TASK = "mail_followers"
# As many as one task sends: few enough to be sent again when the last of them could not be.
CHUNK = 50

_FOLLOWERS = Statement(
    "followers to write to",
    select(follows.c.follower_id, users.c.username, users.c.email)
    .join_from(follows, users, users.c.id == follows.c.follower_id)
    .where(
        follows.c.followee_id == bindparam("author_id", type_=BigInteger),
        follows.c.follower_id > bindparam("after", type_=BigInteger),
    )
    .order_by(follows.c.follower_id)
    .limit(bindparam("limit", type_=Integer)),
)
_ARTICLE = Statement(
    "article to write about",
    select(articles.c.slug, articles.c.title, articles.c.description, articles.c.created_at, users.c.username)
    .join_from(articles, users, users.c.id == articles.c.author_id)
    .where(articles.c.id == bindparam("article_id", type_=BigInteger)),
)
_NOT_IN_A_HEADER = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]+")


class Sender(NamedTuple):
    """Who writes, and where what is written about can be read: an address with a name, and a URL with no path."""

    address: Address
    public_url: str


def to_followers_of(author_id: int, article_id: int, after: int = 0) -> Task:
    """The task that writes to the followers with ids beyond ``after``, and then asks for the next."""
    return Task(
        TASK,
        {"article_id": article_id, "author_id": author_id, "after": after},
        f"{TASK}-{article_id}-{after}",
    )


def to_followers(services: "Services", arguments: Mapping[str, Any]) -> Sequence[Task]:
    """Write to one chunk of followers; the task for the next is what follows. Raises UnavailableError."""
    article_id, author_id = arguments["article_id"], arguments["author_id"]
    readers = _followers(services.database, author_id, arguments["after"])
    article = services.database.reader(article_id).first(_ARTICLE, article_id=article_id) if readers else None
    if article is None:  # nobody follows, or it is deleted by now
        return ()
    services.mail.deliver(_letters(services.sender, article_id, article, readers))
    return (to_followers_of(author_id, article_id, readers[-1][0]),) if len(readers) == CHUNK else ()


def give_up(services: "Services", arguments: Mapping[str, Any]) -> None:
    """Nothing says that mail was due, so nothing has to say that it will not come."""


def _followers(database: Database, author_id: int, after: int) -> list[Row]:
    """The next CHUNK of an author's followers by id, from all servers: id, name, e-mail."""
    asked = (server.all(_FOLLOWERS, author_id=author_id, after=after, limit=CHUNK) for server in database.readers())
    return list(itertools.islice(heapq.merge(*asked), CHUNK))


def _letters(sender: Sender, article_id: int, article: Row, readers: Sequence[Row]) -> list[Letter]:
    """A message a reader. What all of them say is put together once: it costs more than the rest of a message."""
    common = _about(sender, article).as_bytes()
    letters = []
    for reader_id, name, stored_address in readers:
        address = _deliverable(stored_address)
        local, _, domain = address.rpartition("@")
        head = EmailMessage(SMTP if address.isascii() else SMTPUTF8)
        head["To"] = Address(_one_line(name), local, domain)
        message_id = f"<article-{article_id}.reader-{reader_id}@{sender.address.domain}>"
        content = b"Message-ID: %s\r\n%s%s" % (message_id.encode(), head.as_bytes().removesuffix(b"\r\n"), common)
        letters.append(Letter(address, message_id, content))
    return letters


def _about(sender: Sender, article: Row) -> EmailMessage:
    slug, title, description, created_at, author = article
    message = EmailMessage(SMTP)
    message["From"] = sender.address
    message["Subject"] = _one_line(f"{author} published “{title}”")
    message["Date"] = dt.datetime.fromisoformat(created_at)
    message["Auto-Submitted"] = "auto-generated"
    message.set_content(
        f"{author} published “{title}”:\n\n{description}\n\n"
        f"{sender.public_url}/article/{quote(slug)}\n\n"
        f"You get this because you follow {author}.\n"
    )
    return message


def _deliverable(address: str) -> str:
    """The address in ASCII if it has such a form: a domain in another script has one, what stands before it has not."""
    if address.isascii():
        return address
    try:
        checked = validate_email(address, check_deliverability=False, test_environment=True)
    except EmailNotValidError:
        return address
    return checked.ascii_email or checked.normalized


def _one_line(text: str) -> str:
    """What a header can say of it: a line's end in a title must begin no header of its own."""
    return _NOT_IN_A_HEADER.sub(" ", text).strip()
