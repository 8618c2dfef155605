"""Puts the console together and runs it beside the agent."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib.metadata import version
from typing import Final

import msgspec
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from gateway_agent.config import WebConfig

from .api import ROOT, Api
from .events import EventList, LogList
from .headers import SafeHeaders
from .health import HealthChecks
from .history import recorded
from .metrics import CONTENT_TYPE, Metrics
from .openapi import openapi
from .pages import pages
from .server import served
from .view import AgentView, WatchedAgent

HOSTS: Final = ["localhost", "127.0.0.1", "[::1]"]


def make_app(view: AgentView, api: Api) -> Starlette:
    """Return the whole console as an ASGI application."""
    metrics, health = Metrics(view), HealthChecks(view)
    document = msgspec.json.encode(openapi(api.endpoints, version("tianfu-edge")))

    async def scrape(_: Request) -> Response:
        return Response(metrics.text(), media_type=CONTENT_TYPE)

    async def described(_: Request) -> Response:
        return Response(document, media_type="application/json")

    routes = [
        *api.routes(),
        *pages(),
        Route(f"{ROOT}/openapi.json", described),
        Route("/metrics", scrape),
        Route("/livez", health.livez),
        Route("/healthz", health.healthz),
        Route("/readyz", health.readyz),
    ]
    hosts = [*HOSTS, view.config.web.host if view.config.web is not None else ""]
    return Starlette(
        routes=routes,
        middleware=[
            Middleware(TrustedHostMiddleware, allowed_hosts=hosts, www_redirect=False),
            Middleware(SafeHeaders),
        ],
    )


@asynccontextmanager
async def console(web: WebConfig, agent: WatchedAgent) -> AsyncIterator[int]:
    """Serve the console of ``agent`` while the block runs; yields its port, 0 if there is none."""
    view, events, log = AgentView(agent), EventList(), LogList()

    def look() -> None:
        progress = agent.progress
        events.look([*progress.problems, *progress.warnings], agent.alarms)

    with log.listening(), agent.progress.calling(look):
        async with recorded(view) as recorder:
            app = make_app(view, Api(view, recorder, events, log))
            async with served(web, app) as port:
                yield port
