"""Logs of the app and its libraries, as JSON lines on standard output."""

import logging
import sys

import msgspec

_EXTRAS = ("request_id", "server", "cause", "message_id", "backends", "addresses")


class JsonLines(logging.Formatter):
    """Formats a record as one JSON object."""

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
    # While a database is down, the pool warns at every attempt. The app logs it once for each request.
    logging.getLogger("psycopg.pool").setLevel(logging.ERROR)
