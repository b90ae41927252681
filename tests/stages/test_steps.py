"""The compose files of neighbouring stages, held against each other: a diff of two shows the step and nothing else."""

import json
import re
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from tests.stages.compose_files import FILES, NODES, TOP_LEVEL, Mount, boxes, each_pair, load, mounts_of

# What the step to a stage may change beside its services. Anything else in a diff would distract from the step.
MAY_DIFFER = {"name", "x-sync", "services", "networks", "volumes"}


@each_pair
def test_neighbours_differ_in_the_step_only(before: Path, after: Path) -> None:
    old, new = load(before), load(after)
    for parsed in (old, new):
        parsed.setdefault("networks", {})
        parsed["include"] = [_without_number(entry) for entry in parsed["include"]]
    assert {key for key in TOP_LEVEL if old.get(key) != new.get(key)} <= MAY_DIFFER


def test_stage_2_takes_the_database_out_of_the_box_and_nothing_else() -> None:
    box = boxes(FILES[0])["box"]
    after = boxes(FILES[1])
    assert list(after) == ["app", "db"]
    same = set(box) - {"image", "build", "labels", "environment", "volumes", "ports", "healthcheck"}
    assert {key: after["app"][key] for key in same} == {key: box[key] for key in same}
    url = {"DATABASE_URL": box["environment"]["DATABASE_URL"].replace("127.0.0.1", "db")}
    assert after["app"]["environment"] == box["environment"] | url | {"PUBLIC_URL": _published_at(2)}
    assert box["environment"]["PUBLIC_URL"] == _published_at(1)
    assert after["db"]["volumes"] == box["volumes"]
    assert after["app"]["volumes"] == ["files:/data"]
    assert "environment" not in after["db"]


def test_stage_3_takes_what_two_apps_must_share_out_of_the_app_and_nothing_else() -> None:
    app, db = boxes(FILES[1])["app"], boxes(FILES[1])["db"]
    after = boxes(FILES[2])
    assert list(after) == ["lb", "app1", "app2", "cache", "media", "db"]
    same = set(app) - {"labels", "environment", "env_file", "volumes", "ports", "depends_on", "networks"}
    assert {key: after["app1"][key] for key in same} == {key: app[key] for key in same}
    environment = {name: value for name, value in app["environment"].items() if name != "MEDIA_DIR"}
    shared = {
        "CACHE_URL": "redis://cache:6379/0",
        "LIMITS_URL": "redis://cache:6380/0",
        "MEDIA_URL": "http://media:8080",
        "PUBLIC_URL": _published_at(3),
        "TRUSTED_PROXIES": after["lb"]["networks"]["app"]["ipv4_address"],
    }
    assert after["app1"]["environment"] == environment | shared
    assert not {"volumes", "ports"} & {*after["app1"]}
    assert {*after["app1"]["depends_on"]} == {"cache", "media", *app["depends_on"]}
    assert after["app2"] == after["app1"] | {"networks": after["app2"]["networks"]}
    assert after["media"]["volumes"][0] == app["volumes"][0]
    assert after["db"] == db


def test_stage_4_puts_an_edge_before_and_a_queue_behind_and_nothing_else() -> None:
    before, after = boxes(FILES[2]), boxes(FILES[3])
    assert list(after) == ["cdn", "lb", "app1", "app2", "worker", "cache", "broker", "media", "db"]
    app = before["app1"]
    told = {
        "EDGE_URL": "http://cdn:8081",
        "BROKER_URL": "redis://broker:6379/0",
        "PUBLIC_URL": _published_at(4),
        "TRUSTED_PROXIES": after["lb"]["networks"]["app"]["ipv4_address"],
    }
    assert after["app1"] == app | {"environment": app["environment"] | told, "networks": after["app1"]["networks"]}
    assert after["app2"] == after["app1"] | {"networks": after["app2"]["networks"]}
    own = {"command", "deploy", "labels", "env_file", "networks", "depends_on", "healthcheck"}
    assert {key: value for key, value in after["worker"].items() if key not in own} == {
        key: value for key, value in after["app1"].items() if key not in own
    }
    assert before["lb"]["labels"] == after["lb"]["labels"] | {"stage.edge": "8000"}
    assert "ports" not in after["lb"]
    assert after["cache"] == before["cache"] | {"networks": after["cache"]["networks"]}
    assert after["db"] == before["db"]
    assert after["media"]["volumes"][0] == before["media"]["volumes"][0]


