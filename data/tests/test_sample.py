"""What the mixes are told of a stage: its rows, and the covers that its lists show."""

import pytest

from data.tests.conftest import MakeDatabase
from data.tests.support import DIGESTS, execute, rows_of
from loadtests.load import dataset
from loadtests.load.dataset import NEWEST, ON_A_PAGE, Dataset

_LISTED = "SELECT slug, coalesce(cover_digest, '') FROM articles WHERE {} ORDER BY id DESC LIMIT %s"


@pytest.fixture(scope="module")
def sample(small_template: str) -> Dataset:
    return dataset.read([small_template], secret="")


def test_the_lists_are_those_that_the_api_shows(sample: Dataset, small_template: str) -> None:
    newest = rows_of(small_template, _LISTED.format("true"), NEWEST)
    assert [tuple(article) for article in sample.newest] == newest
    of_tag = rows_of(small_template, _LISTED.format("'python' = ANY(tag_list)"), ON_A_PAGE)
    assert [tuple(article) for article in sample.of_tag["python"]] == of_tag
    assert set(sample.of_tag) == set(sample.tags)
    author = max(sample.of_author, key=lambda user: len(sample.of_author[user]))
    of_author = rows_of(small_template, _LISTED.format("author_id = %s"), author, ON_A_PAGE)
    assert [tuple(article) for article in sample.of_author[author]] == of_author
    assert len(of_author) == ON_A_PAGE


def test_a_third_of_what_is_read_has_a_cover(sample: Dataset) -> None:
    covers = [article.cover for article in sample.articles]
    assert sum(map(bool, covers)) / len(covers) == pytest.approx(1 / 3, abs=0.015)
    assert set(covers) == {"", *DIGESTS}


def test_a_cover_that_is_not_ready_is_not_asked_for(small: str) -> None:
    execute(small, "UPDATE articles SET cover_state = 'pending' WHERE cover_digest = %s", DIGESTS[0])
    sample = dataset.read([small], secret="")
    assert {article.cover for article in sample.articles} == {"", *DIGESTS[1:]}


def test_two_servers_are_read_as_one(make_database: MakeDatabase, small_template: str, sample: Dataset) -> None:
    """The same rows on one server or on two give the same lists."""
    from data.importing.command import main

    one, two = make_database(), make_database()
    assert main(["--from", f"0-63={small_template}", "--to", f"0-31={one}", "--to", f"32-63={two}"]) == 0
    both = dataset.read([one, two], secret="")
    assert both.newest == sample.newest
    assert both.of_tag == sample.of_tag
    assert both.of_author == sample.of_author
    assert sorted(both.articles) == sorted(sample.articles)
    assert both.seeded == sample.seeded


def test_what_was_seeded_is_known_whoever_signed_up_since(small: str, sample: Dataset) -> None:
    assert sample.seeded is not None
    assert (sample.seeded["size"], sample.seeded["rows"]["users"]) == ("small", sample.counts["users"])
    execute(small, "INSERT INTO users (id, username, email, password_hash) VALUES (next_id(0), 'new', 'n@x.de', '')")
    tried = dataset.read([small], secret="")
    assert tried.counts["users"] == sample.counts["users"] + 1
    assert tried.seeded == sample.seeded
    execute(small, "COMMENT ON TABLE users IS NULL")
    assert dataset.read([small], secret="").seeded is None
