"""Tags in use."""

from fastapi import APIRouter

from conduit.dependencies import ReadsDep
from conduit.routing.compiled_route import CompiledRoute
from conduit.routing.responses import errors
from conduit.schemas import TagsBody

router = APIRouter(prefix="/api/tags", tags=["tags"], route_class=CompiledRoute)


@router.get("", responses=errors(503))
def get_tags(reads: ReadsDep) -> TagsBody:
    """All tags in use, sorted."""
    return TagsBody(reads.tags())
