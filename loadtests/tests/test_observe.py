"""What observes boxes: control groups of both versions, the machine, programs, metrics; and the process itself."""

import http.server
import json
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from loadtests.observe import cgroups, host, metrics, programs
from loadtests.observe.observer import Observer, ObserverError
from loadtests.observe.readings import Host, Load, Moment, Reading, load, of_host

ROOT = Path(__file__).parents[2]
BOX = "docker/1f0c"


def write(folder: Path, **files: str) -> None:
    """Files with these names (two underscores for a dot) and contents."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        (folder / name.replace("__", ".")).write_text(text)


@pytest.fixture
def proc(tmp_path: Path) -> Path:
    """A /proc with a machine of two CPUs."""
    folder = tmp_path / "proc"
    write(folder, stat="cpu  700 0 200 900 100 0 50 50 0 0\ncpu0 1 1 1 1 1 1 1 1 0 0\n")
    write(folder, cpuinfo="processor\t: 0\nmodel name\t: A CPU\n")
    write(folder / "sys/kernel/random", boot_id="b007\n")
    return folder


def process(proc: Path, pid: int, groups: str) -> None:
    """A process of the box in that /proc."""
    fields = "S 1 1 1 0 -1 0 0 0 0 0 150 50 0 0 20 0 1 0"
    write(proc / str(pid), cgroup=groups, stat=f"{pid} (python3) {fields}\n")


def version_1(tree: Path, proc: Path) -> None:
    """A box as Docker 20.10 has it on a machine with both versions."""
    write(tree / "cpu" / BOX, cpu__stat="nr_periods 700\nnr_throttled 31\nthrottled_time 4000000009\n")
    write(tree / "cpuacct" / BOX, cpuacct__usage="123456789\n", cgroup__procs="41\n")
    memory = "cache 9\ninactive_file 1\ntotal_inactive_file 3000\n"
    write(tree / "memory" / BOX, memory__usage_in_bytes="10000\n", memory__stat=memory)
    process(proc, 41, f"4:memory:/{BOX}\n2:cpuacct:/{BOX}\n1:cpu:/{BOX}\n0::/system.slice/containerd.service\n")


def version_2(tree: Path, proc: Path) -> None:
    """The same box in the one tree of newer machines."""
    write(tree, cgroup__controllers="cpu memory\n")
    stat = "usage_usec 123456\nuser_usec 1\nsystem_usec 1\nnr_periods 700\nnr_throttled 31\nthrottled_usec 4000000\n"
    write(tree / BOX, cpu__stat=stat, memory__current="10000\n", memory__stat="file 9\ninactive_file 3000\n")
    write(tree / BOX, cgroup__procs="41\n")
    process(proc, 41, f"0::/{BOX}\n")


@pytest.mark.parametrize(
    ("make", "cpu_ns", "throttled_ns"),
    [(version_1, 123_456_789, 4_000_000_009), (version_2, 123_456_000, 4_000_000_000)],
)
def test_a_box_is_read_from_its_group(tmp_path: Path, proc: Path, make: Any, cpu_ns: int, throttled_ns: int) -> None:
    make(tmp_path / "tree", proc)
    group = cgroups.find(41, proc, tmp_path / "tree")
    before = time.monotonic()
    found = group.read()
    assert before <= found.at <= time.monotonic()
    assert found == Reading(found.at, cpu_ns, throttled_ns, memory=7000, periods=700, throttled_periods=31)
    assert group.pids() == [41]
    assert programs.group_programs(programs.stats([41, 42], proc)) == {"app": 2.0}, "one of them has ended"


def test_a_group_is_found_where_docker_runs_in_a_container_itself(tmp_path: Path, proc: Path) -> None:
    version_2(tmp_path / "tree", proc)
    process(proc, 41, f"0::/docker/of-the-outer-one/{BOX}\n")
    assert cgroups.find(41, proc, tmp_path / "tree").read().memory == 7000


@pytest.mark.parametrize("groups", ["0::/docker/gone\n", "0::/\n", ""])
def test_who_is_in_no_group_is_gone_and_the_whole_machine_is_no_box(tmp_path: Path, proc: Path, groups: str) -> None:
    version_2(tmp_path / "tree", proc)
    process(proc, 41, groups)
    with pytest.raises(cgroups.GoneError, match="no control group"):
        cgroups.find(41, proc, tmp_path / "tree")
    with pytest.raises(cgroups.GoneError, match="process 7 is not seen"):
        cgroups.find(7, proc, tmp_path / "tree")


def test_the_machine_is_read_as_far_as_its_kernel_tells(proc: Path) -> None:
    first = host.read(proc)
    assert first == Host(first.at, ticks=2000, idle=1000, stolen=50)
    write(proc, schedstat="version 17\ncpu0 0 0 0 0 0 0 7 5000 2\ndomain0 00 1\ncpu1 0 0 0 0 0 0 7 70 2\n")
    write(proc / "pressure", cpu="some avg10=1.00 avg60=1.00 avg300=1.00 total=123\nfull avg10=0.00 total=9\n")
    second = host.read(proc)
    assert (second.run_delay_ns, second.pressure_us) == (5070, 123)
    assert {"boot": "b007", "processor": "A CPU"}.items() <= host.described(proc).items()


def test_a_box_between_two_readings_is_held_back_for_a_share_of_the_time() -> None:
    """Two seconds of CPU in ten of a quarter core, held back for six of them; in every period that it ran."""
    before = Reading(at=10, cpu_ns=5, throttled_ns=7, memory=1, periods=0, throttled_periods=0)
    after = Reading(20, 2_000_000_005, 6_000_000_007, memory=7, periods=200, throttled_periods=200)
    assert load(before, after, 0.25) == Load(cpu=0.2, utilisation=0.8, throttled=0.6, memory=7)
    assert load(before, before, 0.25) == Load(0.0, 0.0, 0.0, 1)
    on_two_cpus = Reading(20, 5, 15_000_000_007, memory=7)
    assert load(before, on_two_cpus, 0.25).throttled == 1.0


def test_the_machine_between_two_readings() -> None:
    before = Host(10, ticks=1000, idle=100, stolen=5, run_delay_ns=0, pressure_us=100)
    after = Host(15, ticks=2000, idle=400, stolen=25, run_delay_ns=2_500_000_000, pressure_us=1_000_100)
    assert of_host(before, after) == {"idle": 0.3, "stolen": 0.02, "run_delay": 0.5, "pressure": 0.2}
    untold = of_host(Host(10, 0, 0, 0), Host(15, 0, 0, 0))
    assert set(untold.values()) == {None}


def test_a_moment_is_kept_as_rows_of_the_window_s_seconds() -> None:
    moment = Moment(12.5, {"app": Reading(12.25, 1, 2, 3, 4, 5)}, Host(12.5, 9, 8, 7))
    app, machine = moment.rows(10.0, mark="end")
    assert (app["t"], app["box"], app["mark"], app["throttled_ns"]) == (2.25, "app", "end", 2)
    assert (machine["t"], machine["host"], machine["stolen"]) == (2.5, True, 7)


def test_programs_of_every_box_have_a_name() -> None:
    line = "{} ({}) S 1 1 1 0 -1 0 0 0 0 0 {} 0 0 0 20 0"
    lines = [line.format(n, name, 100) for n, name in enumerate(("nginx", "redis-server", "celery", "python3", "cat"))]
    found = programs.group_programs(lines)
    assert found == dict.fromkeys(("NGINX", "Redis", "worker", "app", "other"), 1.0)


def test_programs_are_told_apart_by_their_command() -> None:
    def line(pid: int, command: str, *ticks: int) -> str:
        return f"{pid} ({command}) S 1 1 1 0 -1 0 0 0 0 0 {' '.join(map(str, ticks))} 20 0 1 0"

    seconds = programs.group_programs(
        [
            line(1, "s6-svscan", 1, 1, 0, 0),
            line(9, "python", 100, 50, 0, 0),
            line(20, "postgres", 10, 10, 30, 50),
            line(21, "postgres: a) b (", 100, 0, 0, 0),
            "nonsense",
            "",
        ]
    )
    assert seconds == {"supervisor": 0.02, "app": 1.5, "PostgreSQL": 2.0}


def test_a_program_s_share_is_of_what_was_spent_meanwhile() -> None:
    before = {"box": {"app": 10.0, "PostgreSQL": 5.0}, "new": {}}
    after = {"box": {"app": 13.0, "PostgreSQL": 5.99, "other": 0.009}, "new": {"app": 3.0}}
    assert programs.shares(before, after) == {"box": {"app": 0.7502, "PostgreSQL": 0.2476, "other": 0.0023}}


class App(http.server.BaseHTTPRequestHandler):
    """Tells its metrics."""

    def do_GET(self) -> None:
        self.send_response(200 if self.path == "/metrics" else 404)
        self.end_headers()
        self.wfile.write(b"conduit_x 1\n")

    def log_message(self, *_: Any) -> None:
        """Nothing."""


@pytest.fixture
def app() -> Iterator[str]:
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), App) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()


def test_metrics_are_asked_of_every_box_and_of_some_in_vain(app: str) -> None:
    nobody = "http://127.0.0.1:9/metrics"
    found = metrics.fetch({"app": f"{app}/metrics", "db": nobody, "other": f"{app}/nothing"})
    assert list(found) == ["app"]
    at, text = found["app"]
    assert text == "conduit_x 1\n"
    assert 0 <= time.monotonic() - at < 5
    assert metrics.fetch({}) == {}


def started(proc: Path, tree: Path) -> list[str]:
    """The process, with another /proc and another tree of groups."""
    main = f"from pathlib import Path; from loadtests.observe.__main__ import main; main(Path({str(proc)!r}), "
    return [sys.executable, "-c", f"{main}Path({str(tree)!r}))"]


def test_the_process_answers_and_reads_each_second_by_itself(tmp_path: Path, proc: Path, app: str) -> None:
    version_1(tmp_path / "tree", proc)
    with Observer(started(proc, tmp_path / "tree"), ROOT) as observer:
        assert observer.machine["boot"] == "b007"
        observer.watch({"box": 41}, {"box": f"{app}/metrics", "db": "http://127.0.0.1:9/metrics"})
        assert observer.read().boxes["box"].cpu_ns == 123_456_789
        assert observer.programs() == {"box": {"app": 2.0}}
        assert list(observer.metrics()) == list(observer.metrics()) == ["box"]
        deadline = time.monotonic() + 10
        while len(observer.latest()) < 2 and time.monotonic() < deadline:
            time.sleep(0.05)
        one, other = observer.latest()
        assert 0.9 < other.at - one.at < 2
        assert observer.seconds()[-1] == other
        assert observer.seconds() == []
        # A box that goes is left out of what is read unasked, and an error where it is asked for.
        for controller in ("cpu", "cpuacct", "memory"):
            (tmp_path / "tree" / controller / BOX).rename(tmp_path / controller)
        with pytest.raises(ObserverError, match="the box box cannot be read"):
            observer.read()
        while not observer.latest() and time.monotonic() < deadline:
            time.sleep(0.05)
        assert observer.latest()[-1].boxes == {}
        with pytest.raises(ObserverError, match=r"no control group[\s\S]*rootless Docker"):
            observer.watch({"box": 41}, {})


def test_one_that_cannot_start_is_a_sentence_with_what_to_do(tmp_path: Path) -> None:
    refused = "import sys; sys.exit('cannot share the host PID namespace when user namespaces are enabled')"
    with pytest.raises(ObserverError, match=r"cannot share the host[\s\S]*rootless Docker .* use Docker Engine"):
        Observer([sys.executable, "-c", refused], tmp_path)
    with pytest.raises(ObserverError, match="cannot be started"):
        Observer(["no-such-program"], tmp_path)


def test_the_process_survives_nonsense_and_ends_with_its_input(proc: Path, tmp_path: Path) -> None:
    lines = "nonsense\n{}\n[]\n" + '{"watch": {"box": 7}}\n'
    done = subprocess.run(
        started(proc, tmp_path), input=lines, capture_output=True, text=True, check=True, cwd=ROOT, timeout=10
    )
    said = [json.loads(line) for line in done.stdout.splitlines()]
    assert list(said[0]) == ["ready"]
    assert [list(message) for message in said[1:]] == [["error"]] * 4
    assert "process 7" in said[-1]["error"]
