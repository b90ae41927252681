"""Reports of the signed-in author's audience."""

from starlette.requests import Request
from starlette.responses import Response

from conduit import reports
from conduit.http import REPORT_ID, answer, services, signed_in, writer_of
from conduit.routing import Endpoint, File
from conduit.schemas import ReportBody


def request(request: Request) -> Response:
    """Ask for a report on one's own audience."""
    viewer = writer_of(request)
    use = services(request)
    return answer(ReportBody(reports.request(use.database, use.tasks, viewer)), 201)


def show(request: Request) -> Response:
    """How far one's own report is."""
    viewer = signed_in(request)
    return answer(ReportBody(reports.show(services(request).database, viewer, _id(request))))


def file(request: Request) -> Response:
    """One's own report: who follows, favourited and commented."""
    viewer = signed_in(request)
    use = services(request)
    content = reports.file(use.database, use.media, viewer, _id(request))
    headers = {"Content-Disposition": 'attachment; filename="audience.csv"', "Cache-Control": "private, no-store"}
    return Response(content, media_type="text/csv; charset=utf-8", headers=headers)


def _id(request: Request) -> int:
    return REPORT_ID.read(request.path_params["report_id"])


_PATH = "/api/user/reports"
ENDPOINTS = (
    Endpoint("POST", _PATH, request, "reports", gives=ReportBody, status=201, signed_in=True),
    Endpoint("GET", f"{_PATH}/{{report_id}}", show, "reports", gives=ReportBody, signed_in=True),
    Endpoint("GET", f"{_PATH}/{{report_id}}/audience.csv", file, "reports", gives=File("text/csv"), signed_in=True),
)
