"""Mail to the followers of an author who has published: who gets it, and what it says.

Every message's id is made of the article's and the reader's: sent again, it is the same message, and can be told so.
"""

import datetime as dt
import heapq
import itertools
import re
from collections.abc import Mapping, Sequence
from email.header import Header
from email.headerregistry import Address
from email.message import EmailMessage
from email.policy import SMTP
from email.utils import format_datetime
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import quote

from email_validator import EmailNotValidError, validate_email
from sqlalchemy import BigInteger, Integer, bindparam, select

from conduit.errors import DeferredError
from conduit.models import articles, follows, users
from conduit.ports import Database, Letter, Task
from conduit.statements import AnyRow, Statement

if TYPE_CHECKING:
    from conduit.services import Services

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
_ATOMS = re.compile(r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+(?: [A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+)*")  # RFC 5322, 3.2.3


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
    """Write to one chunk of followers; the task for the next is what follows. Raises UnavailableError.

    Of which DeferredError is the one that has what follows with it: done again, this task is for those who are left.
    """
    article_id, author_id = arguments["article_id"], arguments["author_id"]
    readers = _followers(services.database, author_id, arguments["after"])
    article = services.database.reader(article_id).first(_ARTICLE, article_id=article_id) if readers else None
    if article is None:  # nobody follows, or it is deleted by now
        return ()
    following = (to_followers_of(author_id, article_id, readers[-1][0]),) if len(readers) == CHUNK else ()
    try:
        services.mail.deliver(_letters(services.sender, article_id, article, readers))
    except DeferredError as error:
        error.follows = following
        raise
    return following


def give_up(services: "Services", arguments: Mapping[str, Any]) -> None:
    """Nothing says that mail was due, so nothing has to say that it will not come."""


def _followers(database: Database, author_id: int, after: int) -> list[AnyRow]:
    """The next CHUNK of an author's followers by id, from all servers: id, name, e-mail."""
    asked = (server.all(_FOLLOWERS, author_id=author_id, after=after, limit=CHUNK) for server in database.readers())
    return list(itertools.islice(heapq.merge(*asked), CHUNK))


def _letters(sender: Sender, article_id: int, article: AnyRow, readers: Sequence[AnyRow]) -> list[Letter]:
    """A message a reader. What all of them say is put together once: it costs more than the rest of a message."""
    common = _about(sender, article)
    letters = []
    for reader_id, name, stored_address in readers:
        address = _deliverable(stored_address)
        message_id = f"<article-{article_id}.reader-{reader_id}@{sender.address.domain}>"
        head = f"Message-ID: {message_id}\r\nTo: {_phrase(name, 'To')} <{address}>\r\n"
        letters.append(Letter(address, message_id, head.encode() + common))
    return letters


def _about(sender: Sender, article: AnyRow) -> bytes:
    slug, title, description, created_at, author = article
    heads = (
        f"From: {_phrase(sender.address.display_name, 'From')} <{sender.address.addr_spec}>",
        f"Subject: {_text(f'{author} published: {title}', 'Subject')}",
        f"Date: {format_datetime(dt.datetime.fromisoformat(created_at))}",
        "Auto-Submitted: auto-generated",
    )
    content = EmailMessage(SMTP)
    content.set_content(
        f"{author} published “{title}”:\n\n{description}\n\n"
        f"{sender.public_url}/article/{quote(slug)}\n\n"
        f"You get this because you follow {author}.\n"
    )
    return "\r\n".join((*heads, "")).encode() + content.as_bytes()


def _text(text: str, header: str) -> str:
    """What a header can say of it: a line's end in a title must begin no header of its own, and what looks encoded
    (RFC 2047) must not be decoded into one. The library's newer interface decodes what it is given, so it is not used.
    """
    line = _NOT_IN_A_HEADER.sub(" ", text).strip()
    plain = line.isascii() and "=?" not in line
    return Header(line, "us-ascii" if plain else "utf-8", header_name=header).encode(linesep="\r\n")


def _phrase(name: str, header: str) -> str:
    """A name before an address."""
    if _ATOMS.fullmatch(name) and "=?" not in name:
        return name
    line = _NOT_IN_A_HEADER.sub(" ", name).strip()
    return Header(line, "utf-8", header_name=header).encode(linesep="\r\n")


def _deliverable(address: str) -> str:
    """The address in ASCII if it has such a form: a domain in another script has one, what stands before it has not."""
    if address.isascii():
        return address
    try:
        checked = validate_email(address, check_deliverability=False, test_environment=True)
    except EmailNotValidError:
        return address
    return checked.ascii_email or checked.normalized
