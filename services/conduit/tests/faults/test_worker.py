"""The worker as a program, with a real broker: killed, stopped, and without its broker or the mail server."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import httpx
import psycopg
import pytest
from psycopg.rows import class_row

from conduit import articles, users, writes
from conduit.bootstrap import bootstrap
from conduit.outbox_worker import RETRY_BACKOFF_MAX
from conduit.passwords import Passwords
from conduit.profiles import MOST_FOLLOWED
from conduit.request_bodies import NewArticle, NewUser
from conduit.services import Services
from conduit.worker import HARD_SECONDS, SOFT_SECONDS
from conduit_testing.client import fresh
from conduit_testing.deployments import NewDatabase, migrated, settings_for
from conduit_testing.mail_server import MailServer, free_port, mail_server
from conduit_testing.proxy import Proxy
from conduit_testing.waiting import until

CODE = Path(__file__).parents[2]
DRAFT = NewArticle(title="Title", description="d", body="b", tagList=[])


class TaskRow(NamedTuple):
    state: str
    attempts: int


@dataclass
class Site:
    """An app with a queue, and everything that its workers need."""

    services: Services
    database_url: str
    broker: Proxy
    mail: MailServer
    way_to_mail: Proxy
    media_dir: Path
    author: int
    metrics_port: int

    def publish(self, number: int = 1) -> None:
        for _ in range(number):
            articles.publish(self.services.database, self.services.tasks, self.author, DRAFT)

    def tasks(self) -> list[TaskRow]:
        """Every task, oldest first."""
        with psycopg.connect(self.database_url) as connection, connection.cursor(row_factory=class_row(TaskRow)) as ask:
            return ask.execute("SELECT state, attempts FROM outbox ORDER BY owner_id").fetchall()

    def until(self, *states: str) -> None:
        """Return when the tasks are in these states."""
        _until(lambda: tuple(task.state for task in self.tasks()) == states, f"not {states}", self.tasks)

    def metrics(self) -> str:
        """The running worker's Prometheus metrics."""
        return httpx.get(f"http://127.0.0.1:{self.metrics_port}/metrics").text

    @contextmanager
    def worker(self, box: str = "box") -> Iterator["subprocess.Popen[bytes]"]:
        """A worker, which is killed with its children at the end if it is still running."""
        environment = os.environ | {
            "PYTHONPATH": str(CODE),
            "DATABASE_URL": self.database_url,
            "BROKER_URL": self.broker.url,
            "SMTP_URL": self.way_to_mail.url,
            "MEDIA_DIR": str(self.media_dir),
            "BOX_NAME": box,
            "METRICS_PORT": str(self.metrics_port),
        }
        command = [sys.executable, "-m", "conduit", "worker"]
        process = subprocess.Popen(  # noqa: S603 - the program itself
            command, env=environment, cwd=CODE, start_new_session=True
        )
        try:
            yield process
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def _until(true: Callable[[], object], what: str, now: Callable[[], object] = lambda: "") -> None:
    until(true, lambda: f"{what}: {now()}", within=60, pause=0.02)


@pytest.fixture
def site(new_database: NewDatabase, new_redis: Callable[[], str], tmp_path: Path) -> Iterator[Site]:
    """Its author has one follower."""
    url, broker = migrated(new_database), Proxy(new_redis())
    services = bootstrap(settings_for(url, media_dir=tmp_path, broker_url=broker.url))
    people = []
    for name in (fresh(), fresh()):
        user = users.sign_up(
            services.database,
            Passwords(1),
            services.tokens,
            NewUser(username=name, email=f"{name}@example.com", password="long enough"),
        )
        people.append(services.tokens.user_id(user.token))
    with services.database.writing(people[1]) as writer:
        writer.all(writes.FOLLOW, viewer=people[1], followee=people[0], most=MOST_FOLLOWED)
    with mail_server() as mail:
        way_to_mail = Proxy(mail.url)
        yield Site(services, url, broker, mail, way_to_mail, tmp_path, people[0], free_port())
        way_to_mail.close()
    services.after_requests()
    services.close()
    broker.close()


def _children(process: "subprocess.Popen[bytes]") -> list[int]:
    return [int(pid) for pid in Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()]


def test_a_worker_survives_the_death_of_its_child_and_the_task_is_done_once(site: Site) -> None:
    with site.worker() as worker:
        site.way_to_mail.hold()
        site.publish()
        site.until("running")
        (child,) = _children(worker)
        os.kill(child, signal.SIGKILL)
        _until(lambda: _children(worker) not in ([child], []), "no other child")
        site.way_to_mail.mend()
        site.until("done")
        assert worker.poll() is None
    assert len(site.mail.got) == 1
    assert site.tasks()[0].attempts >= 2


