"""What a session needs of an answer: nothing, a position, or nobody knows."""

from collections.abc import Mapping

from conduit import sessions
from conduit.adapters.positions import has_reached
from conduit.sessions import Session

Pins = Mapping[str, str] | None
OLD, NEW = "00000001000000000000ffff", "000000010000000000010000"
OTHER_TIMELINE = "000000020000000000000001"


def reader(viewer: int | None = 1) -> Session:
    session = Session(may_lag=True)
    session.viewer = viewer
    return session


def test_a_reader_needs_what_that_reader_has_written() -> None:
    assert reader().needed("one", lambda _: {"one": OLD}) == OLD
    assert reader().needed("two", lambda _: {"one": OLD}) == ""


def test_pins_are_asked_for_once_and_for_the_viewer() -> None:
    asked: list[int] = []

    def pins(user_id: int) -> Pins:
        asked.append(user_id)
        return {"one": OLD, "two": NEW}

    session = reader(7)
    assert [session.needed(server, pins) for server in ("one", "two", "one")] == [OLD, NEW, OLD]
    assert asked == [7]


def test_who_is_not_signed_in_has_no_pins() -> None:
    def pins(_user_id: int) -> Pins:
        raise AssertionError("nobody's")

    assert reader(None).needed("one", pins) == ""


def test_of_what_is_needed_the_latest_counts() -> None:
    for first, second in ((OLD, NEW), (NEW, OLD)):
        session = reader()
        session.after({"one": first})
        session.after({"one": second, "two": first})
        assert session.needed("one", lambda _: {}) == NEW
        assert session.needed("two", lambda _: {}) == first
    session = reader()
    session.after({"one": OLD})
    assert session.needed("one", lambda _: {"one": NEW}) == NEW


def test_where_nobody_knows_there_is_no_position() -> None:
    assert reader().needed("one", lambda _: None) is None
    session = reader(None)
    session.after({"one": OLD})
    session.after(None)
    assert session.needed("one", lambda _: {}) is None


def test_outside_of_a_request_nothing_is_noted() -> None:
    sessions.signed_in(1)
    sessions.after({"one": OLD})
    assert sessions.current.get() is None
    assert not sessions.reader_may_lag()


def test_a_position_of_another_timeline_is_never_reached() -> None:
    assert has_reached(NEW, OLD)
    assert has_reached(NEW, NEW)
    assert has_reached(OLD, "")
    assert not has_reached(OLD, NEW)
    assert not has_reached(OTHER_TIMELINE, OLD)
    assert not has_reached(NEW, OTHER_TIMELINE)
