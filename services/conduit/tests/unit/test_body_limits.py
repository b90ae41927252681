"""How large a body may be, by its path."""

import pytest

from conduit.main import MAX_BODY_BYTES, _max_body_bytes
from conduit.routes.cover_routes import MAX_UPLOAD_BYTES
from conduit.routing.body import LARGE_BYTES


@pytest.mark.parametrize(
    ("path", "most"),
    [
        ("/api/articles/a-1/cover", MAX_UPLOAD_BYTES),
        ("/api/articles/cover", MAX_BODY_BYTES),  # an article's own address, of JSON
        ("/api/articles/a/b/cover", MAX_BODY_BYTES),
        ("/api/articles", MAX_BODY_BYTES),
        ("/api/users/login", LARGE_BYTES),
    ],
)
def test_only_a_cover_may_be_as_large_as_a_photograph(path: str, most: int) -> None:
    assert _max_body_bytes(path) == most
