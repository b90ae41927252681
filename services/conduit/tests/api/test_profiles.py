"""Profiles, and following them."""

import pytest

from conduit_testing.client import Api, Person, errors, fresh


def test_a_profile_can_be_read_without_a_token(api: Api, jo: Person) -> None:
    jo.put("/user", {"user": {"bio": "about me", "image": "https://i.example/j.png"}})
    response = api.get(f"/profiles/{jo.username}")
    assert response.status_code == 200
    assert response.json() == {
        "profile": {
            "username": jo.username,
            "bio": "about me",
            "image": "https://i.example/j.png",
            "following": False,
        }
    }


def test_only_the_follower_sees_the_follow_until_it_ends(api: Api, jo: Person, ann: Person) -> None:
    path = f"/profiles/{ann.username}"
    answer = jo.post(f"{path}/follow")
    assert answer.status_code == 200
    assert answer.json()["profile"] == {"username": ann.username, "bio": None, "image": None, "following": True}
    assert jo.get(path).json()["profile"]["following"] is True
    assert api.get(path).json()["profile"]["following"] is False
    assert ann.get(f"/profiles/{jo.username}").json()["profile"]["following"] is False
    ended = jo.delete(f"{path}/follow")
    assert ended.status_code == 200
    assert ended.json()["profile"]["following"] is False
    assert jo.get(path).json()["profile"]["following"] is False


def test_following_and_unfollowing_twice_changes_nothing(jo: Person, ann: Person) -> None:
    path = f"/profiles/{ann.username}/follow"
    assert [jo.post(path).json()["profile"]["following"] for _ in range(2)] == [True, True]
    assert [jo.delete(path).json()["profile"]["following"] for _ in range(2)] == [False, False]


def test_a_follow_survives_a_rename(jo: Person, ann: Person) -> None:
    jo.follow(ann)
    name = fresh()
    ann.put("/user", {"user": {"username": name}})
    assert jo.get(f"/profiles/{name}").json()["profile"]["following"] is True


def test_users_cannot_follow_themselves(jo: Person) -> None:
    response = jo.post(f"/profiles/{jo.username}/follow")
    assert response.status_code == 422
    assert errors(response) == {"username": ["is your own"]}


@pytest.mark.parametrize(("method", "suffix"), [("GET", ""), ("POST", "/follow"), ("DELETE", "/follow")])
def test_an_unknown_profile_is_404(jo: Person, method: str, suffix: str) -> None:
    response = jo.call(method, f"/profiles/{fresh('nobody')}{suffix}")
    assert response.status_code == 404
    assert response.json() == {"errors": {"profile": ["not found"]}}
