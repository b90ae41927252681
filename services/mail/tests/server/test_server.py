"""The server as a whole, over SMTP and HTTP."""

import os
import signal
import smtplib
import time
from email.message import EmailMessage
from threading import Thread

import httpx
import pytest

from mail.inbox import Mailbox
from mail.web import Web

from .conftest import Server, Start, free_port

pytestmark = pytest.mark.slow


def letter(identity: str, to: str = "ann@example.org", text: str = "Hello") -> EmailMessage:
    sent = EmailMessage()
    sent["Message-ID"] = f"<{identity}@app>"
    sent["From"], sent["To"], sent["Subject"] = "conduit@example.org", to, f"About {identity}"
    sent.set_content(text)
    return sent


def send(server: Server, *messages: EmailMessage) -> None:
    with smtplib.SMTP("127.0.0.1", server.smtp, timeout=5) as connection:
        for message in messages:
            connection.send_message(message)


def test_a_sent_message_can_be_read(server: Server) -> None:
    send(server, letter("1"), letter("2", to="bob@example.org"))
    said = httpx.get(f"{server.url}/api/messages", params={"to": "ann@example.org"}).json()
    (message,) = said["messages"]
    assert (message["subject"], message["text"].strip(), message["messageId"]) == ("About 1", "Hello", "<1@app>")
    assert message["to"] == ["ann@example.org"]
    assert abs(message["receivedAt"] - time.time()) < 60
    assert httpx.get(f"{server.url}/api/messages/{message['number']}").json() == message
    page = httpx.get(f"{server.url}/")
    assert "About 1" in page.text
    assert "About 2" in page.text
    assert "default-src 'none'" in page.headers["content-security-policy"]
    assert "Hello" in httpx.get(f"{server.url}/messages/{message['number']}").text
    source = httpx.get(f"{server.url}/messages/{message['number']}/source")
    assert source.headers["content-type"].startswith("text/plain")
    assert "Message-ID: <1@app>" in source.text


def test_a_duplicate_is_accepted_and_dropped(server: Server) -> None:
    send(server, letter("1"), letter("1"))
    send(server, letter("1"))
    said = httpx.get(f"{server.url}/api/messages").json()
    assert (said["received"], said["kept"], said["duplicates"]) == (3, 1, 2)
    assert "2 duplicates dropped" in httpx.get(f"{server.url}/").text


def test_the_oldest_messages_are_dropped_at_the_limit_and_counted(server: Server) -> None:
    send(server, *(letter(str(number)) for number in range(8)))
    said = httpx.get(f"{server.url}/api/messages").json()
    assert (said["kept"], said["dropped"]) == (5, 3)
    assert [message["subject"] for message in said["messages"]] == [f"About {number}" for number in (7, 6, 5, 4, 3)]
    assert httpx.get(f"{server.url}/api/messages/1").status_code == 404
    assert "dropped at the limit" in httpx.get(f"{server.url}/messages/1").text


def test_a_message_that_is_too_large_is_refused(server: Server) -> None:
    with pytest.raises(smtplib.SMTPResponseException) as refused:
        send(server, letter("1", text="line of text\n" * 400))
    assert refused.value.smtp_code == 552
    assert httpx.get(f"{server.url}/api/messages").json()["kept"] == 0


def test_a_message_has_at_most_a_hundred_recipients(server: Server) -> None:
    with smtplib.SMTP("127.0.0.1", server.smtp, timeout=5) as connection:
        connection.helo()
        connection.mail("a@x")
        codes = [connection.rcpt(f"{number}@x")[0] for number in range(101)]
    assert codes == [250] * 100 + [452]


def test_international_addresses_are_accepted(server: Server) -> None:
    with smtplib.SMTP("127.0.0.1", server.smtp, timeout=5) as connection:
        connection.send_message(letter("1", to="jürgen@bücher.example"))
    said = httpx.get(f"{server.url}/api/messages", params={"to": "jürgen@bücher.example"}).json()
    assert len(said["messages"]) == 1


PATHS = {
    "/health": 200,
    "/style.css": 200,
    "/?to=%22%3E%3Cscript%3E&before=nonsense": 200,
    "/?a&b": 200,
    "/?" + "&".join(f"{number}=x" for number in range(20)): 400,
    "/messages/99999999999999999999": 404,
    "/messages/1/../../etc/passwd": 404,
    "/api": 404,
}


def test_every_path_is_answered(server: Server) -> None:
    answers = {path: httpx.get(f"{server.url}{path}") for path in PATHS}
    assert {path: answer.status_code for path, answer in answers.items()} == PATHS
    assert not any("<script>" in answer.text for answer in answers.values())


def test_pages_are_read_only(server: Server) -> None:
    assert httpx.post(f"{server.url}/", content=b"x").status_code == 501
    head = httpx.head(f"{server.url}/")
    assert (head.status_code, head.content) == (200, b"")


def test_the_server_is_unhealthy_if_smtp_does_not_answer() -> None:
    with Web(("127.0.0.1", 0), Mailbox(1, 1000, 1), smtp_port=free_port()) as web:
        Thread(target=web.serve_forever, daemon=True).start()
        said = httpx.get(f"http://127.0.0.1:{web.server_port}/health")
        assert (said.status_code, said.json()) == (503, {"smtp": False})
        web.shutdown()


def test_the_server_stops_at_once_despite_an_open_connection(server: Server) -> None:
    with smtplib.SMTP("127.0.0.1", server.smtp, timeout=5) as connection:
        connection.ehlo()
        began = time.monotonic()
        os.kill(server.process.pid, signal.SIGTERM)
        assert server.process.wait(timeout=5) == 0
        assert time.monotonic() - began < 3
        connection.close()


def test_a_server_that_cannot_start_says_why(start: Start, server: Server) -> None:
    taken = start(SMTP_PORT=server.smtp, PAGE_PORT=free_port())
    assert taken.wait(timeout=10) == 1
    _, said = taken.communicate()
    assert said.startswith("Cannot listen: ")
    assert "Traceback" not in said
    bad = start(MOST_MESSAGES="many")
    assert bad.wait(timeout=10) == 2
    assert bad.communicate()[1] == f"MOST_MESSAGES must be a whole number from 1 to {1 << 40}, not 'many'\n"
