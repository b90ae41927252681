"""NGINX's configurations: what is committed is what the compose files say, and NGINX takes it."""

import json
import os
import re
import subprocess
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from conduit.main import MAX_BODY_BYTES
from conduit.routes.cover_routes import MAX_UPLOAD_BYTES
from conduit.routing.body import LARGE_BYTES
from infra.nginx import render
from infra.nginx.render import Rendered
from infra.stage import apps, box, nginx, settings, shell, stages, topology
from infra.stage.engine import Engine
from infra.stage.problems import Problem
from tests.running import ROOT

SIZE_OF_TMP = re.compile(r"^/tmp:size=(\d+)m\b")
BALANCED = [number for number in stages.available() if number >= 3]
BEFORE_THE_APP = [*((number, "lb") for number in BALANCED), (4, "cdn")]


@pytest.fixture(autouse=True)
def _no_settings_of_this_machine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(settings, "FILE", tmp_path / "none")
    monkeypatch.setenv("BOX_CORES", "0")


def config(number: int, *overrides: str) -> dict[str, Any]:
    """By the environment and the defaults, whatever this machine's .env says."""
    files = [stages.compose_file(number).name, *overrides]
    usual = {name: value for name, value in settings.defaults().items() if name not in os.environ}
    return topology.config(["docker", "compose", *(word for file in files for word in ("-f", file))], usual)


def rendered(number: int, role: str = "lb") -> str:
    return next(one.text for one in render.render(config(number)) if one.role == role)


@pytest.mark.docker
def test_what_is_committed_is_what_the_compose_files_say() -> None:
    found = list(render.everything())
    assert [one.file for one in found if one.file.read_text() != one.text] == [], (
        "render them: python -m infra.nginx.render"
    )
    assert {one.file for one in found} == {*(ROOT / "infra/nginx/rendered").iterdir()}


@pytest.mark.docker
def test_what_is_committed_follows_no_setting_of_a_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    before = {one.file: one.text for one in render.everything()}
    monkeypatch.setenv("BOX_CPU_QUOTA", "1250")
    monkeypatch.setenv("STAGE3_NETWORK", "10.99.3")
    assert {one.file: one.text for one in render.everything()} == before


@pytest.mark.docker
@pytest.mark.parametrize("number", BALANCED)
def test_what_a_stage_runs_with_is_not_written_where_git_sees_it(number: int) -> None:
    found = [*render.render(config(number)), *render.exercises(number)]
    assert found
    assert {one.file.parent for one in found} == {ROOT / ".stages"}


