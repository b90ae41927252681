"""Settings from the environment: ports and limits."""

import os
from collections.abc import Mapping
from dataclasses import dataclass, fields

MIB = 1 << 20


class BadSettingError(ValueError):
    """A variable that is not a whole number in its range."""


@dataclass(frozen=True)
class Settings:
    """The fields are named like the environment variables, in lower case. Sizes are in bytes."""

    smtp_port: int = 2525
    page_port: int = 8025
    most_messages: int = 2000
    most_bytes: int = 16 * MIB
    # Message-IDs are remembered longer than the messages: a sender may retry much later.
    most_seen: int = 100_000
    most_bytes_a_message: int = MIB

    @classmethod
    def read(cls, environment: Mapping[str, str] = os.environ) -> "Settings":
        """Read the environment. Raises BadSettingError, which names the variable."""
        given = {}
        for field in fields(cls):
            text = environment.get(field.name.upper(), "")
            if not text:
                continue
            most = 65_535 if field.name.endswith("_port") else 1 << 40
            if not text.isdecimal() or not 0 < int(text) <= most:
                raise BadSettingError(f"{field.name.upper()} must be a whole number from 1 to {most}, not {text!r}")
            given[field.name] = int(text)
        return cls(**given)
