"""The compose files are the lesson: each says the same in the same place, and gives a box no more than it needs."""

import re
import subprocess
from pathlib import Path

import pytest

from conduit.__main__ import DRAIN_SECONDS
from infra.stage.shell import OWN
from tests.running import ROOT
from tests.stages.compose_files import (
    EXERCISES,
    FILES,
    NODES,
    TOOLS,
    TOP_LEVEL,
    boxes,
    each_file,
    keys_as_written,
    load,
    mounts,
    mounts_of,
    networks_of,
)

SERVICE = [
    "<<",
    "extends",
    "image",
    "build",
    "command",
    "deploy",
    "labels",
    "environment",
    "env_file",
    "tmpfs",
    "volumes",
    "networks",
    "ports",
    "depends_on",
    "healthcheck",
]


@each_file
def test_says_at_its_top_what_it_is_and_why(path: Path) -> None:
    header = path.read_text().split("\n\nname:")[0]
    number = path.name.removeprefix("docker-compose.stage").removesuffix(".yml")
    assert header.startswith(f"# Stage {number}: ")
    assert "# What it is: " in header or "# What it adds: " in header
    assert "# Why: " in header
    assert "# What it costs: " in header
    assert load(path)["name"] == f"conduit-stage{number}"


@each_file
def test_keys_stand_in_the_same_order(path: Path) -> None:
    parsed = load(path)
    assert list(parsed) == [key for key in TOP_LEVEL if key in parsed]
    assert {*TOP_LEVEL} - {*parsed} <= {"networks", "x-sync"}
    for keys in keys_as_written(path).values():
        assert keys == [key for key in SERVICE if key in keys]


@each_file
def test_has_few_anchors(path: Path) -> None:
    assert len(re.findall(r"(?<![\w\"'])&\w+", path.read_text())) <= 3


@each_file
def test_every_service_is_a_box_of_one_size_and_without_rights(path: Path) -> None:
    found = boxes(path)
    assert found == load(path)["services"]
    for box in found.values():
        assert box["cpu_period"] == "${BOX_CPU_PERIOD:-20000}"
        assert box["cpu_quota"] == "${BOX_CPU_QUOTA:-5000}"
        assert box["mem_limit"] == box["memswap_limit"] == "${BOX_MEMORY:-256m}"
        assert box["user"] == "1000:1000"
        assert box["read_only"] is True
        assert box["cap_drop"] == ["ALL"]
        assert box["pids_limit"] == 256
        assert box["security_opt"] == ["no-new-privileges:true"]
        assert box["logging"]["options"] == {"max-size": "10m", "max-file": "3"}
        assert "stop_grace_period" in box


@each_file
def test_a_box_has_only_the_secrets_that_it_uses(path: Path) -> None:
    """The database, above all, has no key to make tokens with."""
    names = ("database", "app", "redis", "media", "patroni")
    database, app, redis, media, patroni = (f"secrets/{name}.env" for name in names)
    shared = [redis, media] if "cache" in boxes(path) else []
    wanted = {
        **{name: [database, app, *shared] for name in ("box", "app", "app1", "app2")},
        "worker": [database, *shared],
        "db": [database],
        "directory": [database],
        **{name: [database, patroni] for name in NODES},
        "cache": [redis],
        "broker": [redis],
        "media": [media],
    }
    assert {name: box["env_file"] for name, box in boxes(path).items() if "env_file" in box} == {
        name: files for name, files in wanted.items() if name in boxes(path)
    }


@each_file
def test_a_box_that_is_told_to_stop_has_time_to_drain(path: Path) -> None:
    grace = {float(box["stop_grace_period"].removesuffix("s")) for box in boxes(path).values()}
    supervisor = (ROOT / "infra/images/box/services/.s6-svscan/SIGTERM").read_text()
    (waited_for,) = re.findall(r"^s6-svc -wD -T (\d+) ", supervisor, re.MULTILINE)
    assert DRAIN_SECONDS < int(waited_for) / 1000 < min(grace)