def test_stage_5_puts_the_data_on_several_servers_and_nothing_else() -> None:
    before, after = boxes(FILES[3]), boxes(FILES[4])
    assert list(after) == [*(name for name in before if name != "db"), "directory", *NODES, "etcd"]
    for name in {*before} - {"db", "app1", "app2", "worker", "broker"}:
        assert _of_a_stage(after[name]) == _of_a_stage(before[name])
    # It keeps the pins, so requests wait for it.
    labels = {name: value for name, value in before["broker"]["labels"].items() if name != "stage.background"}
    assert _of_a_stage(after["broker"]) == _of_a_stage(before["broker"] | {"labels": labels})
    db, directory = before["db"], after["directory"]
    assert directory == db | {"labels": db["labels"] | {"stage.database": "directory"}}
    waits = {name: {"condition": "service_healthy"} for name in ("directory", *NODES)}
    for name in ("app1", "app2", "worker"):
        old, new = before[name], after[name]
        same_keys = {*old} - {"environment", "depends_on", "networks"}
        assert {key: new[key] for key in same_keys} == {key: old[key] for key in same_keys}
        url = {"DATABASE_URL": old["environment"]["DATABASE_URL"].replace("@db:", "@directory:")}
        added = ("SHARDS", "PINS_URL", "MAX_LAG", "READ_YOUR_WRITES")
        told = url | {setting: new["environment"][setting] for setting in added}
        assert told["PINS_URL"] == f"${{PINS_URL-{old['environment']['BROKER_URL']}}}"
        assert _of_a_stage(new["environment"] | told) == _of_a_stage(old["environment"] | told)
        assert new["environment"].items() >= told.items()
    assert after["app1"]["depends_on"] == {
        name: how for name, how in before["app1"]["depends_on"].items() if name != "db"
    } | waits


def test_stage_5s_shards_are_what_the_apps_are_told() -> None:
    found = boxes(FILES[4])
    nodes: dict[str, list[str]] = {}
    for name in NODES:
        box = found[name]
        shard = name[:-1]
        assert box["labels"]["stage.database"] == box["environment"]["PATRONI_SCOPE"] == shard
        assert box["environment"]["PATRONI_NAME"] == name
        assert mounts_of(box) == [Mount(name, "/data")]
        nodes.setdefault(shard, []).append(name)
    shards = " ".join(f"{shard}=postgresql://conduit@{','.join(names)}/conduit" for shard, names in nodes.items())
    assert found["app1"]["environment"]["SHARDS"] == shards


def _of_a_stage(said: Any) -> str:
    """What a file says, without the stage's number."""
    return re.sub(r"([Ss][Tt][Aa][Gg][Ee]|10\.83\.|800)\d", r"\1", json.dumps(said, sort_keys=True))


def test_stage_4s_edge_is_asked_for_by_readers_and_told_by_boxes() -> None:
    """Readers come to the one port that it publishes; what the app tells it goes to another, by the stage's network."""
    after = boxes(FILES[3])
    assert [port.rpartition(":")[2] for port in after["cdn"]["ports"]] == ["8000"]
    assert urlsplit(after["app1"]["environment"]["EDGE_URL"]).port == 8081
    assert after["worker"]["environment"]["EDGE_URL"] == after["app1"]["environment"]["EDGE_URL"]


def _published_at(number: int) -> str:
    return f"http://127.0.0.1:${{STAGE{number}_PORT:-800{number}}}"


def _without_number(entry: dict[str, str]) -> dict[str, str]:
    return {key: re.sub(r"stage\d", "stage", value) for key, value in entry.items()}
