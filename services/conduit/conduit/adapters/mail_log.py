"""Mail without a mail server: it is only logged."""

import logging
from collections.abc import Sequence

from conduit import metrics
from conduit.ports import Letter

log = logging.getLogger(__name__)


class LogMail:
    """Sends nothing."""

    def deliver(self, letters: Sequence[Letter]) -> None:
        for letter in letters:
            log.info("mail is not sent, as no SMTP_URL is set", extra={"message_id": letter.message_id})
        metrics.MAILS.labels("logged").inc(len(letters))
