"""The command line's ``SHARDS=URL``."""

import pytest

from data.loading.failures import Refused
from data.loading.placement import parse, parse_all

URL = "postgresql://conduit:secret@db:5432/conduit"


def test_ranges_and_numbers_mix() -> None:
    server = parse(f"0-3,40,9={URL}")
    assert server.shards == (0, 1, 2, 3, 9, 40)
    assert server.shards_text == "0-3,9,40"


def test_a_label_shows_no_password() -> None:
    assert parse(f"0-63={URL}").label == "db:5432/conduit"
    assert parse("0-63=postgresql://conduit:secret@one,two/conduit").label == "one,two:5432/conduit"


@pytest.mark.parametrize(
    "text",
    ["", URL, f"={URL}", f"x={URL}", f"0-64={URL}", f"-1={URL}", f"5-3={URL}", "0-63=mysql://db/conduit", "0-63="],
)
def test_what_is_no_placement_is_refused_with_an_example(text: str) -> None:
    with pytest.raises(Refused, match="0-63=postgresql://"):
        parse(text)


@pytest.mark.parametrize(
    ("texts", "message"),
    [
        ([f"0-31={URL}"], "shard 32 is held by no database"),
        ([f"0-40={URL}", f"40-63={URL}"], "shard 40 is held by 2 databases"),
    ],
)
def test_every_shard_is_held_once(texts: list[str], message: str) -> None:
    with pytest.raises(Refused, match=message):
        parse_all(texts)
