"""Takes an order of a page: from our own page, by somebody who may, bounded, in time.

Three things keep another site from giving orders with the browser of somebody who has logged in:
the cookie stays within this site, ``Origin`` has to be ours, and the session's own token has to
come in a header, which only a script of ours can read and set.
"""

import asyncio
import secrets
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final, Generic, TypeVar

import msgspec
from msgspec import Struct
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response

from .access import Visitor, problem, visitor_of
from .shapes import encoded

TOKEN_HEADER: Final = "X-Console-Token"  # noqa: S105 - its name
BODY_S: Final = 10.0  # in which a body has to be there
SHORT: Final = 4096  # bytes of an order that is no file


T = TypeVar("T", bound=Struct)


class OrderError(Exception):
    """The order cannot be carried out; the text gives the reason."""


@dataclass(frozen=True, slots=True)
class OrderKind(Generic[T]):
    """One order of the console: ``takes`` is the type of its body, ``answer`` that of its result.

    ``obey`` gets the decoded body and who gives the order; OrderError.
    """

    path: str
    what: str
    takes: type[T]
    answer: type[Struct]
    obey: Callable[[T, Visitor], Awaitable[Struct]]
    max_bytes: int = SHORT


async def body_of(request: Request, takes: type[T], max_bytes: int = SHORT) -> T:
    """Return the decoded body of a request from our own page. HTTPException."""
    check_own(request)
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != "application/json":
        raise HTTPException(415, f"expected application/json, got {kind[:40]!r}")
    data = bytearray()
    try:
        async with asyncio.timeout(BODY_S):
            async for chunk in request.stream():
                data += chunk
                if len(data) > max_bytes:
                    raise HTTPException(413, f"expected at most {max_bytes} bytes")
    except TimeoutError:
        raise HTTPException(408, f"expected the whole body within {BODY_S:.0f} s") from None
    except ClientDisconnect:
        raise HTTPException(400, "the connection ended within the body") from None
    try:
        return msgspec.json.decode(data, type=takes)
    except (ValueError, RecursionError) as error:
        raise HTTPException(400, f"the request has the wrong fields: {error}") from error


def check_operator(request: Request) -> Visitor:
    """Return the operator who gives an order. HTTPException."""
    visitor = visitor_of(request)
    if visitor is None:
        raise HTTPException(401, "log in first")
    if visitor.session is None:
        raise HTTPException(403, "nobody can log in here: set [web] users to a file of users")
    if visitor.role != "operator":
        raise HTTPException(403, f"{visitor.name} may look only; an operator may change things")
    token = request.headers.get(TOKEN_HEADER, "")
    if not secrets.compare_digest(token.encode(), visitor.session.token.encode()):
        raise HTTPException(403, f"expected the token of the session in {TOKEN_HEADER}")
    return visitor


def obeying(kind: OrderKind[T]) -> Callable[[Request], Awaitable[Response]]:
    """Return the endpoint of an order."""

    async def answer(request: Request) -> Response:
        visitor = check_operator(request)
        order = await body_of(request, kind.takes, kind.max_bytes)
        try:
            result = await kind.obey(order, visitor)
        except OrderError as error:
            return problem(str(error), 409)
        return Response(encoded(result), media_type="application/json")

    return answer


def check_own(request: Request) -> None:
    """Refuse a request that another site makes. HTTPException."""
    scheme, _, place = request.headers.get("origin", "").lower().partition("://")
    host = request.headers.get("host", "").lower()
    # Without TLS of our own a proxy on this machine may have added it.
    schemes = ("https",) if request.scope["scheme"] == "https" else ("http", "https")
    if not host or place != host or scheme not in schemes:
        raise HTTPException(403, "expected a page of this console as the origin of the request")
