"""`python -m mail`: SMTP on one port and web pages on another, until SIGTERM."""

import asyncio
import signal
import sys
from threading import Thread

from mail import smtp
from mail.inbox import Mailbox
from mail.settings import BadSettingError, Settings
from mail.web import Web


async def run(settings: Settings) -> None:
    """Serve until SIGTERM or SIGINT. Raises OSError if a port is taken."""
    mailbox = Mailbox(settings.most_messages, settings.most_bytes, settings.most_seen)
    stop = asyncio.Event()
    for wanted in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(wanted, stop.set)
    server = await smtp.serve(mailbox, settings)
    try:
        # The pages are served in a thread, so that a slow reader never delays the app's mail.
        with Web(("0.0.0.0", settings.page_port), mailbox, settings.smtp_port) as web:  # noqa: S104
            Thread(target=web.serve_forever, daemon=True).start()
            print(f"SMTP on {settings.smtp_port}, pages on {settings.page_port}", flush=True)
            await stop.wait()
            await asyncio.to_thread(web.shutdown)
    finally:
        server.close()  # without waiting: a sender with an open connection would delay the exit


def main() -> int:
    """Run until stopped. The exit status is 2 for an invalid setting and 1 for a port that is taken."""
    try:
        asyncio.run(run(Settings.read()))
    except BadSettingError as error:
        print(error, file=sys.stderr)
        return 2
    except OSError as error:
        print(f"Cannot listen: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
