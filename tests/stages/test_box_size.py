"""The one setting of how much of a CPU every box has: where it is written, what cannot be set, what is proposed."""

import dataclasses
from pathlib import Path

import pytest

from infra.stage import box, checks, engine, settings
from infra.stage.box import Size
from infra.stage.problems import Problem


@pytest.fixture(autouse=True)
def env_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A .env in the place of this machine's; the environment says nothing."""
    for name in ("BOX_CPU_QUOTA", "BOX_CPU_PERIOD", "BOX_CORES"):
        monkeypatch.delenv(name, raising=False)
    file = tmp_path / ".env"
    monkeypatch.setattr(settings, "FILE", file)
    monkeypatch.setattr(engine, "look", lambda: _engine(2))
    return file


def _engine(cores: int) -> engine.Engine:
    return engine.Engine("28.0", cores=cores, memory=8 << 30, cgroups="2", limits_cpu=True, pins_cpu=True, root="")


def test_without_a_file_it_is_the_default() -> None:
    assert box.now() == Size(5000, 20000)
    assert box.spread_over(_engine(2)) == 2, "each on one of all cores"
    assert box.spread_over(dataclasses.replace(_engine(2), pins_cpu=False)) == 0


@pytest.mark.parametrize(
    ("cpu", "period", "cores", "size", "over"),
    [
        ("0.125", "", "", Size(2500, 20000), 2),
        ("0.125", "10", "", Size(1250, 10000), 2),
        ("", "10", "", Size(2500, 10000), 2),
        ("1", "100", "2", Size(100_000, 100_000), 2),
        ("", "", "1", Size(5000, 20000), 1),
        ("0.1875", "10", "0", Size(1875, 10000), 0),
    ],
)
def test_what_is_set_is_what_every_command_reads(cpu: str, period: str, cores: str, size: Size, over: int) -> None:
    box.main(cpu, period, cores)
    assert (box.now(), box.spread_over(_engine(2))) == (size, over)


def test_more_cores_than_there_are_are_told(env_file: Path) -> None:
    env_file.write_text("BOX_CORES=3\n")
    with pytest.raises(Problem, match=r"BOX_CORES=3: this machine has 2 cores\."):
        box.spread_over(_engine(2))
    assert "BOX_CORES=3" in checks._box(_engine(2)).found


def test_it_is_written_once_and_the_rest_of_the_file_stays(env_file: Path) -> None:
    env_file.write_text("# mine\nSTAGE1_PORT=9001\nexport BOX_CPU_QUOTA=5000\nBOX_CPU_QUOTA=2000\nWORKERS=2")
    box.main("0.125", "", "")
    box.main("0.25", "", "")
    lines = ["# mine", "STAGE1_PORT=9001", "WORKERS=2", "BOX_CPU_PERIOD=20000", "BOX_CPU_QUOTA=5000"]
    assert env_file.read_text().splitlines() == lines


def test_who_only_asks_changes_nothing(env_file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    box.main("", "", "")
    assert not env_file.exists()
    said = capsys.readouterr().out
    size = "0.25 CPU (5 ms in every 20), each on one of 2 cores"
    assert said == f"Box: {size}: 5 busy ones fit beside the generator.\n"


@pytest.mark.parametrize(
    ("cpu", "period", "cores"),
    [
        ("0.04", "", ""),
        ("0.25", "0", ""),
        ("0.25", "1001", ""),
        ("0.25", "3", ""),
        ("100", "", ""),
        ("-1", "", ""),
        ("a quarter", "", ""),
        ("٠.٢", "", ""),
        ("", "", "-1"),
        ("", "", "two"),
    ],
)
def test_what_cannot_be_a_box_is_told_and_not_written(env_file: Path, cpu: str, period: str, cores: str) -> None:
    with pytest.raises(Problem, match="make box"):
        box.main(cpu, period, cores)
    assert not env_file.exists()


def test_what_is_no_size_in_the_file_is_told(env_file: Path) -> None:
    env_file.write_text("BOX_CPU_QUOTA=2.5ms\n")
    with pytest.raises(Problem, match=r"BOX_CPU_QUOTA=2\.5ms is no number of microseconds"):
        box.now()
    assert "BOX_CPU_QUOTA=2.5ms" in checks._box(_engine(2)).found
    assert checks._box(_engine(2)).remedy


@pytest.mark.parametrize(("cores", "share"), [(1, 0.125), (2, 0.25), (3, 0.25), (4, 0.25), (64, 0.25)])
def test_the_doctor_proposes_by_the_cores_and_that_is_no_illness(cores: int, share: float) -> None:
    found = checks._box(_engine(cores))
    assert found.remedy == ""
    assert found.advice == "" if share == 0.25 else f"make box CPU={share:g}" in found.advice
    box.main(f"{share:g}", "", "")
    assert checks._box(_engine(cores)).advice == ""
