"""What a run's record says of its boxes: settings, and never a secret."""

import re
from types import SimpleNamespace
from typing import Any

from loadtests.ceiling.boxes import Box, Boxes
from loadtests.ceiling.record import ROOT


def _box(*environment: str, of_image: tuple[str, ...] = ()) -> Box:
    container: Any = SimpleNamespace(
        attrs={"Config": {"Env": [*environment, *of_image]}},
        image=SimpleNamespace(attrs={"Config": {"Env": [*of_image]}}),
    )
    return Box("app", "app", 0.25, 256 << 20, {}, container)


def test_a_cache_is_asked_where_the_apps_ask_it() -> None:
    cache, broker = _box(), _box()
    cache.labels["stage.cache"] = "true"
    cache.container.name = broker.container.name = "conduit-stage4-cache-1"
    boxes = Boxes.__new__(Boxes)  # of no Docker
    boxes.boxes = [cache, broker]
    assert boxes.cache_urls() == {"app": "redis://conduit-stage4-cache-1:6379/0"}


def test_apps_are_those_behind_a_balancer() -> None:
    app, balancer = _box(), _box()
    app.labels["stage.upstream"] = "app"
    app.container.name = "conduit-stage3-app1-1"
    boxes = Boxes.__new__(Boxes)
    boxes.boxes = [app, balancer]
    assert boxes.app_urls() == ["http://conduit-stage3-app1-1:8000"]


def test_a_box_that_its_stage_says_works_in_the_background_is_not_waited_for() -> None:
    worker, app = _box(), _box()
    worker.name, worker.labels["stage.background"] = "worker", "true"
    boxes = Boxes.__new__(Boxes)
    boxes.boxes = [app, worker]
    assert (boxes.waited_for(), app.is_background, worker.is_background) == ({"app"}, False, True)


def test_settings_are_those_of_the_topology() -> None:
    box = _box("ROUTES=compiled", "CACHE_URL=redis://cache:6379/0", of_image=("PATH=/usr/bin",))
    assert box.settings == {"CACHE_URL": "redis://cache:6379/0", "ROUTES": "compiled"}


def test_no_secret_that_is_made_for_the_boxes_is_in_a_record() -> None:
    made = re.findall(r"^ +setup_secret \w+ (\w+)$", (ROOT / "infra/setup/secrets.sh").read_text(), re.MULTILINE)
    assert len(made) >= 4
    assert _box(*(f"{name}=0123abcd" for name in made), "CACHE_URL=redis://:pass@cache:6379/0").settings == {}
