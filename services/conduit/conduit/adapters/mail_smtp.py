"""Mail sent to an SMTP server, with timeouts that suit a request.

A mail server that hangs is worse than one that is down. So at most a few threads talk to it at once, none for longer
than ``seconds``. If it does not answer, a circuit breaker opens for a while, and sending fails at once. If it
temporarily rejects one message, it does answer, and the others are sent.
"""

import contextlib
import logging
import smtplib
import socket
from collections.abc import Iterator, Sequence
from threading import BoundedSemaphore, Timer
from time import monotonic

from conduit import metrics
from conduit.errors import DeferredError, UnavailableError
from conduit.ports import Letter

log = logging.getLogger(__name__)

ANSWER_SECONDS = 1.0  # for a connection, and for each of its answers
SLOT_SECONDS = 0.5
AT_ONCE = 3
# For the circuit breaker, which is not the one of circuit_breaker.py: a probe cannot tell a server that takes mail from
# one that says 421 to a recipient or hangs at the text, so a probe that succeeds would send every request there again.
OPEN_SECONDS = 10.0


class SmtpMail:
    """A connection for each ``deliver``, closed after ``seconds`` in any case. ``sender`` is an address.

    ``deliver`` raises UnavailableError, or DeferredError if the server temporarily rejected some of the messages.
    """

    def __init__(self, host: str, port: int, sender: str, seconds: float) -> None:
        self._host = host
        self._port = port
        self._sender = sender
        self._seconds = seconds
        self._slots = BoundedSemaphore(AT_ONCE)
        self._open_until = 0.0

    def deliver(self, letters: Sequence[Letter]) -> None:
        settled = 0
        try:
            with self._connection() as smtp:
                for letter in letters:
                    settled += self._is_settled(smtp, letter)
        except (OSError, smtplib.SMTPException) as error:
            self._open_until = monotonic() + OPEN_SECONDS
            log.warning("the mail server does not answer", extra={"server": self._host, "cause": repr(error)})
            raise UnavailableError("the mail server") from error
        finally:
            metrics.MAILS.labels("unsent").inc(len(letters) - settled)
        if settled < len(letters):
            raise DeferredError

    @contextlib.contextmanager
    def _connection(self) -> Iterator[smtplib.SMTP]:
        if monotonic() < self._open_until or not self._slots.acquire(timeout=SLOT_SECONDS):
            raise UnavailableError("the mail server")
        try:
            # With a name, smtplib does not look one up: a DNS lookup may take seconds.
            smtp = smtplib.SMTP(local_hostname="conduit", timeout=ANSWER_SECONDS)
            try:
                with _closed_after(self._seconds, smtp):
                    smtp.connect(self._host, self._port)
                    smtp.ehlo_or_helo_if_needed()
                    yield smtp
                    _quit(smtp)
            finally:
                smtp.close()
        finally:
            self._slots.release()

    def _is_settled(self, smtp: smtplib.SMTP, letter: Letter) -> bool:
        """Send a letter. Returns whether the server accepted it or rejected it for good.

        Raises an error if the server accepts no more letters on this connection.
        """
        options = () if letter.address.isascii() else ("SMTPUTF8", "BODY=8BITMIME")
        if options and not smtp.has_extn("smtputf8"):
            self._refused(letter, "the server takes ASCII addresses only")
            return True
        try:
            smtp.sendmail(self._sender, [letter.address], letter.content, options)
        except (smtplib.SMTPSenderRefused, smtplib.SMTPRecipientsRefused, smtplib.SMTPDataError) as error:
            if _is_goodbye(error):
                raise
            # smtplib does this itself, except where DATA is refused before the text.
            smtp.rset()
            if not _is_final(error):
                log.warning("mail is deferred", extra={"message_id": letter.message_id, "cause": repr(error)})
                return False
            self._refused(letter, repr(error))
        else:
            metrics.MAILS.labels("sent").inc()
        return True

    def _refused(self, letter: Letter, cause: str) -> None:
        metrics.MAILS.labels("refused").inc()
        log.warning("mail is refused", extra={"message_id": letter.message_id, "cause": cause})


def _quit(smtp: smtplib.SMTP) -> None:
    """Send QUIT. The server has accepted the letters by then, whatever it answers (RFC 5321, 4.1.1.10).

    ``smtplib.SMTP`` as a context manager raises an error for any answer but 221. The letters would then count as
    unsent, and be sent again.
    """
    with contextlib.suppress(OSError, smtplib.SMTPException):
        smtp.quit()


@contextlib.contextmanager
def _closed_after(seconds: float, smtp: smtplib.SMTP) -> Iterator[None]:
    """Close the connection after so many seconds: a socket's own timeout starts again with every byte."""

    def cut() -> None:
        if smtp.sock is not None:
            with contextlib.suppress(OSError):
                smtp.sock.shutdown(socket.SHUT_RDWR)

    timer = Timer(seconds, cut)
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


_Refusal = smtplib.SMTPSenderRefused | smtplib.SMTPRecipientsRefused | smtplib.SMTPDataError


def _is_goodbye(error: _Refusal) -> bool:
    """Whether the server closes the connection with this answer: RFC 5321, 3.8 and 4.2.3."""
    return 421 in _codes(error)


def _is_final(error: _Refusal) -> bool:
    """Whether the server would reject this message again: RFC 5321, 4.2.1.

    A rejected sender is not the message's fault, and may be accepted later.
    """
    return not isinstance(error, smtplib.SMTPSenderRefused) and all(code >= 500 for code in _codes(error))


def _codes(error: _Refusal) -> list[int]:
    if isinstance(error, smtplib.SMTPRecipientsRefused):
        return [code for code, _ in error.recipients.values()]
    return [error.smtp_code]
