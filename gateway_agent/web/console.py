"""Puts the console together and runs it beside the agent.

On the machine itself a request whose ``Host`` is not one of ours is refused: a page of somebody
else that has this address under its own name must not read the console. With TLS the name of the
certificate does that.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib.metadata import version
from typing import Final

import msgspec
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from gateway_agent.config import WebConfig

from .access import HEALTH, Access, LogInGate, problem
from .actions import Actions
from .api import ROOT, Api
from .events import EventList, LogList
from .headers import SafeHeaders
from .health import HealthChecks
from .history import recorded
from .metrics import CONTENT_TYPE, Metrics
from .openapi import openapi
from .pages import pages
from .server import served
from .session_api import SessionApi
from .view import AgentView, WatchedAgent

HOSTS: Final = ["localhost", "127.0.0.1", "[::1]"]


def make_app(view: AgentView, api: Api, access: Access) -> Starlette:
    """Return the whole console as an ASGI application."""
    metrics, health, actions = Metrics(view), HealthChecks(view), Actions(view)
    document = msgspec.json.encode(openapi(api.endpoints, actions.kinds, version("tianfu-edge")))

    async def scrape(_: Request) -> Response:
        return Response(await metrics.text(), media_type=CONTENT_TYPE)

    async def described(_: Request) -> Response:
        return Response(document, media_type="application/json")

    checks = (health.livez, health.healthz, health.readyz)
    routes = [
        *api.routes(),
        *actions.routes(ROOT),
        *SessionApi(access).routes(),
        *pages(),
        Route(f"{ROOT}/openapi.json", described),
        Route("/metrics", scrape),
        *(Route(path, check) for path, check in zip(HEALTH, checks, strict=True)),
    ]
    web = view.config.web
    hosts = ["*"] if access.is_tls else [*HOSTS, "" if web is None else web.host]
    return Starlette(
        routes=routes,
        middleware=[
            Middleware(TrustedHostMiddleware, allowed_hosts=hosts, www_redirect=False),
            Middleware(SafeHeaders),
            Middleware(LogInGate, access),
        ],
        exception_handlers={HTTPException: _refused},
    )


async def _refused(_: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    return problem(error.detail, error.status_code, dict(error.headers or {}))


@asynccontextmanager
async def console(web: WebConfig, agent: WatchedAgent) -> AsyncIterator[int]:
    """Serve the console of ``agent`` while the block runs; yields its port, 0 if there is none."""
    view, events, log = AgentView(agent), EventList(), LogList()

    def look() -> None:
        progress = agent.progress
        events.look([*progress.problems, *progress.warnings], agent.alarms)

    with log.listening(), events.of_nodes.listening(), agent.progress.calling(look):
        async with recorded(view) as recorder:
            access = Access(web)
            app = make_app(view, Api(view, recorder, events, log, access), access)
            async with served(web, app) as port:
                yield port
