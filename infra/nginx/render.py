"""NGINX's configurations, rendered by what a stage's compose file says: so adding an app box is one edit in one place.

A service's label `stage.nginx` names its role, and the role its template; the text goes where the service mounts its
configuration from, for the commands a folder that is not in git. What the settings' defaults give is committed beside
the templates, to be read and to be mounted by Compose alone: `python -m infra.nginx.render` brings it up to date. What
a template may use:

    stage     the number
    network   the addresses of the network on which requests travel, as 10.83.3.0/25; `gateway` is this machine's
    apps      the app boxes, in the order of their addresses: each has `name`, `address` and `port`
    at_once   requests under way at once for each of them: what it answers in a part of a second, or as its label says
    connections   of readers that the edge has at once: as many as it answers in that part of a second
    origins   whose pages may read the API's answers from another origin (the apps' CORS_ORIGINS)
    lb, media, cdn   the box of that role, like one of `apps`, or None; `media` only where the app keeps its files there
"""

import ipaddress
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import jinja2

from infra.stage import settings, topology
from infra.stage.problems import Problem
from infra.stage.stages import ROOT, available, compose_file

TEMPLATES = {"lb": "nginx.conf.j2", "media": "media.conf.j2", "cdn": "cdn.conf.j2"}
PORTS = {"lb": 8000, "media": 8080, "cdn": 8000}
APP_PORT = 8000
# Of an answer's half second. A request of `browse` costs an app so much CPU (docs/stage3.md).
AT_ONCE_SECONDS = 0.3
A_REQUEST_SECONDS = 0.0016
LEAST_AT_ONCE = 4
# What the edge has costs it so much CPU (docs/stage4.md).
A_HIT_SECONDS = 0.00022
LEAST_CONNECTIONS = 64
# On which NGINX asks another box, and is asked.
NETWORK = "app"
MOUNTED_AT = "/etc/nginx/nginx.conf"
COMMITTED = ROOT / "infra/nginx/rendered"
# Overrides of a stage that mount a balancer's configuration of their own.
EXERCISES = {"infra/exercises/state-in-the-app.yml": 3}

Services = Mapping[str, Mapping[str, Any]]


@dataclass(frozen=True)
class Server:
    """A box as NGINX names it."""

    name: str
    address: str
    port: int


@dataclass(frozen=True)
class Rendered:
    """The configuration of one service, and the file that it is mounted from."""

    service: str
    role: str
    file: Path
    text: str

    def write(self) -> bool:
        """Bring the file up to date, in place, for a container keeps the file that it began with; False if it was."""
        if self.file.is_file() and self.file.read_text() == self.text:
            return False
        self.file.parent.mkdir(exist_ok=True)
        if self.file.is_dir():
            self.file.rmdir()  # Docker made it in the place of a file that was not there yet
        self.file.write_text(self.text)
        return True


def render(config: Mapping[str, Any]) -> list[Rendered]:
    """Of every NGINX in what `docker compose config --format json` says of a stage. Raises Problem where the file lacks
    what NGINX needs.
    """
    services: Services = config["services"]
    templates = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent),
        undefined=jinja2.StrictUndefined,
        keep_trailing_newline=True,
        autoescape=False,  # noqa: S701 - what comes out is no HTML
    )
    known = _known(config)
    return [
        Rendered(name, role, _file(name, service), templates.get_template(TEMPLATES[role]).render(known))
        for name, service in services.items()
        if (role := service.get("labels", {}).get("stage.nginx"))
    ]


def everything() -> Iterator[Rendered]:
    """What every stage and exercise has by the settings' defaults and with no box more, in the committed files."""
    usual = settings.defaults()
    for number in available():
        own = render(topology.config(["docker", "compose", "-f", compose_file(number).name], usual))
        for one in (*own, *exercises(number, usual)):
            yield replace(one, file=COMMITTED / one.file.name)


def exercises(number: int, env: Mapping[str, str] | None = None) -> Iterator[Rendered]:
    """What the exercises on a stage mount instead of its own, by the settings in ``env`` before all others."""
    for override, of_stage in EXERCISES.items():
        if of_stage == number:
            files = ["-f", compose_file(number).name, "-f", override]
            own = f"{Path(override).stem}."
            both = render(topology.config(["docker", "compose", *files], env))
            yield from (one for one in both if one.file.name.startswith(own))


def _known(config: Mapping[str, Any]) -> dict[str, Any]:
    services: Services = config["services"]
    labels = {name: service.get("labels", {}) for name, service in services.items()}
    apps = [Server(name, _address(name, services[name]), APP_PORT) for name in services if _is_app(labels[name])]
    boxes = {
        role: Server(name, _address(name, services[name]), PORTS[role])
        for name in services
        if (role := labels[name].get("stage.nginx"))
    }
    said = next((said["stage.at-once"] for said in labels.values() if said.get("stage.at-once")), "")
    if said and not (said.isascii() and said.isdigit() and int(said)):
        raise Problem(f"LB_AT_ONCE={said} is no number of requests.", "Give 1 or more, or leave it out")
    at_once = int(said or _in_time([services[app.name] for app in apps], A_REQUEST_SECONDS, LEAST_AT_ONCE))
    wanted = next((services[app.name].get("environment", {}).get("CORS_ORIGINS") for app in apps), None) or ""
    edges = [service for name, service in services.items() if labels[name].get("stage.nginx") == "cdn"]
    keep_files = all(services[app.name].get("environment", {}).get("MEDIA_URL") for app in apps)
    addresses = topology.addresses(config, NETWORK)
    return {
        "stage": config["name"].rpartition("stage")[2],
        "network": addresses.get("subnet"),
        "gateway": addresses.get("gateway"),
        "apps": sorted(apps, key=lambda app: ipaddress.ip_address(app.address)),
        "at_once": at_once,
        "connections": _in_time(edges, A_HIT_SECONDS, LEAST_CONNECTIONS),
        "origins": [origin for origin in map(str.strip, wanted.split(",")) if origin],
        "lb": boxes.get("lb"),
        "media": boxes.get("media") if keep_files else None,
        "cdn": boxes.get("cdn"),
    }


def _in_time(boxes: Sequence[Mapping[str, Any]], request_seconds: float, at_least: int) -> int:
    """Requests of so much CPU that the smallest of these boxes answers in AT_ONCE_SECONDS: the last of them still is in
    time.
    """
    cpus = min((topology.cpus(box) for box in boxes), default=0.0)
    return max(at_least, round(AT_ONCE_SECONDS * cpus / request_seconds))


def _is_app(labels: Mapping[str, str]) -> bool:
    return labels.get("stage.upstream") == "app"


def _address(name: str, service: Mapping[str, Any]) -> str:
    network = (service.get("networks") or {}).get(NETWORK) or {}
    address: str | None = network.get("ipv4_address")
    if address is None:
        raise Problem(
            f"The box {name} has no ipv4_address, and NGINX would ask for its name's address only once.",
            "The file may have been edited: git diff docker-compose.*.yml",
        )
    return address


def _file(name: str, service: Mapping[str, Any]) -> Path:
    for volume in service.get("volumes", []):
        if volume["target"] == MOUNTED_AT:
            return Path(volume["source"])
    raise Problem(
        f"The box {name} mounts nothing at {MOUNTED_AT}.",
        "The file may have been edited: git diff docker-compose.*.yml",
    )


def main() -> int:
    """Bring every committed configuration up to date."""
    for one in everything():
        if one.write():
            print(one.file.relative_to(ROOT))
    return 0


if __name__ == "__main__":
    sys.exit(main())