def test_every_command_says_where_it_renders_to(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NGINX_CONFIGS", "elsewhere")
    asked = ["sh", "-c", 'test "$NGINX_CONFIGS" = ./.stages']
    assert shell.run(asked) == shell.answer(asked).returncode == 0


def test_a_folder_that_docker_made_gives_way_to_the_file(tmp_path: Path) -> None:
    file = tmp_path / "lb.conf"
    file.mkdir()
    one = Rendered("lb", "lb", file, "events {}\n")
    assert one.write()
    assert file.read_text() == one.text
    assert not one.write()


@pytest.mark.docker
def test_nginx_takes_every_configuration() -> None:
    subprocess.run(
        ["docker", "compose", "-f", "docker-compose.stage3.yml", "build", "--quiet", "lb"], cwd=ROOT, check=True
    )
    folder = "infra/nginx"
    mounts = [f"{ROOT}/{folder}/rendered:/rendered:ro", f"{ROOT}/{folder}/edge.js:/etc/nginx/edge.js:ro"]
    script = "for file in /rendered/*; do nginx -e stderr -t -c $file || exit 1; done"
    done = subprocess.run(
        ["docker", "run", "--rm", "--read-only", "--user", "1000:1000", "--network", "none",
         *(word for place in ("tmp", "run", "data", "memory") for word in ("--tmpfs", f"/{place}:uid=1000")),
         *(word for mount in mounts for word in ("-v", mount)), "conduit/nginx", "sh", "-c", script],
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("test is successful") == len([*(ROOT / folder / "rendered").iterdir()])
    assert "[warn]" not in done.stderr


@pytest.mark.docker
@pytest.mark.parametrize(("number", "role"), BEFORE_THE_APP)
def test_a_body_that_the_app_would_take_is_let_through_and_no_larger_one(number: int, role: str) -> None:
    sizes = re.findall(r"client_max_body_size (\d+);", rendered(number, role))
    assert {int(size) for size in sizes} == {LARGE_BYTES, MAX_BODY_BYTES, MAX_UPLOAD_BYTES}
    told = r"map \$uri \$most {\s+default (\d+);\s+\S+users\S+ (\d+);\s+\S+cover\S+ (\d+);"
    (found,) = re.findall(told, rendered(number, role))
    assert tuple(map(int, found)) == (MAX_BODY_BYTES, LARGE_BYTES, MAX_UPLOAD_BYTES)


@pytest.mark.docker
@pytest.mark.parametrize(("number", "role"), BEFORE_THE_APP)
def test_a_body_that_does_not_fit_into_a_buffer_goes_on_as_it_comes(number: int, role: str) -> None:
    text = rendered(number, role)
    (buffer,) = re.findall(r"client_body_buffer_size (\d+)k;", text)
    assert int(buffer) << 10 >= LARGE_BYTES
    to_bodies = re.findall(r"location @(large|upload) {([^}]*)}", text)
    assert len(to_bodies) == 2
    for _, told in to_bodies:
        assert "proxy_request_buffering off;" in told
        assert "keepalive_timeout 0;" in told
        assert ("limit_conn large_bodies 4;" in told) == ("proxy_pass http://bodies" in told) == (role == "lb")
    small = re.search(r'map "\$content_length\$http_transfer_encoding" \$large_body {.*?"~(\S+)" "";', text, re.DOTALL)
    assert small
    is_small = re.compile(small[1].removesuffix("\\z"))
    assert is_small.fullmatch(str(LARGE_BYTES - 1))
    assert not is_small.fullmatch(str(LARGE_BYTES))


@pytest.mark.docker
@pytest.mark.parametrize("number", BALANCED)
def test_who_sends_a_body_is_not_waited_for_at_any_box_for_a_minute(number: int) -> None:
    """NGINX's own default."""
    before_the_app = [one for one in render.render(config(number)) if one.role in ("lb", "cdn")]
    assert before_the_app
    for one in before_the_app:
        assert "client_body_timeout 10s;" in one.text, one.role


@pytest.mark.docker
@pytest.mark.parametrize("number", BALANCED)
def test_every_box_is_bounded_and_pages_by_twice_as_much(number: int) -> None:
    pools = re.findall(r"upstream (api|pages|bodies)\w* {(.*?)}", rendered(number), re.DOTALL)
    (at_once,) = {bound for name, servers in pools if name == "api" for bound in _bounds(servers)}
    assert at_once > 0
    for name, bound in (("pages", 2 * at_once), ("bodies", at_once)):
        assert [_bounds(servers) for found, servers in pools if found == name] == [{bound}] * (len(pools) // 3)


@pytest.mark.docker
@pytest.mark.parametrize(
    ("quota", "wanted", "bound"), [("5000", "", 47), ("2500", "", 23), ("200", "", 4), ("5000", "7", 7)]
)
def test_the_bound_follows_from_the_boxes_cpu_unless_it_is_given(quota: str, wanted: str, bound: int) -> None:
    """In every 20 ms. 0.3 s of an app's work, at 1.6 ms a request: 46.875 and 23.4 of them."""
    changed = json.loads(json.dumps(config(3)))
    changed["services"]["lb"]["labels"]["stage.at-once"] = wanted
    for name in ("app1", "app2"):
        changed["services"][name]["cpu_quota"] = quota
    changed["services"]["app1"]["cpu_quota"] = "20000"  # the smallest counts
    (text,) = (one.text for one in render.render(changed) if one.role == "lb")
    pools = re.findall(r"upstream (api)\w* {(.*?)}", text, re.DOTALL)
    assert {found for _, servers in pools for found in _bounds(servers)} == {bound}


@pytest.mark.docker
@pytest.mark.parametrize(
    ("quota", "readers", "own"),
    [("5000", 341, 170 + 84), ("2500", 170, 85 + 42), ("1000", 68, 34 + 16), ("20", 64, 32 + 16)],
)
def test_the_edge_has_as_many_connections_as_it_answers_in_time_beside_its_own(
    quota: str, readers: int, own: int
) -> None:
    """In every 20 ms. 0.3 s of its work, at 0.22 ms a hit, at its own quota and not at an app's."""
    changed = json.loads(json.dumps(config(4)))
    for name, service in changed["services"].items():
        if service.get("cpu_quota"):
            service["cpu_quota"] = quota if name == "cdn" else "10000"
    (text,) = (one.text for one in render.render(changed) if one.role == "cdn")
    assert re.findall(r"worker_connections (\d+);", text) == [str(readers + own)]
    to_the_origin, to_the_meeting = map(int, re.findall(r"max_conns=(\d+);", text))
    assert to_the_origin + 2 * to_the_meeting == own
    # On each of them a reader waits where the origin hangs. The others read what is kept.
    assert to_the_origin + to_the_meeting <= 5 * readers / 8
    assert to_the_meeting >= 8


def _bounds(servers: str) -> set[int]:
    """What boxes have under way at the most; 0 where one has no bound."""
    return {int((re.findall(r" max_conns=(\d+);", line) or [0])[0]) for line in re.findall("server .*", servers)}


@pytest.mark.docker
def test_who_shows_a_configuration_writes_none(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    written: list[Rendered] = []
    monkeypatch.setattr(Rendered, "write", lambda one: written.append(one))  # noqa: PLW0108 - a method, for its self
    nginx.show(3)
    assert "# Stage 3's balancer" in capsys.readouterr().out
    assert written == []
    nginx.configure(3)
    assert {"lb", "media"} <= {one.service for one in written}


@pytest.mark.docker
@pytest.mark.parametrize("number", BALANCED)
def test_more_app_boxes_are_in_the_balancer_and_each_is_its_first_again(
    number: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    override = tmp_path_factory.mktemp("override") / "more.yml"
    override.write_text(apps.more(number, "4"))
    both = config(number, str(override))
    found = topology.of(number, both)
    assert found.apps == ("app1", "app2", "app3", "app4")
    assert found.balancer == "lb"
    (balancer,) = (one for one in render.render(both) if one.role == "lb")
    assert balancer.file == ROOT / f".stages/stage{number}.lb.conf"
    network = both["networks"]["app"]["ipam"]["config"][0]["subnet"].removesuffix(".0/25")
    for last, name in enumerate(found.apps, start=11):
        box = both["services"][name]
        assert f"server {network}.{last}:8000 " in balancer.text
        assert box | {"networks": {}} == both["services"]["app1"] | {"networks": {}}
        assert name in both["services"]["lb"]["depends_on"]


def test_as_many_as_the_file_has_need_no_file_of_their_own() -> None:
    assert apps.more(3, "2") == ""


def test_boxes_that_are_spread_over_cores_have_one_each_in_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    engine = Engine("28.0", cores=2, memory=8 << 30, cgroups="2", limits_cpu=True, pins_cpu=True, root="")
    monkeypatch.setattr(box, "engine", SimpleNamespace(look=lambda: engine))
    monkeypatch.delenv("BOX_CORES")
    added = json.loads(apps.more(3, "3").partition("\n")[2])["services"]
    cores = {name: service["cpuset"] for name, service in added.items()}
    assert cores == {"lb": "0", "app1": "1", "app2": "0", "cache": "1", "media": "0", "db": "1", "app3": "0"}
    assert json.loads(apps.more(1, "").partition("\n")[2])["services"] == {"box": {"cpuset": "0"}}


@pytest.mark.parametrize("wanted", ["0", "1", "20", "x", "-2", "2.5", "٣", "99999", " 3"])
def test_a_number_of_apps_that_cannot_be_is_told(wanted: str) -> None:
    with pytest.raises(Problem, match="stage 3 can have 2 to 19 app boxes"):
        apps.more(3, wanted)


def test_apps_that_could_not_be_had_are_not_kept(monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> None:
    file = tmp_path / "folder" / "stage3.yml"
    monkeypatch.setattr(apps, "more_boxes", lambda _number: file)
    with apps.chosen(3, "3"):
        assert '"app3"' in file.read_text()
    with pytest.raises(Problem, match="too little"), apps.chosen(3, "19"):  # noqa: PT012 - fails while they are chosen
        assert '"app19"' in file.read_text()
        raise Problem("too little memory")
    assert '"app19"' not in file.read_text()
    with apps.chosen(3, None):
        assert '"app3"' in file.read_text()
    with apps.chosen(3, ""):
        assert not file.exists()


def test_who_measures_leaves_the_apps_what_other_workers_leave(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Any
) -> None:
    """The boxes stay, but what .env or the environment says of workers may have changed since they were asked for."""
    file = tmp_path / "folder" / "stage4.yml"
    monkeypatch.setattr(apps, "more_boxes", lambda _number: file)
    with apps.chosen(4, "5"):
        before = file.read_text()
    monkeypatch.setenv("WORKERS", "7")
    with apps.chosen(4, None):
        assert '"POOL_SIZE": "7"' in file.read_text()
    monkeypatch.delenv("WORKERS")
    with apps.chosen(4, None):
        assert file.read_text() == before


@pytest.mark.parametrize("wanted", ["0", "21", "x", "-2", "2.5"])
def test_a_number_of_workers_that_cannot_be_is_told(wanted: str) -> None:
    with pytest.raises(Problem, match="stage 4 can have 1 to 20 workers"):
        apps.more(4, "", wanted)


def test_workers_where_there_are_none_are_told() -> None:
    with pytest.raises(Problem, match="Stage 3 has no worker"):
        apps.more(3, "", "2")


@pytest.mark.docker
def test_more_workers_and_apps_are_kept_together_until_neither_is_wanted(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Any
) -> None:
    file = tmp_path / "folder" / "stage4.yml"
    monkeypatch.setattr(apps, "more_boxes", lambda _number: file)
    monkeypatch.setenv("WORKERS", "3")
    with apps.chosen(4, "3"):
        pass
    monkeypatch.delenv("WORKERS")
    with apps.chosen(4, None):  # what measures
        both = config(4, str(file))
    assert both["services"]["worker"]["deploy"]["replicas"] == 3
    assert "app3" in both["services"]
    with apps.chosen(4, ""):
        assert not file.exists()


@pytest.mark.docker
@pytest.mark.parametrize("number", stages.available())
def test_whoever_empties_the_origins_has_none(monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    monkeypatch.setenv("CORS_ORIGINS", "")
    both = config(number)
    apps = [one["environment"] for one in both["services"].values() if "PUBLIC_URL" in one.get("environment", {})]
    assert {app["CORS_ORIGINS"] for app in apps} == {""}
    assert [one.file for one in render.render(both) if '"*"' in re.sub("#.*", "", one.text)] == []


@pytest.mark.docker
def test_an_app_that_keeps_its_own_files_is_asked_for_them() -> None:
    both = config(3)
    assert "upstream media" in next(one.text for one in render.render(both) if one.role == "lb")
    for name in ("app1", "app2"):
        both["services"][name]["environment"]["MEDIA_URL"] = ""
    text = next(one.text for one in render.render(both) if one.role == "lb")
    assert "media" not in re.sub("#.*", "", text)


@pytest.mark.docker
def test_what_nginx_needs_and_the_file_lacks_is_told() -> None:
    whole = json.dumps(config(3))
    without_address = json.loads(whole)
    without_address["services"]["app2"]["networks"] = {"app": None}
    with pytest.raises(Problem, match="The box app2 has no ipv4_address"):
        render.render(without_address)
    without_mount = json.loads(whole)
    without_mount["services"]["lb"]["volumes"] = []
    with pytest.raises(Problem, match="The box lb mounts nothing at "):
        render.render(without_mount)
    no_number = json.loads(whole)
    no_number["services"]["lb"]["labels"]["stage.at-once"] = "many"
    with pytest.raises(Problem, match="LB_AT_ONCE=many is no number of requests"):
        render.render(no_number)
