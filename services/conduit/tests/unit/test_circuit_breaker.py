"""The circuit breaker: when it opens, what closes it, and that a probe goes on whatever it meets."""

import socket
import threading
import time
from collections.abc import Iterator

import pytest

from conduit.adapters.circuit_breaker import CircuitBreaker, first_address
from conduit_testing.waiting import until

SOON_SECONDS = 5.0


class Component:
    """Answers probes, or raises ``problem``; ``gate`` holds a probe up."""

    def __init__(self) -> None:
        self.problem: Exception | None = None
        self.probes = 0
        self.gate = threading.Event()
        self.gate.set()
        self.arrived = threading.Event()

    def probe(self) -> None:
        self.probes += 1
        self.arrived.set()
        self.gate.wait(SOON_SECONDS)
        if self.problem is not None:
            raise self.problem


@pytest.fixture
def component() -> Component:
    return Component()


@pytest.fixture
def breaker(component: Component) -> Iterator[CircuitBreaker]:
    breaker = CircuitBreaker("component:1", component.probe, failures=3, pause=0.01)
    yield breaker
    breaker.stop()
    component.gate.set()


def test_the_circuit_is_open_at_first_and_the_first_wait_starts_a_probe(
    component: Component, breaker: CircuitBreaker
) -> None:
    assert not breaker.is_closed
    assert component.probes == 0
    assert breaker.wait(SOON_SECONDS)
    assert breaker.is_closed
    assert component.probes == 1


def test_the_circuit_opens_after_that_many_failures_in_a_row(component: Component, breaker: CircuitBreaker) -> None:
    assert breaker.wait(SOON_SECONDS)
    component.problem = OSError("away")
    for _ in range(2):
        breaker.failed("late", time.monotonic())
    breaker.succeeded()
    for _ in range(2):
        breaker.failed("late", time.monotonic())
    assert breaker.is_closed
    breaker.failed("late", time.monotonic())
    assert not breaker.is_closed
    component.problem = None
    until(lambda: breaker.is_closed, "the circuit stayed open")
    # The failures before the probe are forgotten.
    for _ in range(2):
        breaker.failed("late", time.monotonic())
    assert breaker.is_closed


def test_failed_calls_that_overlap_count_once(component: Component, breaker: CircuitBreaker) -> None:
    """One stall makes all calls late that are under way, and is one sign of an outage, not three."""
    assert breaker.wait(SOON_SECONDS)
    component.problem = OSError("away")
    for stall in range(3):
        assert breaker.is_closed, f"open after {stall} stalls"
        began = time.monotonic()
        for _ in range(10):
            breaker.failed("late", began)
    assert not breaker.is_closed


@pytest.mark.parametrize("problem", [OSError("away"), ValueError("nonsense"), KeyError(1)], ids=repr)
def test_no_exception_ends_the_probing(component: Component, breaker: CircuitBreaker, problem: Exception) -> None:
    component.problem = problem
    assert not breaker.wait(0.02)
    until(lambda: component.probes > 3, "it was not probed")
    assert not breaker.is_closed
    component.problem = None
    until(lambda: breaker.is_closed, "the circuit stayed open")


def test_there_is_one_probe_at_a_time(component: Component, breaker: CircuitBreaker) -> None:
    component.gate.clear()
    assert not breaker.wait(0.01)
    assert component.arrived.wait(SOON_SECONDS)
    for _ in range(10):
        breaker.trip("again")
        assert not breaker.wait(0)
    assert component.probes == 1


def test_a_probe_from_before_a_failure_does_not_close_the_circuit(
    component: Component, breaker: CircuitBreaker
) -> None:
    component.gate.clear()
    assert not breaker.wait(0.01)
    assert component.arrived.wait(SOON_SECONDS)
    breaker.trip("something else to deliver first")
    component.gate.set()
    until(lambda: breaker.is_closed, "the circuit stayed open")
    assert component.probes == 2


def test_what_prepares_a_probe_is_not_repeated_by_failures_meanwhile(component: Component) -> None:
    """Else a circuit stays open for as long as calls fail more often than it can connect."""
    prepared: list[int] = []

    def prepare() -> None:
        prepared.append(component.probes)
        preparing.trip("meanwhile")

    preparing = CircuitBreaker("component:1", component.probe, prepare=prepare, pause=0.01)
    assert preparing.wait(SOON_SECONDS)
    assert (prepared, component.probes) == ([0], 1)
    component.problem = OSError("away")
    preparing.trip("away")
    until(lambda: component.probes > 3, "it was not probed")
    assert prepared[:4] == [0, 1, 2, 3], "a probe that failed may need another connection"
    component.problem = None
    until(lambda: preparing.is_closed, "the circuit stayed open")
    preparing.stop()


def test_callers_wait_only_just_after_the_circuit_opened(component: Component, breaker: CircuitBreaker) -> None:
    component.gate.clear()
    started = time.monotonic()
    assert not breaker.wait(0.1)
    assert 0.1 <= time.monotonic() - started < 1
    started = time.monotonic()
    assert not any(breaker.wait(0.1) for _ in range(100))
    assert time.monotonic() - started < 1
    # Who waits is woken when it closes.
    component.gate.set()
    assert breaker.wait(SOON_SECONDS)


def test_a_stopped_circuit_breaker_stays_open_and_stops_probing(component: Component, breaker: CircuitBreaker) -> None:
    assert breaker.wait(SOON_SECONDS)
    component.problem = OSError("away")
    breaker.trip("away")
    until(lambda: component.probes > 2, "it was not probed")
    breaker.stop()
    component.problem = None
    until(lambda: "probe component:1" not in [thread.name for thread in threading.enumerate()], "the probe did not end")
    assert not breaker.is_closed
    assert not breaker.wait(0.01)


def _resolve(monkeypatch: pytest.MonkeyPatch, *addresses: str) -> None:
    infos = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, 1)) for address in addresses]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: infos)


def test_all_addresses_of_a_name_are_tried_in_order(monkeypatch: pytest.MonkeyPatch) -> None:
    _resolve(monkeypatch, "::1", "::1", "10.0.0.1", "10.0.0.2")
    tried: list[str] = []

    def attempt(address: str) -> str:
        tried.append(address)
        if address == "::1":
            raise ValueError(address)
        return address

    assert first_address("name", 1, attempt) == "10.0.0.1"
    assert tried == ["::1", "10.0.0.1"]


def test_if_no_address_answers_the_last_error_is_raised(monkeypatch: pytest.MonkeyPatch) -> None:
    _resolve(monkeypatch, "::1", "10.0.0.1")

    def attempt(address: str) -> None:
        raise OSError(address)

    with pytest.raises(OSError, match=r"10\.0\.0\.1"):
        first_address("name", 1, attempt)