@each_file
def test_only_the_edge_publishes_and_only_on_this_machine(path: Path) -> None:
    services = load(path)["services"]
    edges = [name for name, one in services.items() if "stage.edge" in one["labels"]]
    assert [name for name, one in services.items() if "ports" in one] == edges
    assert len(edges) == 1
    number = re.sub(r"\D", "", path.name)
    inside = services[edges[0]]["labels"]["stage.edge"]
    assert services[edges[0]]["ports"] == [f"127.0.0.1:${{STAGE{number}_PORT:-800{number}}}:{inside}"]


@each_file
def test_labels_say_where_the_64_logical_shards_are(path: Path) -> None:
    ranges = [one["labels"]["stage.database"] for one in boxes(path).values() if "stage.database" in one["labels"]]
    if "directory" in ranges:
        return  # which says it itself
    held = [shard for text in ranges for shard in range(int(text.split("-")[0]), int(text.split("-")[1]) + 1)]
    assert sorted(held) == list(range(64))


@each_file
def test_a_label_says_which_box_keeps_the_files_and_its_volume_does(path: Path) -> None:
    ((name, directory),) = [
        (name, box["labels"]["stage.media"]) for name, box in boxes(path).items() if "stage.media" in box["labels"]
    ]
    assert any(directory.startswith(f"{mount.target}/") for mount in mounts_of(boxes(path)[name]))


# By the beginning of a box's name: which other boxes it is not ready without, where the stage has them.
NEEDS = {
    "cdn": ("lb",),
    "lb": ("app1", "app2"),
    "app": ("db", "directory", *NODES, "cache", "media"),
    "worker": ("db", "directory", *NODES, "broker"),
    "shard": ("etcd",),
}


@each_file
def test_a_box_waits_until_what_it_depends_on_is_healthy(path: Path) -> None:
    found = boxes(path)

    def waits_for(name: str) -> set[str]:
        direct = set(found[name].get("depends_on", {}))
        return direct.union(*map(waits_for, direct))

    for name, box in found.items():
        for condition in box.get("depends_on", {}).values():
            assert condition == {"condition": "service_healthy"}
        for kind, needed in NEEDS.items():
            if name.startswith(kind):
                assert set(needed) & set(found) <= waits_for(name), name


@each_file
def test_data_is_in_named_volumes_and_files_of_this_repository_cannot_be_written(path: Path) -> None:
    named = {mount.source for mount in mounts(path) if not mount.source.startswith("./")}
    assert named == set(load(path)["volumes"])
    assert {mount.mode for mount in mounts(path) if mount.source not in named} <= {"ro"}


@pytest.mark.parametrize("path", [*FILES, *EXERCISES], ids=lambda path: path.name)
def test_what_compose_alone_mounts_of_this_repository_is_in_git(path: Path) -> None:
    """In a fresh clone, in which no command has rendered anything, Docker would make a folder in a file's place."""
    command = ["git", "ls-files"]
    said = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    mounted = {mount.source.removeprefix("./") for mount in mounts(path) if mount.source.startswith("./")}
    assert mounted - {*said.splitlines()} == set()


@each_file
def test_boxes_that_others_name_by_address_have_one_that_is_never_given_out(path: Path) -> None:
    parsed = load(path)
    named = {
        name: (network, how["ipv4_address"])
        for name, box in boxes(path).items()
        for network, how in networks_of(box).items()
        if "ipv4_address" in how
    }
    by_nginx = {name for name, box in boxes(path).items() if {"stage.nginx", "stage.upstream"} & {*box["labels"]}}
    # A client looks for it where it was found last: never may one be where another was.
    redis = {name for name, box in boxes(path).items() if box["image"] == "conduit/redis"}
    assert set(named) == by_nginx | redis
    assert ("networks" in parsed) == bool(named)
    if named:
        number = re.sub(r"\D", "", path.name)
        network = f"${{STAGE{number}_NETWORK:-10.83.{number}}}"
        for own, first in {"app": 0, "default": 128}.items():
            (addresses,) = parsed["networks"][own]["ipam"]["config"]
            subnet, gateway, given_out = (f"{network}.{first + above}" for above in (0, 1, 64))
            assert addresses == {"subnet": f"{subnet}/25", "gateway": gateway, "ip_range": f"{given_out}/26"}
            last = [int(at.removeprefix(f"{network}.")) for where, at in named.values() if where == own]
            assert len({*last}) == len(last) > 0
            assert all(first + 1 < part < first + 64 for part in last)


