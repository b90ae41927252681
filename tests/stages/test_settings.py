"""The settings that the commands read themselves: the environment's before those of .env, and none that is no port."""

import re
from pathlib import Path

import pytest

from infra.stage import ports, settings, tools
from infra.stage.problems import Problem
from tests.stages.conftest import ROOT

DEFAULT = tools.LOCUST_PORT


@pytest.fixture
def env_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of .env, read in its place; the environment says nothing."""
    copy = tmp_path / ".env"
    copy.write_text((ROOT / ".env.example").read_text())
    monkeypatch.setattr(settings, "FILE", copy)
    monkeypatch.delenv("LOCUST_PORT", raising=False)
    return copy


def change(file: Path, line: str) -> None:
    text, changed = re.subn(r"^LOCUST_PORT=.*$", line, file.read_text(), flags=re.MULTILINE)
    assert changed == 1
    file.write_text(text)


@pytest.mark.parametrize(
    ("line", "port"),
    [
        ("LOCUST_PORT=9099", 9099),
        ("LOCUST_PORT='9099'", 9099),
        ('export LOCUST_PORT = "9099"  # beside another program', 9099),
        ("LOCUST_PORT=1", 1),
        ("LOCUST_PORT=65535", 65535),
        ("LOCUST_PORT=", DEFAULT),
        ("LOCUST_PORT=  # the usual one", DEFAULT),
        ("# LOCUST_PORT=9099", DEFAULT),
        ("OTHER_LOCUST_PORT=9099", DEFAULT),
        ("LOCUST_PORT=9098\nLOCUST_PORT=9099", 9099),
    ],
)
def test_a_port_in_the_file(env_file: Path, line: str, port: int) -> None:
    change(env_file, line)
    assert settings.port("LOCUST_PORT", DEFAULT) == port


def test_the_environment_is_asked_before_the_file(env_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    change(env_file, "LOCUST_PORT=9099")
    monkeypatch.setenv("LOCUST_PORT", "9100")
    assert settings.port("LOCUST_PORT", DEFAULT) == 9100
    monkeypatch.setenv("LOCUST_PORT", "")
    assert settings.port("LOCUST_PORT", DEFAULT) == DEFAULT


def test_without_a_file(env_file: Path) -> None:
    env_file.unlink()
    assert settings.port("LOCUST_PORT", DEFAULT) == DEFAULT


@pytest.mark.parametrize("value", ["abc", "0", "-1", "65536", "99999999999999999999", "80.5", "8089/tcp", "８０８９"])
@pytest.mark.parametrize("place", ["environment", "file"])
def test_what_is_no_port_is_told(env_file: Path, monkeypatch: pytest.MonkeyPatch, place: str, value: str) -> None:
    if place == "file":
        change(env_file, f"LOCUST_PORT={value}")
    else:
        monkeypatch.setenv("LOCUST_PORT", value)
    with pytest.raises(Problem) as told:
        tools.load(1, "browse")
    assert str(told.value).startswith(f"LOCUST_PORT={value} is no port.\nGive a number from 1 to 65535")


@pytest.mark.usefixtures("boxes_secrets")
def test_locust_is_at_the_port_of_the_file(env_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    change(env_file, "LOCUST_PORT=9099")
    monkeypatch.setattr(tools, "_remove", lambda _container: None)
    monkeypatch.setattr(ports, "holder", lambda port: f"one who has {port}")
    with pytest.raises(Problem, match="Port 9099, for Locust's pages, is in use by one who has 9099"):
        tools.load(1, "browse")
