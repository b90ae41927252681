"""Publishing with a mail server: who gets mail, and how long publishing takes if the server does not answer."""

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import httpx
import pytest
from prometheus_client import REGISTRY

from conduit import announcements
from conduit_testing.client import Api, boundaries, fresh, id_of, queries
from conduit_testing.deployments import NewDatabase, deployed_on_one_server
from conduit_testing.mail_server import MailServer, free_port, mail_server, stubborn_server

SITE = "https://conduit.example"
HEADERS = {
    "From", "To", "Subject", "Date", "Message-ID", "Auto-Submitted", "Content-Type", "Content-Transfer-Encoding",
    "MIME-Version",
}  # fmt: skip


@pytest.fixture(scope="module")
def server() -> Iterator[MailServer]:
    with mail_server() as server:
        yield server


@contextmanager
def _deployed(new_database: NewDatabase, smtp_url: str) -> Iterator[Api]:
    with (
        deployed_on_one_server(
            new_database, smtp_url=smtp_url, mail_from="Conduit <news@mail.example>", public_url=f"{SITE}/"
        ) as deployment,
        httpx.Client(base_url=deployment.base_url, timeout=20) as http,
    ):
        yield Api(http)


@pytest.fixture(scope="module")
def module_api(new_database: NewDatabase, server: MailServer) -> Iterator[Api]:
    with _deployed(new_database, server.url) as api:
        yield api


@pytest.fixture
def api(module_api: Api, server: MailServer) -> Api:
    server.got.clear()
    return module_api


def _sample(name: str, **labels: str) -> float:
    return REGISTRY.get_sample_value(name, labels) or 0.0


def test_followers_get_mail_before_the_author_gets_the_response(api: Api, server: MailServer) -> None:
    jo, followers, other = api.sign_up(), [api.sign_up() for _ in range(3)], api.sign_up()
    for follower in followers:
        follower.follow(jo)
    jo.follow(other)
    before = _sample("conduit_task_seconds_count", task="mail"), _sample("conduit_task_cpu_seconds_total", task="mail")
    response = jo.post("/articles", {"article": {"title": "Drachen zähmen", "description": "d", "body": "b"}})
    assert response.status_code == 201
    slug = response.json()["article"]["slug"]
    messages = server.messages()
    assert set(messages) == {follower.email for follower in followers}
    assert len(server.got) == 3
    for message in messages.values():
        assert message["From"] == "Conduit <news@mail.example>"
        assert message["Subject"] == f"{jo.username} published: Drachen zähmen"
        assert f"{SITE}/article/drachen-z%C3%A4hmen-{id_of(slug)}" in message.get_content()
    ids = {str(message["Message-ID"]) for message in messages.values()}
    assert len(ids) == 3
    assert all(one.startswith(f"<article-{id_of(slug)}.reader-") for one in ids)
    assert "mail" in boundaries(response)
    assert _sample("conduit_task_seconds_count", task="mail") == before[0] + 1
    assert _sample("conduit_task_cpu_seconds_total", task="mail") > before[1]
    assert queries(response) <= 3


def test_mail_goes_to_followers_only(api: Api, server: MailServer) -> None:
    jo, ann = api.sign_up(), api.sign_up()
    slug = jo.slug()
    assert server.got == []
    ann.follow(jo)
    jo.put(f"/articles/{slug}", {"article": {"title": "Changed"}})
    ann.delete(f"/profiles/{jo.username}/follow")
    jo.slug()
    assert server.got == []


@pytest.mark.parametrize("end", ["\r\n", "\n", "\r", "\u2028", "\x85", "\x0b"])
def test_a_title_cannot_add_headers(api: Api, server: MailServer, end: str) -> None:
    jo, ann = api.sign_up(), api.sign_up()
    ann.follow(jo)
    jo.slug(f"Dragons{end}Bcc: everyone@example.com{end}{end}And a body", description=f".{end}.{end}QUIT{end}")
    ((to, _),) = server.got
    message = server.messages()[ann.email]
    assert to == ann.email
    assert set(message) == HEADERS
    assert "Bcc: everyone@example.com" in message["Subject"]
    assert "And a body" in message["Subject"]


@pytest.mark.parametrize("name", ["Jö 龙 🐉", 'a "quoted" <b@c.test>', "a, b; c", "=?utf-8?q?x?="])
def test_names_and_titles_in_any_script_arrive(api: Api, server: MailServer, name: str) -> None:
    jo, ann = api.sign_up(f"{name} {fresh()}"), api.sign_up(f"{name} {fresh()}")
    ann.follow(jo)
    jo.slug(f"{name} in a title", description="Über 龙")
    message = server.messages()[ann.email]
    (address,) = message["To"].addresses
    assert (address.display_name, address.addr_spec) == (ann.username, ann.email)
    assert message["Subject"] == f"{jo.username} published: {name} in a title"
    assert "Über 龙" in message.get_content()


def test_more_followers_than_one_chunk_all_get_mail(api: Api, server: MailServer) -> None:
    jo = api.sign_up()
    # Signing up hashes a password, one at a time, which takes longer than the rest of this test.
    with ThreadPoolExecutor(2) as threads:
        followers = list(threads.map(lambda _: api.sign_up(), range(53)))
    for follower in followers:
        follower.follow(jo)
    jo.slug()
    assert sorted(to for to, _ in server.got) == sorted(follower.email for follower in followers)


def test_a_deferred_address_does_not_hold_back_the_other_mail(
    api: Api, server: MailServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(announcements, "CHUNK", 2)
    jo, later = api.sign_up(), api.sign_up(email=f"later-{fresh()}@example.com")
    later.follow(jo)
    others = [api.sign_up() for _ in range(4)]
    for follower in others:
        follower.follow(jo)
    for number in (1, 2):
        jo.slug()
        assert sorted(to for to, _ in server.got) == sorted(follower.email for follower in others * number)


@pytest.mark.parametrize("way", ["gone", "hangs", "trickles", "closes", "busy"])
def test_publishing_does_not_depend_on_the_mail_server(new_database: NewDatabase, way: str) -> None:
    def publish(port: int) -> None:
        with _deployed(new_database, f"smtp://127.0.0.1:{port}") as api:
            jo, ann = api.sign_up(), api.sign_up()
            ann.follow(jo)
            failures = _sample("conduit_task_failures_total", task="mail")
            unsent = _sample("conduit_mails_total", result="unsent")
            started = time.monotonic()
            first = jo.slug()
            assert time.monotonic() - started < 5
            # From then on the circuit is open.
            started = time.monotonic()
            slugs = [first, *(jo.slug() for _ in range(5))]
            assert time.monotonic() - started < 2
            assert ann.feed() == (slugs[::-1], 6)
            assert _sample("conduit_task_failures_total", task="mail") == failures + 6
            assert _sample("conduit_mails_total", result="unsent") == unsent + 6

    if way == "gone":
        publish(free_port())
        return
    with stubborn_server(way) as port:
        publish(port)


def test_without_a_server_mail_is_only_logged(new_database: NewDatabase) -> None:
    with deployed_on_one_server(new_database) as deployment, httpx.Client(base_url=deployment.base_url) as http:
        api = Api(http)
        jo, ann = api.sign_up(), api.sign_up()
        ann.follow(jo)
        logged = _sample("conduit_mails_total", result="logged")
        jo.slug()
        assert _sample("conduit_mails_total", result="logged") == logged + 1
        assert http.get("/health").json()["backends"]["mail"] == "only logged"
