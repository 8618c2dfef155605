"""Answers ``/api/v1/session``: who asks, log-in and log-out."""

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from .access import SESSION, Access, Visitor, address_of, refused_for_now, visitor_of
from .log_in import LogInError, TooManyLogIns
from .orders import body_of, check_own
from .shapes import LogInRequest, SessionState, encoded


class SessionApi:
    """Shows, begins and ends sessions."""

    def __init__(self, access: Access) -> None:
        self._access = access

    def routes(self) -> list[Route]:
        """Return the routes of the one address."""
        return [
            Route(SESSION, self._show, methods=["GET"]),
            Route(SESSION, self._begin, methods=["POST"]),
            Route(SESSION, self._end, methods=["DELETE"]),
        ]

    async def _show(self, request: Request) -> Response:
        return self._answer(visitor_of(request))

    async def _begin(self, request: Request) -> Response:
        asked = await body_of(request, LogInRequest)
        if self._access.book is None:
            raise HTTPException(403, "nobody can log in here: set [web] users to a file of users")
        try:
            user = await self._access.desk.log_in(asked.name, asked.password, address_of(request))
        except TooManyLogIns as error:
            return refused_for_now(error)
        except LogInError as error:
            raise HTTPException(401, str(error)) from error
        secret, session = self._access.sessions.begin(user)
        answer = self._answer(Visitor(user.name, user.role, session))
        self._access.give_cookie(answer, secret)
        return answer

    async def _end(self, request: Request) -> Response:
        check_own(request)
        answer = self._answer(None)
        self._access.end(request, answer)
        return answer

    def _answer(self, visitor: Visitor | None) -> Response:
        state = SessionState(
            name="" if visitor is None else visitor.name,
            role="none" if visitor is None else visitor.role,
            must_log_in=visitor is None,
            can_log_in=self._access.book is not None,
            token="" if visitor is None or visitor.session is None else visitor.session.token,
        )
        return Response(encoded(state), media_type="application/json")
