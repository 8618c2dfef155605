"""Health checks over HTTP: 200 while data flows, 503 with the reasons where it does not.

``/livez`` is red only if a restart of the agent may help, so a supervisor may act on it.
``/healthz`` is red within 30 s of any fault that stops data, and ``/readyz`` also until a start has
brought data from every device to every uplink. A platform with ``required = false`` that is down is
a warning in both, and red in none. Whoever has not logged in where that is needed gets the result
without the reasons.
"""

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from gateway_agent.status import HealthProblem

from .access import visitor_of
from .view import AgentView


class HealthReport(msgspec.Struct, frozen=True, kw_only=True):
    """The answer of a health check."""

    ok: bool
    problems: list[HealthProblem] = []  # where data stops now
    warnings: list[HealthProblem] = []  # uplinks with ``required = false`` that get nothing
    starting: list[str] = []  # what a start still waits for (``/readyz``)


class HealthChecks:
    """Answers the three checks."""

    def __init__(self, view: AgentView) -> None:
        self._progress = view.progress

    async def livez(self, request: Request) -> Response:
        """Answer whether the agent itself works."""
        own = [problem for problem in self._progress.problems if problem.own]
        return _answer(request, HealthReport(ok=self._progress.is_alive, problems=own))

    async def healthz(self, request: Request) -> Response:
        """Answer whether data flows."""
        problems = self._progress.problems
        is_ok = self._progress.is_alive and not problems
        report = HealthReport(ok=is_ok, problems=problems, warnings=self._progress.warnings)
        return _answer(request, report)

    async def readyz(self, request: Request) -> Response:
        """Answer whether data flows and the start is over."""
        progress = self._progress
        is_ok = progress.is_alive and progress.is_ready
        report = HealthReport(
            ok=is_ok,
            problems=progress.problems,
            warnings=progress.warnings,
            starting=progress.starting[:20],
        )
        return _answer(request, report)


def _answer(request: Request, report: HealthReport) -> Response:
    if visitor_of(request) is None:
        report = HealthReport(ok=report.ok)
    body = msgspec.json.encode(report) + b"\n"
    return Response(body, 200 if report.ok else 503, media_type="application/json")
