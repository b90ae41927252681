"""Which messages are kept and which are dropped, and their counts."""

from hypothesis import given
from hypothesis import strategies as st

from mail.inbox import Mailbox


def letter(identity: str, text: str = "") -> bytes:
    return f"Message-ID: <{identity}@app>\r\nSubject: hello\r\n\r\n{text}".encode()


def mailbox(most_messages: int = 10, most_bytes: int = 100_000, most_seen: int = 100) -> Mailbox:
    return Mailbox(most_messages, most_bytes, most_seen, clock=lambda: 1.5)


def test_the_newest_messages_are_first() -> None:
    box = mailbox()
    for name in "abc":
        assert box.take("app@x", [f"{name}@x"], letter(name))
    assert [message.recipients for message in box.newest(2)] == [("c@x",), ("b@x",)]
    assert [message.number for message in box.newest(9, before=3)] == [2, 1]
    assert box.newest(1)[0].at == 1.5


def test_messages_are_found_by_recipient() -> None:
    box = mailbox()
    box.take("app@x", ["Ann@x", "bob@x"], letter("1"))
    box.take("app@x", ["annabel@x"], letter("2"))
    assert [message.number for message in box.newest(9, recipient="ann@X")] == [1]
    assert box.newest(9, recipient="nobody@x") == []


def test_a_message_with_a_known_message_id_is_dropped_and_counted() -> None:
    box = mailbox()
    assert box.take("app@x", ["a@x"], letter("1", "first"))
    assert not box.take("app@x", ["a@x"], letter("1", "again"))
    (kept,) = box.newest(9)
    assert kept.content.endswith(b"first")
    counts = box.counts()
    assert (counts.received, counts.kept, counts.duplicates, counts.dropped) == (2, 1, 1, 0)


def test_a_message_id_is_remembered_after_its_message_is_dropped() -> None:
    box = mailbox(most_messages=1)
    box.take("app@x", ["a@x"], letter("1"))
    box.take("app@x", ["a@x"], letter("2"))
    assert box.get(1) is None
    assert not box.take("app@x", ["a@x"], letter("1"))


def test_the_least_recently_seen_message_ids_are_forgotten() -> None:
    box = mailbox(most_seen=2)
    for identity in ("1", "2", "1", "3"):  # the second 1 makes 2 the least recently seen
        box.take("app@x", ["a@x"], letter(identity))
    assert not box.take("app@x", ["a@x"], letter("1"))
    assert box.take("app@x", ["a@x"], letter("2"))


def test_messages_without_a_message_id_are_all_kept() -> None:
    box = mailbox()
    for content in (b"Subject: x\r\n\r\n", b"Subject: x\r\n\r\n", b"Message-ID: \r\n\r\n", b"", b"\xff\x00"):
        assert box.take("app@x", ["a@x"], content)


@given(st.lists(st.integers(0, 400), max_size=40), st.integers(1, 8), st.integers(50, 1000))
def test_count_and_size_are_limited_for_any_messages(sizes: list[int], most_messages: int, most_bytes: int) -> None:
    box = Mailbox(most_messages, most_bytes, most_seen=5)
    for number, size in enumerate(sizes):
        box.take("app@x", ["a@x"], letter(str(number), "x" * size))
        counts = box.counts()
        kept = box.newest(100)
        assert counts.kept == len(kept) <= most_messages
        assert counts.bytes == sum(message.size for message in kept) <= most_bytes
        assert counts.received == counts.kept + counts.dropped + counts.duplicates
    # The dropped messages are the oldest, without a gap.
    last = len(sizes)
    assert [message.number for message in box.newest(100)] == list(range(last, last - box.counts().kept, -1))
