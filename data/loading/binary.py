"""PostgreSQL's binary COPY format: https://www.postgresql.org/docs/current/sql-copy.html, "Binary Format".

Written by hand, because rows of fixed width then cost one struct.pack, and PostgreSQL has no numbers or times
to read from text: half its CPU for narrow rows.
"""

import struct

HEADER = b"PGCOPY\n\xff\r\n\0" + bytes(8)
TRAILER = b"\xff\xff"
NULL = b"\xff\xff\xff\xff"

_TEXT_OID = 25
_LENGTH = struct.Struct(">i")
# Dimensions, nulls, the elements' type, their number, the first one's index.
_ARRAY = struct.Struct(">iiIii")


def text(value: bytes | None) -> bytes:
    """A text field of UTF-8, or NULL."""
    return NULL if value is None else _LENGTH.pack(len(value)) + value


def text_array(values: list[bytes]) -> bytes:
    """A field of type text[] that is not empty."""
    array = _ARRAY.pack(1, 0, _TEXT_OID, len(values), 1) + b"".join(map(text, values))
    return _LENGTH.pack(len(array)) + array
