"""What the tests of whole stages share: stages that run, one at a time."""

from collections.abc import Iterator

import pytest

from tests.running import Stages, copy_repository


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    # Last, because the stage that they use is the one that the tests of the stages leave running.
    items.sort(key=lambda item: "tests/pages/" in item.nodeid)


@pytest.fixture(scope="session")
def stages(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stages]:
    """Stages from a copy of this repository; at the end nothing of them is left."""
    copy = tmp_path_factory.mktemp("repository")
    copy_repository(copy)
    stages = Stages(copy)
    try:
        yield stages
    finally:
        stages.remove()
