"""The contract of every Mail, and the timeouts and circuit breaker of SmtpMail."""

import threading
import time
from collections.abc import Callable, Coroutine, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from aiosmtpd.smtp import SMTP, Envelope, Session
from prometheus_client import REGISTRY

from conduit.adapters import mail_smtp
from conduit.adapters.mail_log import LogMail
from conduit.adapters.mail_smtp import SmtpMail
from conduit.errors import DeferredError, UnavailableError
from conduit.ports import Letter, Mail
from conduit_testing.client import fresh
from conduit_testing.mail_server import MailServer, free_port, mail_server, stubborn_server

SENDER = "news@conduit.test"


def letter(to: str = "ann@example.com", text: str = "Hello") -> Letter:
    message_id = f"<{fresh()}@conduit.test>"
    content = f"Message-ID: {message_id}\r\nTo: {to}\r\nSubject: x\r\n\r\n{text}\r\n".encode()
    return Letter(to, message_id, content)


def smtp(server: MailServer, seconds: float = 5.0) -> SmtpMail:
    return SmtpMail("127.0.0.1", int(server.url.rpartition(":")[2]), SENDER, seconds)


def counted(result: str) -> float:
    return REGISTRY.get_sample_value("conduit_mails_total", {"result": result}) or 0.0


@pytest.fixture
def server() -> Iterator[MailServer]:
    with mail_server() as server:
        yield server


_ADAPTERS: dict[str, tuple[Callable[[MailServer], Mail], str]] = {
    "smtp": (smtp, "sent"),
    "log": (lambda _: LogMail(), "logged"),
}


@pytest.mark.parametrize(("adapter", "result"), _ADAPTERS.values(), ids=list(_ADAPTERS))
def test_letters_are_delivered_and_counted(
    adapter: Callable[[MailServer], Mail], result: str, server: MailServer
) -> None:
    mail = adapter(server)
    before = counted(result)
    mail.deliver([letter() for _ in range(5)])
    mail.deliver([])
    assert counted(result) == before + 5


def test_all_letters_are_sent_unchanged_over_one_connection(server: MailServer) -> None:
    letters = [letter(f"p{number}@example.com", f"Hello {number}\r\n.\r\n..dots") for number in range(5)]
    smtp(server).deliver(letters)
    assert server.got == [(one.address, one.content) for one in letters]
    assert server.connections == 1


def test_international_addresses_are_sent_if_the_server_takes_them() -> None:
    letters = [letter("änn@example.com"), letter("ann@example.com")]
    with mail_server() as server:
        smtp(server).deliver(letters)
        assert [to for to, _ in server.got] == ["änn@example.com", "ann@example.com"]
    before = counted("refused")
    with mail_server(every_script=False) as server:
        smtp(server).deliver(letters)
        assert [to for to, _ in server.got] == ["ann@example.com"]
    assert counted("refused") == before + 1


def test_a_rejected_letter_does_not_hold_back_the_others(server: MailServer) -> None:
    before = counted("refused"), counted("sent")
    smtp(server).deliver([letter("refused@example.com"), letter(text="unwelcome"), letter("ann@example.com")])
    assert [to for to, _ in server.got] == ["ann@example.com"]
    assert (counted("refused"), counted("sent")) == (before[0] + 2, before[1] + 1)


def _later_at(step: str) -> Callable[..., Coroutine[Any, Any, str]]:
    """Make a server defer the first message at this step, and accept all others."""
    told = False

    async def handle(_server: SMTP, _session: Session, envelope: Envelope, *arguments: Any) -> str:
        nonlocal told
        if not told:
            told = True
            return "450 come back later"
        if step == "MAIL":
            envelope.mail_from = arguments[0]
        if step == "RCPT":
            envelope.rcpt_tos.append(arguments[0])
        return "250 OK"

    return handle


