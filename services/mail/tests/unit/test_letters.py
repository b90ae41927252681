"""Anything that a sender writes can be read, and none of it becomes markup."""

from email.message import EmailMessage
from html.parser import HTMLParser

from hypothesis import example, given
from hypothesis import strategies as st

from mail import letters, pages
from mail.inbox import Counts, Message


def read(content: bytes) -> letters.Letter:
    return letters.read(Message(1, 0.0, "app@x", ("ann@x",), content))


def test_encoded_words_and_bodies_are_decoded() -> None:
    sent = EmailMessage()
    sent["Subject"], sent["From"], sent["To"] = "Déjà vu 🙂", "Jürgen <j@x>", "ann@x"
    sent["Message-ID"] = "<1@x>"
    sent.set_content("Grüße\n")
    sent.add_alternative("<p>Grüße</p>", subtype="html")
    letter = read(sent.as_bytes())
    assert (letter.subject, letter.sender, letter.to) == ("Déjà vu 🙂", "Jürgen <j@x>", "ann@x")
    assert (letter.message_id, letter.text) == ("<1@x>", "Grüße\n")


def test_a_message_with_only_html_is_shown_as_source() -> None:
    assert read(b"Content-Type: text/html\r\n\r\n<p>hi</p>").text == "<p>hi</p>"


def test_missing_headers_are_taken_from_the_envelope() -> None:
    letter = read(b"\r\nhi")
    assert (letter.sender, letter.to, letter.subject) == ("app@x", "ann@x", "")


def test_deeply_nested_parts_are_shown_as_source() -> None:
    deep = b"".join(b'Content-Type: multipart/mixed; boundary="%d"\r\n\r\n--%d\r\n' % (n, n) for n in range(2000))
    assert "multipart/mixed" in read(deep).text


class Tags(HTMLParser):
    """The tags and the text of a page, as a browser parses them."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.attributes: list[tuple[str, str | None]] = []
        self.text = ""
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.attributes += attrs

    def handle_data(self, data: str) -> None:
        self.text += data


EVIL = "<script>alert(1)</script>\"' onload=x <img src=x> &lt;"


def test_nothing_that_a_sender_writes_becomes_markup() -> None:
    content = f"Subject: {EVIL}\r\nFrom: {EVIL}\r\nTo: {EVIL}\r\nDate: {EVIL}\r\nMessage-ID: {EVIL}\r\n\r\n{EVIL}"
    letter = letters.read(Message(1, 0.0, EVIL, (EVIL,), content.encode()))
    counts = Counts(1, 1, 1, 0, 0)
    for page in (pages.message(letter), pages.listing([letter], counts, EVIL, more=True), pages.error(EVIL)):
        seen = Tags(page)
        assert not {"script", "img"} & seen.tags
        assert "onload" not in dict(seen.attributes)
        assert EVIL in seen.text


def test_only_http_urls_are_links() -> None:
    page = Tags(pages.message(read(b"\r\nSee http://a/article/x-1?a=1&b=2 javascript:alert(1)")))
    links = [value for name, value in page.attributes if name == "href"]
    assert "http://a/article/x-1?a=1&b=2" in links
    assert not any(str(link).startswith("javascript") for link in links)


HEADER = st.sampled_from(["Subject", "From", "To", "Content-Type", "Content-Transfer-Encoding", "MIME-Version", "Date"])


@given(st.lists(st.tuples(HEADER, st.binary(max_size=60)), max_size=6), st.binary(max_size=200))
@example([("Subject", b"=?x-unknown?q?=ff?=")], b"")
@example([("Subject", b"=?utf-8?b?a?=")], b"")
@example([("Content-Type", b"text/plain; charset=nonsense\0")], b"\xff")
@example([("Content-Type", b"text/plain; charset*=utf-8''%ff%fe")], b"\xff")
@example([("Content-Transfer-Encoding", b"base64")], b"a")
@example([("Content-Type", b"multipart/mixed; boundary=x")], b"--x\r\n\r\nhi\r\n--x--")
def test_any_bytes_can_be_read(headers: list[tuple[str, bytes]], body: bytes) -> None:
    content = b"".join(name.encode() + b": " + value + b"\r\n" for name, value in headers) + b"\r\n" + body
    page = pages.message(read(content))
    assert "</html>" in page.encode().decode()
