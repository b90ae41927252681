"""Reports on the signed-in author's audience."""

from fastapi import APIRouter, Response

from conduit import reports
from conduit.dependencies import CurrentUser, DatabaseDep, MediaDep, RateLimitedUser, RowId, TasksDep
from conduit.routing.compiled_route import CompiledRoute
from conduit.routing.responses import errors, file_of
from conduit.schemas import ReportBody

router = APIRouter(prefix="/api/user/reports", tags=["reports"], route_class=CompiledRoute)


@router.post("", status_code=201, responses=errors(401, 429, 503))
def request_report(user: RateLimitedUser, database: DatabaseDep, media: MediaDep, tasks: TasksDep) -> ReportBody:
    """Request a report on one's own audience. Ten are kept, for thirty days."""
    return ReportBody(reports.request(database, media, tasks, user))


@router.get("/{report_id}", responses=errors(401, 404, 422, 503))
def get_report(report_id: RowId, user: CurrentUser, database: DatabaseDep) -> ReportBody:
    """The state of one's own report."""
    return ReportBody(reports.show(database, user, report_id))


@router.get(
    "/{report_id}/audience.csv",
    response_class=Response,
    responses=file_of("text/csv") | errors(401, 404, 422, 503),
)
def get_report_file(report_id: RowId, user: CurrentUser, database: DatabaseDep, media: MediaDep) -> Response:
    """The file of one's own report: who followed, favourited or commented."""
    content = reports.file(database, media, user, report_id)
    headers = {"Content-Disposition": 'attachment; filename="audience.csv"', "Cache-Control": "private, no-store"}
    return Response(content, media_type="text/csv; charset=utf-8", headers=headers)
