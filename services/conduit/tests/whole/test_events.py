"""What the app tells its caches after each change, over HTTP: who and what changed, and nothing of what was refused."""

from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise

import httpx
import pytest
from msgspec.structs import replace

from conduit.events import (
    ArticleChanged,
    ArticleDeleted,
    ArticleFavorited,
    ArticlePublished,
    AuthorFollowed,
    CommentAdded,
    CommentDeleted,
    Event,
    UserChanged,
    UsernameReleased,
)
from conduit.tokens import Tokens
from conduit_testing.client import Api, Person, fresh, id_of
from conduit_testing.deployments import (
    SECRET,
    NewDatabase,
    database_on_one_server,
    migrated,
    served,
    settings_for,
)
from conduit_testing.pictures import png, upload

Committed = Callable[[], list[Event]]


class Recorder:
    """A listener that keeps what it is told in a list."""

    def __init__(self, kept: list[Event]) -> None:
        self._kept = kept

    def __call__(self, events: Sequence[Event]) -> None:
        self._kept.extend(events)


@pytest.fixture(scope="module")
def events() -> list[Event]:
    return []


@pytest.fixture(scope="module")
def http(
    events: list[Event], new_database: NewDatabase, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[httpx.Client]:
    url = migrated(new_database)
    database = database_on_one_server(url, [Recorder(events)])
    database.open()
    settings = settings_for(url, media_dir=tmp_path_factory.mktemp("media"))
    with served(settings, database) as base_url, httpx.Client(base_url=base_url, timeout=20) as http:
        yield http


@pytest.fixture
def api(http: httpx.Client) -> Api:
    return Api(http)


@pytest.fixture
def jo(api: Api) -> Person:
    return api.sign_up()


@pytest.fixture
def ann(api: Api) -> Person:
    return api.sign_up()


@pytest.fixture
def committed(events: list[Event], jo: Person, ann: Person) -> Committed:
    """Call it for what was told since the last call, or since jo and ann signed up."""

    def told() -> list[Event]:
        """Without their positions, in whose order they are."""
        since = events[:]
        events.clear()
        positions = [event.position for event in since if event.position]
        assert positions == sorted(positions)
        return [replace(event, position=0) for event in since]

    events.clear()
    return told


def user_id(person: Person) -> int:
    assert person.token
    return Tokens(SECRET, 1).user_id(person.token)


def test_a_published_article_is_told_with_its_author_and_tags(jo: Person, committed: Committed) -> None:
    article = id_of(jo.slug(tagList=["b", "a"]))
    assert committed() == [ArticlePublished(article_id=article, author_id=user_id(jo), tags=("a", "b"))]


def test_a_changed_article_is_told_with_the_tags_that_it_got_or_lost(jo: Person, committed: Committed) -> None:
    slug = jo.slug(tagList=["kept", "lost"])
    committed()
    for changes, tags in (
        ({"tagList": ["got", "kept"]}, ("got", "lost")),
        ({"body": "another"}, ()),
        ({"tagList": []}, ("got", "kept")),
    ):
        assert jo.put(f"/articles/{slug}", {"article": changes}).status_code == 200
        assert committed() == [ArticleChanged(article_id=id_of(slug), author_id=user_id(jo), tags=tags)]
        assert jo.put(f"/articles/{slug}", {"article": changes}).status_code == 200
        assert committed() == [], "it was so already"


def test_every_step_of_a_cover_is_told_with_the_articles_author(jo: Person, committed: Committed) -> None:
    slug = jo.slug()
    committed()
    told = ArticleChanged(article_id=id_of(slug), author_id=user_id(jo))
    jo.cover(slug, upload())
    assert committed() == [told, told]  # pending, ready
    jo.upload(slug, png(40, 40, b"\x09" * 8_000))
    assert set(committed()) == {told}
    jo.delete(f"/articles/{slug}/cover")
    assert committed() == [told]


def test_a_deleted_article_is_told_with_its_author_and_tags(jo: Person, committed: Committed) -> None:
    slug = jo.slug(tagList=["b", "a"])
    committed()
    jo.delete(f"/articles/{slug}")
    assert committed() == [ArticleDeleted(article_id=id_of(slug), author_id=user_id(jo), tags=("a", "b"))]


def test_a_favourite_is_told_with_who_marked_the_article(jo: Person, ann: Person, committed: Committed) -> None:
    slug = jo.slug()
    committed()
    ann.favorite(slug)
    mark = id_of(slug), user_id(jo), user_id(ann)
    assert committed() == [ArticleFavorited(*mark, favorited=True, favorites_count=1)]
    ann.favorite(slug)
    assert committed() == [], "it was one already"
    for told in ([ArticleFavorited(*mark, favorited=False, favorites_count=0)], []):
        ann.delete(f"/articles/{slug}/favorite")
        assert committed() == told


def test_a_new_and_a_deleted_comment_are_told_with_their_article(jo: Person, ann: Person, committed: Committed) -> None:
    slug = jo.slug()
    committed()
    comment = ann.comment(slug)
    written = comment["id"], user_id(ann), comment["body"], comment["createdAt"], comment["updatedAt"]
    assert committed() == [CommentAdded(id_of(slug), *written)]
    ann.delete(f"/articles/{slug}/comments/{comment['id']}")
    assert committed() == [CommentDeleted(id_of(slug), comment["id"])]


def test_each_change_of_a_row_has_a_higher_position(jo: Person, ann: Person, events: list[Event]) -> None:
    slug = jo.slug(tagList=["a"])
    ann.favorite(slug)
    ann.delete(f"/articles/{slug}/favorite")
    comment = ann.comment(slug)
    ann.delete(f"/articles/{slug}/comments/{comment['id']}")
    jo.put(f"/articles/{slug}", {"article": {"tagList": []}})
    jo.delete(f"/articles/{slug}")
    kinds = (ArticlePublished, ArticleFavorited, CommentAdded, CommentDeleted, ArticleChanged, ArticleDeleted)
    positions = [event.position for event in events if isinstance(event, kinds) and event.article_id == id_of(slug)]
    assert len(positions) == 7
    assert all(earlier < later for earlier, later in pairwise(positions)), positions


def test_a_follow_is_told_with_both_users(jo: Person, ann: Person, committed: Committed) -> None:
    follower, followee = user_id(jo), user_id(ann)
    for following, ask in ((True, jo.post), (False, jo.delete)):
        assert ask(f"/profiles/{ann.username}/follow").status_code == 200
        assert committed() == [AuthorFollowed(follower, followee, following)]
        assert ask(f"/profiles/{ann.username}/follow").status_code == 200
        assert committed() == [], "it was so already"


def test_a_renamed_user_is_told_with_both_names(api: Api, committed: Committed) -> None:
    person = api.sign_up()
    assert committed() == [UserChanged(user_id=user_id(person), username=person.username)]
    name = fresh()
    person.put("/user", {"user": {"username": name}})
    assert committed() == [
        UserChanged(user_id=user_id(person), username=name, former_username=person.username),
        UsernameReleased(username=person.username),
    ]


def test_a_changed_profile_is_told_and_what_it_does_not_show_is_not(api: Api, committed: Committed) -> None:
    person = api.sign_up()
    committed()
    told = UserChanged(user_id(person), person.username, former_username=person.username)
    for changes, expected in (
        ({"bio": "a bio"}, [told]),
        ({"bio": "a bio", "username": person.username}, []),
        ({"email": f"{fresh()}@example.com"}, []),
        ({"password": "another one"}, []),
        ({"bio": ""}, [told]),
    ):
        assert person.put("/user", {"user": changes}).status_code == 200
        assert committed() == expected, changes


def test_what_is_refused_is_not_told(jo: Person, ann: Person, committed: Committed) -> None:
    slug = jo.slug()
    comment = jo.comment(slug)
    committed()
    for response in (
        ann.put(f"/articles/{slug}", {"article": {"body": "mine"}}),
        ann.delete(f"/articles/{slug}"),
        ann.delete(f"/articles/{slug}/comments/{comment['id']}"),
        ann.post("/articles/nothing-1/favorite"),
        ann.post("/articles/nothing-1/comments", {"comment": {"body": "x"}}),
        ann.post("/profiles/nobody-of-this-name/follow"),
        ann.put("/user", {"user": {"username": jo.username}}),
    ):
        assert response.status_code in (403, 404, 409), response.text
    assert committed() == []
