"""Logs as JSON lines on standard output, the app's own and its libraries' alike."""

import logging
import sys

import msgspec

_EXTRAS = ("request_id", "server", "cause", "message_id", "backends")


class JsonLines(logging.Formatter):
    """One JSON object a record."""

    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, object] = {
            "time": round(record.created, 3),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        line |= {key: value for key in _EXTRAS if (value := getattr(record, key, None)) is not None}
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return msgspec.json.encode(line).decode()


def configure() -> None:
    handler = logging.StreamHandler(sys.stdout)
    handler.setFormatter(JsonLines())
    logging.basicConfig(level=logging.INFO, handlers=[handler], force=True)
    # The pool warns at every attempt while a database is down; the app says it once a request.
    logging.getLogger("psycopg.pool").setLevel(logging.ERROR)
