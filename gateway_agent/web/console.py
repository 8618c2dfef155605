"""Puts the console together and runs it beside the agent."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from gateway_agent.config import WebConfig

from .headers import SafeHeaders
from .health import HealthChecks
from .metrics import CONTENT_TYPE, Metrics
from .server import served
from .view import AgentView, WatchedAgent

HOSTS: Final = ["localhost", "127.0.0.1", "[::1]"]


def make_app(view: AgentView) -> Starlette:
    """Return the whole console as an ASGI application."""
    metrics, health = Metrics(view), HealthChecks(view)

    async def scrape(_: Request) -> Response:
        return Response(metrics.text(), media_type=CONTENT_TYPE)

    routes = [
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
    view = AgentView(agent)
    async with served(web, make_app(view)) as port:
        yield port
