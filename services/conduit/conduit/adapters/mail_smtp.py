"""Mail handed to an SMTP server, with no more patience than a request has.

A mail server that hangs is worse than one that is gone. So at most a few threads are with it at once, none for longer
than ``seconds``, and when it does not answer it is left alone for a while: whoever has something to send meanwhile is
told at once. A server that will take one message later does answer: the others go on.
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
PLACE_SECONDS = 0.5
AT_ONCE = 3
LEFT_ALONE_SECONDS = 10.0


class SmtpMail:
    """A connection for every ``deliver``, ended after ``seconds`` whatever state the server is in.

    ``deliver`` raises DeferredError when some are for later and all others were handed over.
    """

    def __init__(self, host: str, port: int, sender: str, seconds: float) -> None:
        self._host = host
        self._port = port
        self._sender = sender
        self._seconds = seconds
        self._places = BoundedSemaphore(AT_ONCE)
        self._left_alone_until = 0.0

    def deliver(self, letters: Sequence[Letter]) -> None:
        settled = 0
        try:
            with self._connection() as smtp:
                for letter in letters:
                    settled += self._is_settled(smtp, letter)
        except (OSError, smtplib.SMTPException) as error:
            self._left_alone_until = monotonic() + LEFT_ALONE_SECONDS
            log.warning("the mail server does not answer", extra={"server": self._host, "cause": repr(error)})
            raise UnavailableError("the mail server") from error
        finally:
            metrics.MAILS.labels("unsent").inc(len(letters) - settled)
        if settled < len(letters):
            raise DeferredError

    @contextlib.contextmanager
    def _connection(self) -> Iterator[smtplib.SMTP]:
        if monotonic() < self._left_alone_until or not self._places.acquire(timeout=PLACE_SECONDS):
            raise UnavailableError("the mail server")
        try:
            # Its own name is given: asked for, it would be looked up in the DNS, which may take long to know nothing.
            smtp = smtplib.SMTP(local_hostname="conduit", timeout=ANSWER_SECONDS)
            with _ended_after(self._seconds, smtp), smtp:
                smtp.connect(self._host, self._port)
                smtp.ehlo_or_helo_if_needed()
                yield smtp
        finally:
            self._places.release()

    def _is_settled(self, smtp: smtplib.SMTP, letter: Letter) -> bool:
        """Hand a letter over. Whether it is taken or refused for good; raises when there is no going on with others."""
        options = () if letter.address.isascii() else ("SMTPUTF8", "BODY=8BITMIME")
        if options and not smtp.has_extn("smtputf8"):
            self._refused(letter, "the server takes no addresses but in ASCII")
            return True
        try:
            smtp.sendmail(self._sender, [letter.address], letter.content, options)
        except (smtplib.SMTPSenderRefused, smtplib.SMTPRecipientsRefused, smtplib.SMTPDataError) as error:
            if _is_goodbye(error):
                raise
            # smtplib does so itself, but not where DATA is refused before the text.
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


@contextlib.contextmanager
def _ended_after(seconds: float, smtp: smtplib.SMTP) -> Iterator[None]:
    """Cut the connection after so long: a socket's own timeout begins anew with every byte."""

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
    """Whether the server ends the connection with it, for everybody: RFC 5321, 3.8 and 4.2.3."""
    return 421 in _codes(error)


def _is_final(error: _Refusal) -> bool:
    """Whether it is about this message alone, and the server would say the same again: RFC 5321, 4.2.1.

    A sender is refused for what is amiss here or there, and that may be mended.
    """
    return not isinstance(error, smtplib.SMTPSenderRefused) and all(code >= 500 for code in _codes(error))


def _codes(error: _Refusal) -> list[int]:
    if isinstance(error, smtplib.SMTPRecipientsRefused):
        return [code for code, _ in error.recipients.values()]
    return [error.smtp_code]
