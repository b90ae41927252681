"""Mail that announces a new article to the author's followers.

A Message-ID consists of the article's id and the reader's. So a message that is sent again has the same Message-ID, and
a mail server can drop the duplicate.
"""

import datetime as dt
import heapq
import itertools
import re
from collections.abc import Sequence
from email.header import Header
from email.headerregistry import Address
from email.message import EmailMessage
from email.policy import SMTP
from email.utils import format_datetime
from typing import ClassVar, NamedTuple
from urllib.parse import quote

from email_validator import EmailNotValidError, validate_email
from msgspec import Struct
from sqlalchemy import BigInteger, Integer, bindparam, select

from conduit.errors import DeferredError
from conduit.models import articles, follows, users
from conduit.ports import Database, Letter, Mail, Task
from conduit.statements import Statement
from conduit.tasks import IncompleteError

# Followers for each task: few enough to write to all of them again if the last message fails.
CHUNK = 50


class MailFrom(NamedTuple):
    """The sender's name and address, and the site's URL without a path."""

    address: Address
    public_url: str


class MailFollowers(Struct, frozen=True):
    """Write to one chunk of an author's followers: those with the lowest ids above ``after``."""

    name: ClassVar[str] = "mail_followers"

    article_id: int
    author_id: int
    after: int = 0

    @property
    def key(self) -> str:
        return f"{self.name}-{self.article_id}-{self.after}"

    @property
    def owner_id(self) -> int:
        return self.article_id


class Follower(NamedTuple):
    id: int
    username: str
    email: str


class Published(NamedTuple):
    """The article that the mail is about; ``author`` is a name."""

    slug: str
    title: str
    description: str
    created_at: str
    author: str


_FOLLOWERS = Statement(
    "followers to write to",
    select(follows.c.follower_id.label("id"), users.c.username, users.c.email)
    .join_from(follows, users, users.c.id == follows.c.follower_id)
    .where(
        follows.c.followee_id == bindparam("author_id", type_=BigInteger),
        follows.c.follower_id > bindparam("after", type_=BigInteger),
    )
    .order_by(follows.c.follower_id)
    .limit(bindparam("limit", type_=Integer)),
    Follower,
)
_ARTICLE = Statement(
    "article to write about",
    select(
        articles.c.slug,
        articles.c.title,
        articles.c.description,
        articles.c.created_at,
        users.c.username.label("author"),
    )
    .join_from(articles, users, users.c.id == articles.c.author_id)
    .where(articles.c.id == bindparam("article_id", type_=BigInteger)),
    Published,
)
_NOT_IN_A_HEADER = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]+")
_ATOMS = re.compile(r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+(?: [A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+)*")  # RFC 5322, 3.2.3


def mail_followers(database: Database, mail: Mail, mail_from: MailFrom, task: MailFollowers) -> Sequence[Task]:
    """Write to one chunk of followers. Returns the task for the next chunk.

    Raises UnavailableError, and IncompleteError if the mail server temporarily rejects some of the messages.
    """
    readers = _followers(database, task.author_id, task.after)
    article = database.reader(task.article_id).first(_ARTICLE, article_id=task.article_id) if readers else None
    if article is None:  # it is deleted, or there are no more followers
        return ()
    follows: Sequence[Task] = ()
    if len(readers) == CHUNK:
        follows = (MailFollowers(task.article_id, task.author_id, after=readers[-1].id),)
    try:
        mail.deliver(_letters(mail_from, task.article_id, article, readers))
    except DeferredError as error:
        raise IncompleteError("the mail server temporarily rejected some of the messages", follows) from error
    return follows


def _followers(database: Database, author_id: int, after: int) -> list[Follower]:
    """The next CHUNK of an author's followers by id, from all servers."""
    pages = (server.all(_FOLLOWERS, author_id=author_id, after=after, limit=CHUNK) for server in database.readers())
    return list(itertools.islice(heapq.merge(*pages), CHUNK))


def _letters(mail_from: MailFrom, article_id: int, article: Published, readers: Sequence[Follower]) -> list[Letter]:
    """A message for each reader. Their common part, which is most of the work, is made once."""
    common = _common(mail_from, article)
    letters = []
    for reader in readers:
        address = _deliverable(reader.email)
        message_id = f"<article-{article_id}.reader-{reader.id}@{mail_from.address.domain}>"
        head = f"Message-ID: {message_id}\r\nTo: {_phrase(reader.username, 'To')} <{address}>\r\n"
        letters.append(Letter(address, message_id, head.encode() + common))
    return letters


def _common(mail_from: MailFrom, article: Published) -> bytes:
    heads = (
        f"From: {_phrase(mail_from.address.display_name, 'From')} <{mail_from.address.addr_spec}>",
        f"Subject: {_text(f'{article.author} published: {article.title}', 'Subject')}",
        f"Date: {format_datetime(dt.datetime.fromisoformat(article.created_at))}",
        "Auto-Submitted: auto-generated",
    )
    content = EmailMessage(SMTP)
    content.set_content(
        f"{article.author} published “{article.title}”:\n\n{article.description}\n\n"
        f"{mail_from.public_url}/article/{quote(article.slug)}\n\n"
        f"You get this because you follow {article.author}.\n"
    )
    return "\r\n".join((*heads, "")).encode() + content.as_bytes()


def _text(text: str, header: str) -> str:
    """A text as a header's value. A line break in a title must not start another header, and a text that looks encoded
    (RFC 2047) must not be decoded. ``email.headerregistry`` would decode it, so this uses ``Header``.
    """
    line = _NOT_IN_A_HEADER.sub(" ", text).strip()
    plain = line.isascii() and "=?" not in line
    return Header(line, "us-ascii" if plain else "utf-8", header_name=header).encode(linesep="\r\n")


def _phrase(name: str, header: str) -> str:
    """A display name before an address."""
    if _ATOMS.fullmatch(name) and "=?" not in name:
        return name
    line = _NOT_IN_A_HEADER.sub(" ", name).strip()
    return Header(line, "utf-8", header_name=header).encode(linesep="\r\n")


def _deliverable(address: str) -> str:
    """The address in ASCII if possible: an internationalized domain has an ASCII form, a local part has none."""
    if address.isascii():
        return address
    try:
        checked = validate_email(address, check_deliverability=False, test_environment=True)
    except EmailNotValidError:
        return address
    return checked.ascii_email or checked.normalized
