"""The robot server of the stand-in: XML-RPC over connections that must not be idle.

.NET's HTTP listener closes a connection that was idle for 15 s. If a request comes in as it does,
Renode 1.16.1 ends with what it printed here. Each connection is served by a thread, each request
waits for the one before.
"""

from __future__ import annotations

import os
import select
import socketserver
import sys
import threading
from pathlib import Path
from typing import Final
from xmlrpc.server import SimpleXMLRPCDispatcher, SimpleXMLRPCRequestHandler

from hil.renode.fake.monitor import Fake

#: So long a connection may be idle ...
IDLE_S = 15.0
#: ... and so long is the moment in which a request ends everything.
MOMENT_S = 0.5
LAST_WORDS: Final = "Specified value has invalid Control characters"


def note(text: str) -> None:
    """Print a line to the log, which the bench reads while this process runs."""
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


class _Handler(SimpleXMLRPCRequestHandler):
    rpc_paths = ("/",)
    protocol_version = "HTTP/1.1"  # a connection stays for the next request

    def handle_one_request(self) -> None:
        if self._has_request(IDLE_S):
            super().handle_one_request()
            return
        if self._has_request(MOMENT_S):
            note(f"Unhandled exception. System.ArgumentException: {LAST_WORDS}.")
            os._exit(134)
        note("an idle connection was closed")
        self.close_connection = True

    def _has_request(self, limit_s: float) -> bool:
        return bool(select.select([self.connection], [], [], limit_s)[0])


class _Methods:
    """What can be called, one call at a time."""

    def __init__(self, fake: Fake) -> None:
        self._fake = fake
        self._one = threading.Lock()

    def get_keyword_names(self) -> list[str]:
        return self._fake.get_keyword_names()

    def run_keyword(self, name: str, arguments: list[str]) -> dict[str, str]:
        with self._one:
            return self._fake.run_keyword(name, arguments)

    def stop_remote_server(self) -> bool:
        # After the answer.
        threading.Timer(0.05, os._exit, (0,)).start()
        return True


class _Server(socketserver.ThreadingMixIn, socketserver.TCPServer, SimpleXMLRPCDispatcher):
    allow_reuse_address = True
    daemon_threads = True
    logRequests = False  # noqa: N815 - the handler's name for it

    def __init__(self, fake: Fake) -> None:
        SimpleXMLRPCDispatcher.__init__(self, allow_none=True)
        self.register_instance(_Methods(fake))
        super().__init__(("127.0.0.1", 0), _Handler)


def main(arguments: list[str]) -> int:
    """Serve until the client ends it."""
    if arguments == ["--version"]:
        sys.stdout.write("Renode v1.16.1.0 (a stand-in)\n")
        return 0
    expected = ["--disable-xwt", "--plain", "--robot-server-port", "0"]
    if arguments != expected:
        sys.stderr.write(f"expected {expected}, got {arguments}\n")
        return 2
    folder = Path(os.environ["TMPDIR"]) / f"renode-{os.getpid()}"
    folder.mkdir()
    with _Server(Fake()) as server:
        (folder / "robot_port").write_text(str(server.server_address[1]), encoding="utf-8")
        server.serve_forever()
    return 0