@pytest.mark.parametrize("broker_forgets", [False, True])
def test_a_worker_killed_during_a_task_loses_nothing(site: Site, broker_forgets: bool) -> None:
    with site.worker() as worker:
        site.way_to_mail.hold()
        site.publish(3)
        _until(lambda: ("running", 1) in site.tasks(), "none is begun")
        os.killpg(worker.pid, signal.SIGKILL)
        worker.wait()
    site.way_to_mail.mend()
    if broker_forgets:
        site.broker.cut()
        _flush(site)
        site.broker.mend()
    with site.worker():
        site.until("done", "done", "done")
    assert len(site.mail.got) == 3
    assert sorted(task.attempts for task in site.tasks()) == [1, 1, 2]


def _flush(site: Site) -> None:
    from redis import Redis

    host, port = site.broker._target
    with Redis(host, port, db=int(site.broker.url.rpartition("/")[2])) as broker:
        broker.flushdb()


def test_at_sigterm_the_worker_finishes_its_task_and_exits_with_0(site: Site) -> None:
    with site.worker() as worker:
        site.way_to_mail.hold()
        site.publish()
        site.until("running")
        worker.send_signal(signal.SIGTERM)
        time.sleep(0.3)
        assert worker.poll() is None
        site.way_to_mail.mend()
        assert worker.wait(30) == 0
    assert site.tasks() == [("done", 1)]
    assert len(site.mail.got) == 1


def test_a_worker_survives_an_outage_of_its_broker(site: Site) -> None:
    with site.worker() as worker:
        site.publish()
        site.until("done")
        site.broker.cut()
        site.publish()
        time.sleep(1)
        site.broker.mend()
        site.until("done", "done")
        assert worker.poll() is None
    assert [task.attempts for task in site.tasks()] == [1, 1]


def test_a_worker_that_loses_its_broker_during_a_task_goes_on_with_the_next(site: Site) -> None:
    """Its acknowledgement is lost."""
    with site.worker():
        site.way_to_mail.hold()
        site.publish()
        site.until("running")
        site.broker.cut()
        site.way_to_mail.mend()
        site.until("done")
        site.broker.mend()
        site.publish()
        site.until("done", "done")
    assert len(site.mail.got) == 2


def test_a_task_that_fails_is_retried_by_celery(site: Site) -> None:
    """Not by the relay, which would retry it seconds later."""
    with site.worker():
        site.way_to_mail.cut()
        site.publish()
        _until(lambda: site.tasks()[0].attempts >= 2, "no retry", site.tasks)
        site.way_to_mail.mend()
        site.until("done")
        assert 'conduit_tasks_sent_total{result="sent again"} 0.0' in site.metrics()
    assert len(site.mail.got) == 1


def test_a_worker_killed_while_it_holds_a_retry_loses_nothing(site: Site) -> None:
    with site.worker() as worker:
        site.way_to_mail.cut()
        site.publish()
        site.until("retrying")
        os.killpg(worker.pid, signal.SIGKILL)
        worker.wait()
    site.way_to_mail.mend()
    with site.worker():
        site.until("done")
    assert len(site.mail.got) == 1


def test_metrics_show_the_waits_and_results_of_tasks(site: Site) -> None:
    with site.worker():
        site.publish()
        site.until("done")
        told = site.metrics()
    assert 'conduit_tasks_closed_total{result="done",task="mail"} 1.0' in told
    assert 'conduit_task_wait_seconds_count{task="mail"} 1.0' in told
    assert 'conduit_task_seconds_count{task="mail"} 1.0' in told


def test_the_visibility_timeout_outlasts_the_longest_retry_and_attempt() -> None:
    from conduit.adapters.tasks_celery import VISIBILITY_SECONDS, celery_app

    conf = celery_app("redis://nowhere/0").conf
    assert conf.broker_transport_options["visibility_timeout"] == VISIBILITY_SECONDS
    assert conf.result_backend_transport_options["visibility_timeout"] == VISIBILITY_SECONDS
    assert conf.visibility_timeout == VISIBILITY_SECONDS
    assert SOFT_SECONDS < HARD_SECONDS
    assert RETRY_BACKOFF_MAX + HARD_SECONDS < VISIBILITY_SECONDS


@pytest.mark.parametrize("command", [["worker"], ["queue"], ["queue", "--retry", "all"]], ids=" ".join)
def test_without_a_queue_the_commands_fail(command: list[str]) -> None:
    environment = os.environ | {
        "PYTHONPATH": str(CODE), "DATABASE_URL": "postgresql://x@127.0.0.1:1/x",
    }  # fmt: skip
    command = [sys.executable, "-m", "conduit", *command]
    done = subprocess.run(  # noqa: S603 - the program itself
        command, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    assert "there is no queue: BROKER_URL is not set" in done.stdout + done.stderr
