"""Tags in use."""

from starlette.requests import Request
from starlette.responses import Response

from conduit.http import answer, services
from conduit.routing import Endpoint
from conduit.schemas import TagsBody


def show(request: Request) -> Response:
    """All tags in use, sorted."""
    return answer(TagsBody(services(request).reads.tags()))


ENDPOINTS = (Endpoint("GET", "/api/tags", show, "tags", gives=TagsBody),)
