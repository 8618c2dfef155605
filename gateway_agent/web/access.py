"""Decides who may see and do what: one place that every request passes.

Without users in the configuration everybody on this machine may look, and nobody may change
anything. With users, only the page itself, its files and the bare result of a health check need no
log-in. A browser logs in by a form and has a cookie; a program that reads sends its name and
password as HTTP's Basic authentication.
"""

import base64
import binascii
from typing import Final, NamedTuple

from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from gateway_agent.config import WebConfig

from .log_in import LogInDesk, LogInError, TooManyLogIns
from .sessions import LASTS_S, LogInSession, Sessions
from .shapes import ApiProblem, encoded
from .users import Role, UserBook

HEALTH: Final = ("/livez", "/healthz", "/readyz")
SESSION: Final = "/api/v1/session"
_MAX_BASIC: Final = 600  # characters


class Visitor(NamedTuple):
    """Who asks. Without a session: somebody on this machine, where nobody has to log in."""

    name: str
    role: Role
    session: LogInSession | None = None

    @property
    def by(self) -> str:
        """Return the name for the log and the stream."""
        return f"console: {self.name}"


class Access:
    """The users, sessions and log-ins of one console."""

    def __init__(self, web: WebConfig) -> None:
        self.is_tls: Final = web.certificate is not None
        self.book: Final = None if web.users is None else UserBook(web.users)
        # A name with this prefix is taken by a browser over TLS and from this host alone.
        self._cookie: Final = "__Host-tianfu" if self.is_tls else "tianfu"
        if self.book is not None:
            self.sessions = Sessions(self.book)
            self.desk = LogInDesk(self.book)

    async def visitor(self, request: Request) -> Visitor | None:
        """Return who asks; None: nobody who has logged in. TooManyLogIns."""
        if self.book is None:
            return Visitor("", "viewer")
        session = self.sessions.of(request.cookies.get(self._cookie, ""))
        basic = request.headers.get("authorization", "")
        if session is None and basic and request.method in ("GET", "HEAD"):
            session = self.sessions.of(basic) or await self._log_in(basic, address_of(request))
        return None if session is None else Visitor(session.user.name, session.user.role, session)

    async def _log_in(self, basic: str, address: str) -> LogInSession | None:
        scheme, _, rest = basic.partition(" ")
        if scheme.lower() != "basic" or len(rest) > _MAX_BASIC:
            return None
        try:
            name, _, password = base64.b64decode(rest, validate=True).decode().partition(":")
            user = await self.desk.log_in(name, password, address)
        except (binascii.Error, UnicodeDecodeError, LogInError):
            return None
        return self.sessions.begin(user, basic)[1]

    def is_open(self, visitor: Visitor) -> bool:
        """Return whether a visitor may go on looking."""
        return visitor.session is None or self.sessions.is_open(visitor.session)

    def give_cookie(self, response: Response, secret: str) -> None:
        """Let a browser keep the secret of its session: out of reach of scripts and other sites."""
        response.set_cookie(
            self._cookie,
            secret,
            max_age=int(LASTS_S),
            secure=self.is_tls,
            httponly=True,
            samesite="strict",
        )

    def end(self, request: Request, response: Response) -> None:
        """End the session of a request."""
        if self.book is not None:
            self.sessions.end(request.cookies.get(self._cookie, ""))
        response.delete_cookie(self._cookie, secure=self.is_tls, httponly=True, samesite="strict")


class LogInGate:
    """An ASGI middleware: what needs a log-in is answered with 401 without one."""

    def __init__(self, app: ASGIApp, access: Access) -> None:
        self._app = app
        self._access = access

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass on, with the visitor in the request's state."""
        request = Request(scope)
        answer: Response | None = None
        try:
            visitor = await self._access.visitor(request)
        except TooManyLogIns as error:
            visitor, answer = None, refused_for_now(error)
        request.state.visitor = visitor
        if visitor is None and not _is_public(request):
            answer = answer or problem("log in first", 401, {"WWW-Authenticate": "Session"})
            await answer(scope, receive, send)
        else:
            await self._app(scope, receive, send)


def _is_public(request: Request) -> bool:
    path = request.scope["path"]  # that of request.url is made of the header Host, too
    if path == SESSION:
        return True
    is_page = path == "/" or path in HEALTH or path.startswith("/static/")
    return is_page and request.method in ("GET", "HEAD")


def problem(text: str, status: int, headers: dict[str, str] | None = None) -> Response:
    """Return an answer that gives the reason why there is no other."""
    body = encoded(ApiProblem(error=text))
    return Response(body, status, headers, media_type="application/json")


def refused_for_now(error: TooManyLogIns) -> Response:
    """Return the answer to one log-in too many."""
    return problem(str(error), 429, {"Retry-After": str(int(error.wait_s) + 1)})


def address_of(request: Request) -> str:
    """Return the address of who asks."""
    return "" if request.client is None else request.client.host


def visitor_of(request: Request) -> Visitor | None:
    """Return who asks, as the gate found it."""
    found = request.state.visitor
    assert found is None or isinstance(found, Visitor)
    return found