@pytest.mark.parametrize("step", ["MAIL", "RCPT", "DATA"])
def test_a_deferred_letter_does_not_hold_back_the_others(
    server: MailServer, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    monkeypatch.setattr(server, f"handle_{step}", _later_at(step), raising=False)
    mail = smtp(server)
    before = counted("unsent"), counted("sent"), counted("refused")
    with pytest.raises(DeferredError):
        mail.deliver([letter(f"p{number}@example.com") for number in range(4)])
    assert (counted("unsent"), counted("sent"), counted("refused")) == (before[0] + 1, before[1] + 3, before[2])
    # The circuit stays closed.
    mail.deliver([letter("p0@example.com")])
    assert (server.connections, counted("sent")) == (2, before[1] + 4)


def test_after_a_refused_data_command_the_next_letter_is_sent(
    server: MailServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """This refusal, unlike others, does not reset the transaction: RFC 5321, 4.1.1.4."""
    data = SMTP.smtp_DATA
    told: list[str] = []

    async def refuse_first(self: SMTP, argument: str) -> None:
        if told:
            await data(self, argument)
            return
        told.append(argument)
        await self.push("451 no room just now")

    monkeypatch.setattr(SMTP, "smtp_DATA", refuse_first)
    with pytest.raises(DeferredError):
        smtp(server).deliver([letter("p0@example.com"), letter("p1@example.com")])
    assert [to for to, _ in server.got] == ["p1@example.com"]


def test_after_a_421_the_circuit_opens(server: MailServer, monkeypatch: pytest.MonkeyPatch) -> None:
    async def goodbye(*_: object) -> str:
        return "421 closing"

    monkeypatch.setattr(server, "handle_RCPT", goodbye)
    mail = smtp(server)
    before = counted("unsent")
    for _ in range(3):
        with pytest.raises(UnavailableError) as raised:
            mail.deliver([letter(), letter()])
        assert not isinstance(raised.value, DeferredError)
    assert (server.connections, counted("unsent")) == (1, before + 6)


@pytest.mark.parametrize("way", ["gone", "hangs", "trickles", "closes", "busy"])
def test_a_server_that_does_not_answer_opens_the_circuit(way: str) -> None:
    def try_it(port: int) -> None:
        mail = SmtpMail("127.0.0.1", port, SENDER, 0.5)
        before = counted("unsent")
        started = time.monotonic()
        with pytest.raises(UnavailableError):
            mail.deliver([letter(), letter()])
        assert time.monotonic() - started < 2.0
        started = time.monotonic()
        for _ in range(20):
            with pytest.raises(UnavailableError):
                mail.deliver([letter()])
        assert time.monotonic() - started < 0.2
        assert counted("unsent") == before + 22

    if way == "gone":
        try_it(free_port())
        return
    with stubborn_server(way) as port:
        try_it(port)


def test_a_server_that_hangs_holds_a_few_threads_at_most() -> None:
    with stubborn_server("hangs") as port, ThreadPoolExecutor(10) as threads:
        mail = SmtpMail("127.0.0.1", port, SENDER, 30.0)
        waiting = [threads.submit(mail.deliver, [letter()]) for _ in range(10)]
        time.sleep(mail_smtp.SLOT_SECONDS + 0.3)
        assert sum(future.done() for future in waiting) == 10 - mail_smtp.AT_ONCE
        for future in waiting:
            assert isinstance(future.exception(), UnavailableError)


def test_a_server_that_is_back_is_used_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mail_smtp, "OPEN_SECONDS", 0.2)
    port = free_port()
    mail = SmtpMail("127.0.0.1", port, SENDER, 1.0)
    with pytest.raises(UnavailableError):
        mail.deliver([letter()])
    time.sleep(0.3)
    with mail_server() as server:
        mail._port = int(server.url.rpartition(":")[2])
        mail.deliver([letter()])
        assert len(server.got) == 1


@pytest.mark.parametrize("answer", ["250 OK", "421 closing", "554 no", "", None])
def test_accepted_letters_count_as_sent_whatever_the_server_answers_to_quit(
    server: MailServer, monkeypatch: pytest.MonkeyPatch, answer: str | None
) -> None:
    """With None, the server does not answer at all."""

    async def goodbye(self: SMTP, _argument: str) -> None:
        if answer:
            await self.push(answer)
        if answer == "" and self.transport is not None:
            self.transport.close()

    monkeypatch.setattr(SMTP, "smtp_QUIT", goodbye)
    monkeypatch.setattr(mail_smtp, "ANSWER_SECONDS", 0.3)
    mail = smtp(server)
    before = counted("unsent"), counted("sent")
    for _ in range(2):
        mail.deliver([letter(), letter()])
    assert len(server.got) == 4
    assert (counted("unsent"), counted("sent")) == (before[0], before[1] + 4)


def test_no_thread_is_left_behind(server: MailServer) -> None:
    mail = smtp(server)
    before = threading.active_count()
    for _ in range(20):
        mail.deliver([letter()])
    time.sleep(0.2)
    assert threading.active_count() <= before
