"""Signing up, signing in, and changing a user."""

import jwt
import pytest

from conduit.ids import shard_of
from conduit_testing.client import PASSWORD, Api, Caller, Person, errors, fresh

USER_FIELDS = {"email", "token", "username", "bio", "image"}


def test_signing_up_answers_201_with_the_user_and_a_token_that_works(api: Api) -> None:
    name, email = fresh(), f"{fresh()}@example.com"
    response = api.post("/users", {"user": {"username": name, "email": email, "password": PASSWORD}})
    assert response.status_code == 201
    user = response.json()["user"]
    assert set(user) == USER_FIELDS
    assert (user["username"], user["email"], user["bio"], user["image"]) == (name, email, None, None)
    assert Caller(api.http, user["token"]).get("/user").json()["user"] == user


def test_signing_in_answers_200_with_a_token_that_works(api: Api, jo: Person) -> None:
    jo.put("/user", {"user": {"bio": "about me", "image": "https://i.example/j.png"}})
    response = api.log_in(jo.email)
    assert response.status_code == 200
    user = response.json()["user"]
    assert set(user) == USER_FIELDS
    assert (user["username"], user["email"]) == (jo.username, jo.email)
    assert Caller(api.http, user["token"]).get("/user").json()["user"] == user


def test_a_wrong_password_and_an_unknown_address_answer_the_same_401(api: Api, jo: Person) -> None:
    wrong, unknown = api.log_in(jo.email, "not my password"), api.log_in(f"{fresh()}@example.com")
    assert wrong.status_code == unknown.status_code == 401
    assert wrong.json() == unknown.json() == {"errors": {"credentials": ["invalid"]}}


@pytest.mark.parametrize("field", ["username", "email", "password"])
@pytest.mark.parametrize("value", ["", "   "])
def test_a_blank_field_at_sign_up_is_named(api: Api, field: str, value: str) -> None:
    user = {"username": fresh(), "email": f"{fresh()}@example.com", "password": PASSWORD, field: value}
    response = api.post("/users", {"user": user})
    assert response.status_code == 422
    assert response.json() == {"errors": {field: ["can't be blank"]}}


def test_all_blank_fields_are_reported_at_once(api: Api) -> None:
    blank = ["can't be blank"]
    assert errors(api.post("/users", {"user": {}})) == {"username": blank, "email": blank, "password": blank}
    assert errors(api.post("/users/login", {"user": {}})) == {"email": blank, "password": blank}


@pytest.mark.parametrize("email", ["nobody", "a@", "@example.com", "a b@example.com", "a@b@example.com", "a@-.com"])
def test_an_invalid_address_is_refused(api: Api, email: str) -> None:
    response = api.post("/users", {"user": {"username": fresh(), "email": email, "password": PASSWORD}})
    assert response.status_code == 422
    assert response.json() == {"errors": {"email": ["is invalid"]}}


def test_a_taken_name_or_address_is_409_and_named(api: Api, jo: Person) -> None:
    taken = ["has already been taken"]
    same_name = {"username": jo.username, "email": f"{fresh()}@example.com", "password": PASSWORD}
    same_address = {"username": fresh(), "email": jo.email, "password": PASSWORD}
    both = {"username": jo.username, "email": jo.email, "password": PASSWORD}
    for user, expected in (
        (same_name, {"username": taken}),
        (same_address, {"email": taken}),
        (both, {"username": taken, "email": taken}),
    ):
        response = api.post("/users", {"user": user})
        assert response.status_code == 409
        assert response.json() == {"errors": expected}


def test_a_refused_sign_up_releases_its_names(api: Api, jo: Person) -> None:
    name = fresh()
    assert api.post("/users", {"user": {"username": name, "email": jo.email, "password": PASSWORD}}).status_code == 409
    assert api.sign_up(username=name).username == name


def test_the_case_of_an_address_is_ignored(api: Api) -> None:
    local = fresh()
    api.sign_up(email=f"{local.upper()}@Example.COM")
    assert api.log_in(f"{local}@example.com").status_code == 200
    assert api.log_in(f" {local.title()}@EXAMPLE.com ").status_code == 200
    again = {"username": fresh(), "email": f"{local}@EXAMPLE.com", "password": PASSWORD}
    assert errors(api.post("/users", {"user": again})) == {"email": ["has already been taken"]}


def test_an_international_address_signs_in_as_it_was_typed(api: Api) -> None:
    typed = f"{fresh()}@xn--mller-kva.example.com"
    assert api.sign_up(email=typed).email.endswith("@müller.example.com")
    assert api.log_in(typed).status_code == 200
    assert api.log_in(typed.replace("xn--mller-kva", "MÜLLER")).status_code == 200


def test_a_change_keeps_what_it_leaves_out(api: Api, jo: Person) -> None:
    first = jo.put("/user", {"user": {"bio": "I work at statefarm", "image": "https://i.example/j.png"}})
    assert first.status_code == 200
    assert first.json()["user"] == {
        "email": jo.email, "username": jo.username, "token": jo.token,
        "bio": "I work at statefarm", "image": "https://i.example/j.png",
    }  # fmt: skip
    second = jo.put("/user", {"user": {"image": "https://i.example/2.png"}}).json()["user"]
    assert (second["bio"], second["image"]) == ("I work at statefarm", "https://i.example/2.png")
    assert jo.get("/user").json()["user"] == second
    third = jo.put("/user", {"user": {"bio": "another"}}).json()["user"]
    assert (third["bio"], third["image"]) == ("another", "https://i.example/2.png")
    assert api.log_in(jo.email).json()["user"]["bio"] == "another"