@each_file
def test_readers_meet_the_edge_alone_and_the_mail_server_those_who_send(path: Path) -> None:
    on = {name: {*networks_of(service)} for name, service in boxes(path).items()}
    beside = {name: {*networks_of(service)} for name, service in load(TOOLS)["services"].items()}
    reading = {"tools": {"default", "edge"}, "observer": {"default"}}
    assert beside == reading | {"mail": {"outside"}, "browser": {"edge", "outside"}}
    (edge,) = (name for name, box in boxes(path).items() if "stage.edge" in box["labels"])
    assert [name for name, networks in on.items() if "edge" in networks] == [edge]
    workers = {name for name, box in boxes(path).items() if "stage.worker" in box["labels"]}
    apps = {name for name, box in boxes(path).items() if "SMTP_URL" in box.get("environment", {})}
    assert {name for name, networks in on.items() if "outside" in networks} == (workers or apps)


@each_file
def test_defaults_are_those_of_the_settings_file(path: Path) -> None:
    lines = [line for line in (ROOT / ".env.example").read_text().splitlines() if line and not line.startswith("#")]
    settings = dict(line.split("=", 1) for line in lines)
    used = re.findall(r"\$\{(\w+):?-([^}]*)\}", path.read_text() + TOOLS.read_text())
    assert used
    for name, default in used:
        # What the commands always say themselves is no setting of a machine.
        assert name in OWN or settings[name] == default


@each_file
def test_a_label_says_which_boxes_no_request_waits_for(path: Path) -> None:
    """Those that the tasks go through, and what Patroni asks. Of what an app names, the broker: a thread tells it. But
    where it keeps pins, requests ask it.
    """
    labelled = {name for name, box in boxes(path).items() if "stage.background" in box["labels"]}
    keeps_pins = any("PINS_URL" in box.get("environment", {}) for box in boxes(path).values())
    background = {"worker", "etcd"} if keeps_pins else {"worker", "etcd", "broker"}
    assert labelled == background & {*boxes(path)}


@each_file
def test_the_ports_of_what_is_beside_a_stage_are_the_stages_own(path: Path) -> None:
    number = re.sub(r"\D", "", path.name)
    assert load(path)["include"] == [{"path": "infra/tools.compose.yml", "env_file": f"infra/stage{number}.env"}]
    settings = (ROOT / f"infra/stage{number}.env").read_text()
    (default,) = re.findall(rf"^MAIL_PORT=\${{STAGE{number}_MAIL_PORT:-(\d+)}}$", settings, re.MULTILINE)
    assert f"\nSTAGE{number}_MAIL_PORT={default}\n" in (ROOT / ".env.example").read_text()


def test_what_is_beside_a_stage_is_no_box_and_has_no_rights() -> None:
    for service in load(TOOLS)["services"].values():
        assert not {"stage.box", "stage.edge", "stage.database"} & set(service.get("labels", {}))
        assert service["user"] == "1000:1000"
        assert service["read_only"] is True
        assert service["cap_drop"] == ["ALL"]
        assert service["security_opt"] == ["no-new-privileges:true"]
        assert "mem_limit" in service
        assert "cpus" in service or "cpu_quota" in service
        assert all(port.startswith("127.0.0.1:") for port in service.get("ports", []))


def test_only_what_observes_sees_the_machine_and_it_cannot_change_it() -> None:
    services = load(TOOLS)["services"]
    assert [name for name, service in services.items() if {"pid", "cgroup"} & {*service}] == ["observer"]
    observer = services["observer"]
    assert observer["volumes"] == ["/sys/fs/cgroup:/host/cgroup:ro"]
    assert "env_file" not in observer


def test_only_the_mail_server_is_always_there() -> None:
    services = load(TOOLS)["services"]
    assert [name for name, service in services.items() if "profiles" not in service] == ["mail"]
    for name in ("tools", "observer", "browser"):
        assert services[name]["profiles"] == ["tools"]
    assert not {"ports"} & {*services["tools"], *services["observer"]}
    assert services["mail"]["labels"] == {"stage.page": "8025"}
