"""The client of Renode's robot server (XML-RPC): keywords and Monitor commands.

The server takes one request at a time, so calls wait for each other; a caller in the event loop
uses the ``async`` ones, which leave the waiting to a thread.
"""

from __future__ import annotations

import asyncio
import http.client
import re
import threading
import xml.parsers.expat
import xmlrpc.client
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Final, cast

from hil.errors import CommandError, RenodeError

if TYPE_CHECKING:
    from _typeshed import SizedBuffer

#: For one request. A long `RunFor` is cut into pieces, so nothing takes longer.
REQUEST_LIMIT_S: Final = 120.0
_NAMED: Final = re.compile(r"^[a-zA-Z0-9_]+=")
_CONTROL: Final = re.compile(r"[\x00-\x08\x0b-\x1f]")
_TIME: Final = re.compile(r"(\d+):(\d\d):(\d\d)(\.\d+)?")
_QUOTED: Final = 700

Argument = str | int | float | bool
Value = str | int | float | bool | None | Sequence[str] | dict[str, object]


class _Transport(xmlrpc.client.Transport):
    """A connection for each request.

    The server closes one that was idle for 15 s, and if a request comes in at that moment all of
    Renode ends (1.16.1). A connection that is closed after its answer is never idle.
    """

    def __init__(self, timeout_s: float) -> None:
        super().__init__()
        self._timeout_s = timeout_s

    def make_connection(self, host: xmlrpc.client._HostType) -> http.client.HTTPConnection:
        connection = super().make_connection(host)
        connection.timeout = self._timeout_s
        return connection

    def request(
        self,
        host: xmlrpc.client._HostType,
        handler: str,
        request_body: SizedBuffer,
        verbose: bool = False,
    ) -> tuple[xmlrpc.client._Marshallable, ...]:
        # Not sent again on a new connection, as the base class does: it may have been done.
        try:
            return self.single_request(host, handler, request_body, verbose)
        finally:
            self.close()


def command_argument(text: str) -> str:
    """Return a Monitor command as the argument of ExecuteCommand. ValueError.

    The server takes any text that begins with ``word=`` for a named argument, and of a named
    argument only its first line; so a command with ``=`` is named, one of many lines is not.
    """
    if _CONTROL.search(text):
        raise ValueError(f"{text!r}: expected no control characters, XML cannot carry them")
    if "\n" in text:
        if _NAMED.match(text):
            raise ValueError(f"{text!r}: expected no `word=` at the start of many lines")
        return text
    return f"command={text}" if "=" in text else text


def parse_time(text: str) -> float:
    """Return the seconds of Renode's ``hh:mm:ss.fraction`` in ``text``. RenodeError."""
    found = _TIME.search(text)
    if found is None:
        raise RenodeError(f"expected hh:mm:ss.fraction from Renode, got {text[:_QUOTED]!r}")
    hours, minutes, seconds, fraction = found.groups(default="0")
    return int(hours) * 3600 + int(minutes) * 60 + int(seconds) + float(fraction)


def parse_number(text: str) -> int:
    """Return an integer from the hexadecimal that the Monitor prints. RenodeError."""
    try:
        return int(text.strip(), 0)
    except ValueError:
        raise RenodeError(f"expected a number from Renode, got {text[:_QUOTED]!r}") from None


class Renode:
    """A robot server on the port ``port`` of this host.

    ``on_command`` is called with every command before it is sent, for a record.
    """

    def __init__(
        self,
        port: int,
        limit_s: float = REQUEST_LIMIT_S,
        on_command: Callable[[str], None] | None = None,
    ) -> None:
        self._server = xmlrpc.client.ServerProxy(
            f"http://127.0.0.1:{port}/", transport=_Transport(limit_s), allow_none=True
        )
        self._lock = threading.Lock()
        self._on_command = on_command
        self._unanswered = ""

    def busy(self) -> bool:
        """Return True while a request is under way."""
        return self._lock.locked()

    def unanswered(self) -> bool:
        """Return True once a request got no answer: no further one is sent."""
        return bool(self._unanswered)

    def keywords(self) -> list[str]:
        """Return the keywords that the server has. RenodeError."""
        with self._lock:
            return [str(name) for name in cast("list[object]", self._call("get_keyword_names"))]

    def _call(self, method: str, *arguments: object) -> object:
        if self._unanswered:
            # Each further request would wait as long: a Renode that hangs does not recover.
            raise RenodeError(self._unanswered)
        try:
            return getattr(self._server, method)(*arguments)
        except xmlrpc.client.Fault as fault:
            raise CommandError(
                f"Renode refused {method}{arguments!r}: {fault.faultString}", fault.faultString
            ) from None
        except (
            OSError,
            http.client.HTTPException,
            xml.parsers.expat.ExpatError,
            xmlrpc.client.Error,
        ) as error:
            self._unanswered = f"Renode gave no answer to {method}{arguments!r}: {error}"
            raise RenodeError(self._unanswered) from error

    def keyword(self, name: str, *arguments: Argument) -> Value:
        """Run a keyword; return what it returned. CommandError, RenodeError."""
        with self._lock:
            answer = cast("dict[str, Value]", self._call("run_keyword", name, list(arguments)))
        if answer.get("status") != "PASS":
            reason = str(answer.get("error", "")).strip()
            raise CommandError(
                f"Renode failed at {name} {' '.join(map(str, arguments))}: {reason[-_QUOTED:]}",
                reason,
            )
        return answer.get("return")

    def command(self, text: str, machine: str | None = None) -> str:
        """Run a Monitor command, in the context of ``machine``; return what it printed."""
        argument = command_argument(text)
        if self._on_command is not None:
            self._on_command(f"{machine or '-'}: {text}")
        # A positional argument must not follow a named one.
        context = [] if machine is None else [f"machine={machine}"]
        return str(self.keyword("ExecuteCommand", argument, *context) or "").strip()

    async def acommand(self, text: str, machine: str | None = None) -> str:
        """Run a command as :meth:`command` does, in a thread beside the event loop."""
        return await asyncio.to_thread(self.command, text, machine)

    def shut_down(self) -> None:
        """Ask it to end; whether it did shows in the process."""
        try:
            with self._lock:
                self._call("stop_remote_server")
        except RenodeError:
            pass  # it may close the connection before it answers
