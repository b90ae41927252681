"""Scatter-gather: one question to several servers at once.

Whoever needs all answers gets them or an error. Whoever can do without some gets those that came; the request's tally
names the servers that are missing, and so the response says that it is partial.
"""

from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from time import perf_counter
from typing import TypeVar

from conduit import sessions
from conduit.errors import UnavailableError
from conduit.ports import Reader
from conduit.sessions import Session
from conduit.timing import Tally, tally

Answer = TypeVar("Answer")
Question = Callable[[Reader], Answer]

# A request asks one server itself, and these ask the others. They are started when they are needed: ten requests at
# once and three servers need twenty.
_threads = ThreadPoolExecutor(32, thread_name_prefix="scatter")


class SomeMissingError(UnavailableError):
    """Some of several servers do not answer, so that an answer would be partial."""


def gather(readers: Sequence[Reader], question: Question[Answer], *, others: bool = False) -> list[Answer]:
    """The answers of all, in the readers' order. ``others`` says whether other servers have other parts of it.

    Raises SomeMissingError where only some are missing, and UnavailableError where there is no part at all.
    """
    answers, missing = _sorted(_ask(readers, question), others)
    if missing:
        raise SomeMissingError(", ".join(missing)) from next(iter(missing.values()))
    return answers


def gather_some(readers: Sequence[Reader], question: Question[Answer], *, others: bool = False) -> list[Answer]:
    """The answers of those that answer; ``others`` as above. Raises UnavailableError where there is no part at all."""
    answers, missing = _sorted(_ask(readers, question), others)
    note_missing(missing)
    return answers


def _sorted(
    asked: Sequence[tuple[Reader, Answer | UnavailableError]], others: bool
) -> tuple[list[Answer], dict[str, UnavailableError]]:
    """The answers, and the errors of who is missing by name. Raises UnavailableError where there are only errors."""
    missing = {reader.server: answer for reader, answer in asked if isinstance(answer, UnavailableError)}
    answers = [answer for _, answer in asked if not isinstance(answer, UnavailableError)]
    if missing and not answers and not others:
        raise next(iter(missing.values()))
    return answers, missing


def note_missing(servers: Iterable[str]) -> None:
    """The response lacks what these servers hold."""
    if (request := tally.get()) is not None:
        request.missing.update(servers)


def _ask(
    readers: Sequence[Reader], question: Question[Answer]
) -> list[tuple[Reader, Answer | UnavailableError]]:
    if not readers:
        return []
    own, *others = readers
    if not others:
        return [(own, _answered(question, own))]
    started = perf_counter()
    request = tally.get()
    before = request.database_seconds if request else 0.0
    session = sessions.current.get()
    asked = [_threads.submit(_apart, question, other, session) for other in others]
    answers = [(own, _answered(question, own))]
    for other, future in zip(others, asked, strict=True):
        answer, spent = future.result()
        answers.append((other, answer))
        if request is not None:
            request.queries.update({name: request.queries.get(name, 0) + n for name, n in spent.queries.items()})
            request.replica_lag = max(request.replica_lag, spent.replica_lag)
    if request is not None:
        request.database_seconds = before + perf_counter() - started  # they took their time side by side
    return answers


def _answered(question: Question[Answer], reader: Reader) -> Answer | UnavailableError:
    try:
        return question(reader)
    except UnavailableError as error:
        return error


def _apart(
    question: Question[Answer], reader: Reader, session: Session | None
) -> tuple[Answer | UnavailableError, Tally]:
    """In another thread, so with a tally of its own: the request's is not for two threads. Its session is."""
    spent = Tally()
    counted, asking = tally.set(spent), sessions.current.set(session)
    try:
        return _answered(question, reader), spent
    finally:
        sessions.current.reset(asking)
        tally.reset(counted)