@pytest.mark.parametrize("nothing", ["", None])
def test_bio_and_image_can_be_removed(jo: Person, nothing: str | None) -> None:
    jo.put("/user", {"user": {"bio": "b", "image": "i"}})
    user = jo.put("/user", {"user": {"bio": nothing, "image": nothing}}).json()["user"]
    assert (user["bio"], user["image"]) == (None, None)
    assert jo.get("/user").json()["user"] == user


def test_a_rename_moves_the_profile_and_frees_the_old_name(api: Api, jo: Person) -> None:
    slug, old, new = jo.slug(), jo.username, fresh()
    user = jo.put("/user", {"user": {"username": new}}).json()["user"]
    assert user["username"] == new
    assert api.get(f"/profiles/{new}").status_code == 200
    assert api.get(f"/profiles/{old}").status_code == 404
    assert api.article(slug)["author"]["username"] == new
    assert api.articles(author=new) == ([slug], 1)
    assert api.articles(author=old) == ([], 0)
    assert api.sign_up(username=old).username == old
    assert api.get(f"/profiles/{new}").json()["profile"]["username"] == new


def test_a_new_address_signs_in_and_the_old_one_is_free(api: Api, jo: Person) -> None:
    old, new = jo.email, f"{fresh()}@example.com"
    assert jo.put("/user", {"user": {"email": new}}).json()["user"]["email"] == new
    assert api.log_in(new).status_code == 200
    assert api.log_in(old).status_code == 401
    assert api.sign_up(email=old).email == old


def test_of_name_and_address_the_one_that_is_not_changed_stays_taken_and_found(api: Api, jo: Person) -> None:
    address, name = f"{fresh()}@example.com", fresh()
    assert jo.put("/user", {"user": {"email": address}}).status_code == 200
    assert api.get(f"/profiles/{jo.username}").status_code == 200
    assert jo.put("/user", {"user": {"username": name}}).status_code == 200
    assert api.log_in(address).status_code == 200
    taken = {"username": name, "email": address, "password": PASSWORD}
    assert set(errors(api.post("/users", {"user": taken}))) == {"username", "email"}


def test_users_are_spread_over_the_logical_shards(api: Api) -> None:
    tokens = [api.sign_up().token for _ in range(8)]
    user_ids = [int(jwt.decode(token or "", options={"verify_signature": False})["sub"]) for token in tokens]
    assert len({shard_of(user_id) for user_id in user_ids}) > 1


def test_renaming_back_and_forth_leaves_one_name_taken(api: Api, jo: Person) -> None:
    first, second = jo.username, fresh()
    for name in (second, first, second, first):
        assert jo.put("/user", {"user": {"username": name}}).status_code == 200
    assert api.get(f"/profiles/{first}").status_code == 200
    assert api.sign_up(username=second).username == second
    other = {"username": first, "email": f"{fresh()}@example.com", "password": PASSWORD}
    assert errors(api.post("/users", {"user": other})) == {"username": ["has already been taken"]}


def test_a_taken_name_or_address_refuses_the_whole_change(api: Api, jo: Person, ann: Person) -> None:
    taken = ["has already been taken"]
    response = jo.put("/user", {"user": {"username": ann.username, "bio": "never stored"}})
    assert response.status_code == 409
    assert response.json() == {"errors": {"username": taken}}
    half = jo.put("/user", {"user": {"username": (free := fresh()), "email": ann.email}})
    assert half.json() == {"errors": {"email": taken}}
    assert api.sign_up(username=free).username == free
    user = jo.get("/user").json()["user"]
    assert (user["username"], user["email"], user["bio"]) == (jo.username, jo.email, None)
    assert api.log_in(ann.email).json()["user"]["username"] == ann.username


def test_a_change_to_the_same_values_is_no_conflict(jo: Person) -> None:
    same = {"username": jo.username, "email": jo.email}
    assert jo.put("/user", {"user": same}).json()["user"]["username"] == jo.username


def test_a_new_password_is_the_only_one_that_signs_in(api: Api, jo: Person) -> None:
    assert jo.put("/user", {"user": {"password": "another horse"}}).status_code == 200
    assert api.log_in(jo.email, "another horse").status_code == 200
    assert api.log_in(jo.email).status_code == 401


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"username": ""}, "username"),
        ({"username": None}, "username"),
        ({"email": " "}, "email"),
        ({"email": "nobody"}, "email"),
        ({"password": ""}, "password"),
        ({"bio": 5}, "bio"),
        ({"bio": "x" * 5_001}, "bio"),
        ({"image": ["x"]}, "image"),
        ({}, "user"),
    ],
)
def test_an_invalid_change_names_its_field(jo: Person, changes: dict[str, object], field: str) -> None:
    response = jo.put("/user", {"user": changes})
    assert response.status_code == 422
    assert list(errors(response)) == [field]


@pytest.mark.parametrize("name", ["a/b", ".", "..", "line\nbreak", "tab\there", "x" * 65])
def test_a_name_that_does_not_fit_into_a_path_is_refused(api: Api, name: str) -> None:
    response = api.post("/users", {"user": {"username": name, "email": f"{fresh()}@example.com", "password": PASSWORD}})
    assert response.status_code == 422
    assert list(errors(response)) == ["username"]
