"""The dataset before any database sees it: laws, sizes, text, and that it is the same every time."""

import math
import random
import re
from collections import Counter

import pytest
from argon2 import PasswordHasher

from conduit import ids, models
from data.seed import prose, sizes, vocabulary
from data.seed.population import Population, populate
from data.seed.powerlaw import PowerLaw, zipf
from data.seed.rows import COLUMNS, Rows, password_hash
from data.seed.sizes import SIZES
from data.tests.support import DIGESTS, digest

# Raise sizes.VERSION with these: servers that hold the old rows must not be told that they hold the new ones.
SMALL_DIGEST = "5607b28da476b6422ece3f158d7072aebf4264b39464df70f8e604d4a3755f54"


@pytest.fixture(scope="module")
def small_plan() -> Population:
    return populate(SIZES["small"])


@pytest.fixture(scope="module")
def medium_plan() -> Population:
    return populate(SIZES["medium"])


@pytest.mark.parametrize(("mean", "exponent", "cap"), [(10, 2.4, 300), (5, 2.1, 300), (2, 2.5, 60)])
def test_a_power_law_has_its_mean_its_bound_and_its_slope(mean: float, exponent: float, cap: int) -> None:
    law = PowerLaw(mean, exponent, cap)
    draws = Counter(law.quantile((i + 0.5) / 200_000) for i in range(200_000))
    assert law.mean == pytest.approx(mean, rel=1e-6)
    assert sum(k * n for k, n in draws.items()) / 200_000 == pytest.approx(mean, rel=0.01)
    assert max(draws) <= cap
    near, far = 2, cap // 4
    slope = math.log(draws[far] / draws[near]) / math.log((far + law.shift) / (near + law.shift))
    assert slope == pytest.approx(-exponent, rel=0.1)


def test_every_count_is_reachable_at_the_ends_of_a_power_law() -> None:
    law = PowerLaw(2, 2.5, 60)
    assert law.quantile(0.0) == 0
    assert law.quantile(math.nextafter(1.0, 0.0)) == 60


def test_zipf_gives_rank_two_half_of_rank_one() -> None:
    shares = zipf(100, 1.0)
    assert shares[1] - shares[0] == pytest.approx(shares[0] / 2)
    assert shares[-1] == pytest.approx(1)


def test_the_small_dataset_is_the_same_to_the_byte() -> None:
    assert digest(Rows(populate(SIZES["small"]), DIGESTS)) == SMALL_DIGEST


def test_columns_are_those_of_the_schema() -> None:
    for table in (*models.DIRECTORY_TABLES, *models.OWNED_TABLES):
        assert set(COLUMNS[table.name]) == {column.name for column in table.columns}, table.name


@pytest.mark.parametrize("size", ["small", "medium"])
def test_a_size_has_about_what_it_promises(size: str, request: pytest.FixtureRequest) -> None:
    plan: Population = request.getfixturevalue(f"{size}_plan")
    users, articles = plan.size.users, len(plan.article_ids)
    assert articles / users == pytest.approx(10, rel=0.02)
    assert sum(plan.favorites_counts) / articles == pytest.approx(5, rel=0.05)
    assert sum(plan.comments_counts) / articles == pytest.approx(2, rel=0.05)
    assert sum(plan.follows_counts) / users == pytest.approx(10, rel=0.02)
    assert sum(1 for tag in plan.tags if tag != 255) / articles == pytest.approx(2.35, abs=0.1)


def test_what_a_request_meets_does_not_grow_with_the_size(small_plan: Population, medium_plan: Population) -> None:
    def largest(counts: list[int]) -> float:
        """The mean of the largest hundredth: what decides the cost of the heaviest feeds."""
        top = sorted(counts)[-len(counts) // 100 :]
        return sum(top) / len(top)

    for what in ("follows_counts", "articles_counts", "comments_counts", "favorites_counts"):
        small, medium = list(getattr(small_plan, what)), list(getattr(medium_plan, what))
        assert largest(medium) == pytest.approx(largest(small), rel=0.1), what
    assert max(medium_plan.follows_counts) <= sizes.FOLLOWS_OF_A_READER.cap
    assert sum(1 for count in small_plan.follows_counts if count > 100) >= 10


def test_ids_carry_owner_shards_and_times_before_the_reference(medium_plan: Population) -> None:
    plan = medium_plan
    assert len(set(plan.user_ids)) == len(plan.user_ids)
    assert len(set(plan.article_ids)) == len(plan.article_ids)
    assert list(plan.article_ids) == sorted(plan.article_ids)
    for number in range(0, len(plan.article_ids), 97):
        article_id, author = plan.article_ids[number], plan.authors[number]
        assert ids.shard_of(article_id) == ids.shard_of(plan.user_ids[author])
        assert plan.user_ids[author] >> 12 < article_id >> 12 < sizes.SPAN_MS
    shards = Counter(ids.shard_of(user_id) for user_id in plan.user_ids)
    expected = plan.size.users / ids.SHARDS
    chi_square = sum((shards[shard] - expected) ** 2 / expected for shard in range(ids.SHARDS))
    assert chi_square < 104  # 63 degrees of freedom, 99.9 %


def test_names_are_unique_and_some_are_not_ascii(medium_plan: Population) -> None:
    assert len(set(medium_plan.names)) == medium_plan.size.users
    foreign = sum(1 for name in medium_plan.names if not name.isascii())
    assert 0.01 < foreign / medium_plan.size.users < 0.05


def test_tags_are_the_same_at_every_size_and_popular_by_zipf(medium_plan: Population, small_plan: Population) -> None:
    assert len(set(vocabulary.TAGS)) == len(vocabulary.TAGS) == 120
    for plan in (small_plan, medium_plan):
        used = Counter(tag for tag in plan.tags if tag != 255)
        assert len(used) == 120
        first, tenth = (used[vocabulary.TAGS_BY_POPULARITY[rank]] for rank in (0, 9))
        assert 4 < first / tenth < 12
    assert all(small_plan.article_tags(n) == sorted(set(small_plan.article_tags(n))) for n in range(500))


def test_text_reads_like_text_and_is_not_stored_out_of_line() -> None:
    rng = random.Random(1)
    for shelf in prose.shelves():
        bodies = [shelf.body(rng) for _ in range(50)]
        assert 850 < sum(map(len, bodies)) / 50 < 1100
        assert max(map(len, bodies)) < prose.BODY_BYTES_AT_MOST
        text = bodies[0].decode()
        assert "{" not in text
        assert all(re.fullmatch(r"[A-Z].*[.?!]", part, re.DOTALL) for part in text.split("\n\n"))
        assert all("{" not in title for title in shelf.titles)


def test_all_passwords_are_the_one_that_is_documented() -> None:
    hashed = password_hash().decode()
    assert hashed.startswith("$argon2id$v=19$m=19456,t=2,p=1$")
    assert PasswordHasher().verify(hashed, sizes.PASSWORD)
    assert password_hash().decode() == hashed
