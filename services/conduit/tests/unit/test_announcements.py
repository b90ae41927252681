"""The content of a mail to a follower, and that no title or name can inject anything into it."""

import email
import email.policy
import time
from email.headerregistry import Address
from email.message import EmailMessage
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from conduit import announcements
from conduit.ports import Letter

MAIL_FROM = announcements.MailFrom(Address("Conduit", "news", "conduit.test"), "http://127.0.0.1:8001")
AT = "2026-03-01T12:00:00.123Z"
HEADERS = {
    "From", "To", "Subject", "Date", "Message-ID", "Auto-Submitted", "Content-Type", "Content-Transfer-Encoding",
    "MIME-Version",
}  # fmt: skip


def raw(
    *,
    mail_from: announcements.MailFrom = MAIL_FROM,
    title: str = "Dragons",
    author: str = "jo",
    name: str = "ann",
    address: str = "ann@example.com",
    slug: str = "dragons-77",
    description: str = "How to train them",
    reader_id: int = 5,
) -> Letter:
    """The message as it goes over the wire."""
    readers = [announcements.Follower(reader_id, name, address)]
    article = announcements.Published(slug, title, description, AT, author)
    (made,) = announcements._letters(mail_from, 77, article, readers)
    return made


def letter(**changes: Any) -> tuple[str, EmailMessage]:
    """Whom it goes to, and the message as who receives it reads it."""
    made = raw(**changes)
    parsed = email.message_from_bytes(made.content, policy=email.policy.default)
    assert isinstance(parsed, EmailMessage)
    assert not parsed.defects
    assert parsed["Message-ID"] == made.message_id
    return made.address, parsed


def test_a_message_names_author_and_article_and_has_its_url() -> None:
    to, message = letter()
    assert to == "ann@example.com"
    assert message["From"] == "Conduit <news@conduit.test>"
    assert message["To"] == "ann <ann@example.com>"
    assert message["Subject"] == "jo published: Dragons"
    assert message["Date"].datetime.isoformat() == "2026-03-01T12:00:00+00:00"
    assert message["Auto-Submitted"] == "auto-generated"
    text = message.get_content()
    for part in ("How to train them", "http://127.0.0.1:8001/article/dragons-77", "you follow jo"):
        assert part in text


def test_a_message_id_is_made_of_the_articles_and_the_readers_id() -> None:
    ids = {letter(reader_id=reader)[1]["Message-ID"] for reader in (5, 6, 7)}
    assert ids == {f"<article-77.reader-{reader}@conduit.test>" for reader in (5, 6, 7)}
    assert letter(title="Renamed")[1]["Message-ID"] == letter()[1]["Message-ID"]


@pytest.mark.parametrize(
    "text",
    ["Ünïcödé", "龙的训练", "🐉", "a, b; <c@d.test>", '"quoted" \\', "x" * 300, "é" * 20, ".", "=?utf-8?q?x?="],
)
def test_text_in_any_script_arrives(text: str) -> None:
    to, message = letter(title=text, author=text[:60], name=text[:60], description=text)
    assert to == "ann@example.com"
    assert message["Subject"] == f"{text[:60]} published: {text}"
    (address,) = message["To"].addresses
    assert (address.display_name, address.addr_spec) == (text[:60], "ann@example.com")
    assert text in message.get_content()


@pytest.mark.parametrize(
    "end", ["\r\n", "\n", "\r", "\n ", "\r\n\r\n", "\x0b", "\x0c", "\x1c", "\x85", "\u2028", "\u2029", "\x00"]
)
def test_no_header_contains_a_line_break(end: str) -> None:
    evil = f"Dragons{end}Bcc: everyone@example.com{end}X-Evil: yes =?utf-8?q?x=0D=0ABcc:_everyone@example.com?="
    _, message = letter(title=evil, author=evil, name=evil, description=evil)
    assert set(message) == HEADERS
    assert len(message["To"].addresses) == 1
    assert "everyone@example.com" in message["Subject"]


@pytest.mark.parametrize("end", ["\r\n", "\x00", "\u2028", "\n\n\t"])
def test_a_line_end_in_a_header_becomes_a_space(end: str) -> None:
    _, message = letter(title=f"Dragons{end}fly", name=f"ann{end}b")
    assert message["Subject"] == "jo published: Dragons fly"
    assert message["To"].addresses[0].display_name == "ann b"


def test_plain_text_goes_over_the_wire_as_it_is_and_every_line_ends_as_smtp_wants_it() -> None:
    content = raw().content
    assert b"\r\nSubject: jo published: Dragons\r\n" in content
    assert b"\r\nTo: ann <ann@example.com>\r\n" in content
    assert b"\n" not in content.replace(b"\r\n", b"")


@pytest.mark.parametrize("header", ["Subject", "To", "From"])
def test_a_long_header_is_folded_at_78_characters_and_not_much_earlier(header: str) -> None:
    """RFC 5322, section 2.1.1. Lines that are shorter are more of them."""

    def first_line(length: int) -> int:
        text = "é" * length
        mail_from = announcements.MailFrom(Address(text, "news", "conduit.test"), MAIL_FROM.public_url)
        lines = raw(title=text, name=text, mail_from=mail_from).content.decode().split("\r\n")
        return next(len(line) for line in lines if line.startswith(f"{header}: "))

    assert 75 <= max(map(first_line, range(40, 80))) <= 78


@given(title=st.text(max_size=60), author=st.text(min_size=1, max_size=40), name=st.text(min_size=1, max_size=40))
@settings(max_examples=300, deadline=None, database=None, derandomize=True)
def test_any_title_and_name_make_one_message_to_one_reader(title: str, author: str, name: str) -> None:
    to, message = letter(title=title, author=author, name=name)
    assert to == "ann@example.com"
    assert [address.addr_spec for address in message["To"].addresses] == ["ann@example.com"]
    assert [address.addr_spec for address in message["From"].addresses] == ["news@conduit.test"]
    assert message["Message-ID"] == "<article-77.reader-5@conduit.test>"
    assert set(message) == HEADERS


@pytest.mark.parametrize(
    ("stored", "sent"),
    [
        ("ann@example.com", "ann@example.com"),
        ("ann@münchen.example", "ann@xn--mnchen-3ya.example"),
        ("ann@münchen.test", "ann@xn--mnchen-3ya.test"),
        ("änn@example.com", "änn@example.com"),
        ("ann.o'neill+x@example.com", "ann.o'neill+x@example.com"),
        ("not an address ä", "not an address ä"),
    ],
)
def test_an_address_is_in_ascii_if_possible(stored: str, sent: str) -> None:
    assert announcements._deliverable(stored) == sent


def test_a_slug_in_any_script_makes_a_valid_url() -> None:
    text = letter(slug="龙的训练-77")[1].get_content()
    assert "/article/%E9%BE%99%E7%9A%84%E8%AE%AD%E7%BB%83-77" in text


def test_a_message_costs_little() -> None:
    """A popular author has many followers, and a worker has a quarter of a CPU."""
    readers = [announcements.Follower(number, f"ann{number}", f"ann{number}@example.com") for number in range(200)]
    article = announcements.Published("s-77", "Title", "d", AT, "jo")
    started = time.thread_time()
    assert len(announcements._letters(MAIL_FROM, 77, article, readers)) == 200
    assert time.thread_time() - started < 0.4
