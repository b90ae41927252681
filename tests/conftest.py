"""What the tests of whole stages share: stages that run, one at a time."""

import shutil
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.running import ROOT, Stages, copy_repository


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    # One stage after the other, for to change it takes longer than most tests; of each first those that time its start.
    # Pages last, at the stage that is left running.
    items.sort(
        key=lambda item: (
            "tests/pages/" in item.nodeid,
            _stage_of(item),
            "test_running_stages" not in item.nodeid,
        )
    )


def _stage_of(item: pytest.Item) -> int:
    """The number of the stage that a test needs, by its parameter or its marker, as in ``stage(3)``; 0 for none."""
    params = item.callspec.params if isinstance(item, pytest.Function) and hasattr(item, "callspec") else {}
    for given in (params.get("stage"), params.get("number")):
        if isinstance(given, int):
            return given
    return next((marker.args[0] for marker in item.iter_markers("stage") if marker.args), 0)


@pytest.fixture(scope="session", autouse=True)
def interruptible() -> Iterator[None]:
    """A shell ignores SIGINT for what it starts in the background, and what these tests start would inherit that."""
    former = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, former)


@pytest.fixture(scope="session")
def boxes_secrets() -> Iterator[Path]:
    """The folder that Compose reads the boxes' secrets from. In a clone without set-up it is made for these tests."""
    folder = ROOT / "secrets"
    if (folder / "patroni.env").exists():  # the last one that is made
        yield folder
        return
    made = not folder.exists()
    subprocess.run(["bash", "infra/setup/setup.sh", "secrets"], cwd=ROOT, check=True, capture_output=True, timeout=30)
    yield folder
    if made:
        shutil.rmtree(folder)


@pytest.fixture(scope="session")
def stages(boxes_secrets: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stages]:
    """Stages from a copy of this repository; at the end nothing of them is left."""
    copy = tmp_path_factory.mktemp("repository")
    copy_repository(copy)
    stages = Stages(copy)
    try:
        yield stages
    finally:
        stages.remove()
