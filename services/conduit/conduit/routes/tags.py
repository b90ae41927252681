"""Tags in use."""

from fastapi import APIRouter, Request, Response

from conduit.http import answer, describe, services
from conduit.schemas import TagsBody

router = APIRouter(tags=["tags"])


@router.get("/tags", openapi_extra=describe(None, TagsBody, open_to_all=True))
def show(request: Request) -> Response:
    return answer(TagsBody(services(request).reads.tags()))
