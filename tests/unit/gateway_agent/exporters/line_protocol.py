"""A small InfluxDB for tests: an HTTP server with a parser of line protocol of its own."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Lock, Thread
from typing import NamedTuple

NUMBER = re.compile(r"-?(\d+\.?\d*|\.\d+)([eE][-+]?\d+)?\Z")


class Line(NamedTuple):
    """One point of the database."""

    measurement: str
    tags: dict[str, str]
    fields: dict[str, float | int | str]
    time: int


def split(text: str, at: str) -> list[str]:
    """Split where ``at`` stands outside quotes and without a backslash before it."""
    parts, part, quoted, escaped = [], "", False, False
    for char in text:
        if escaped:
            part, escaped = part + char, False
        elif char == "\\":
            part, escaped = part + char, True
        elif char == '"' and at != "=":
            part, quoted = part + char, not quoted
        elif char == at and not quoted:
            parts.append(part)
            part = ""
        else:
            part += char
    return [*parts, part]


def plain(text: str) -> str:
    """Take the backslashes away."""
    return re.sub(r"\\(.)", r"\1", text)


def value_of(text: str) -> float | int | str:
    """Read a field's value; ValueError."""
    if text.startswith('"') and text.endswith('"') and len(text) > 1:
        return plain(text[1:-1])
    if text.endswith("i"):
        return int(text[:-1])
    if not NUMBER.match(text):
        raise ValueError(f"unable to parse {text!r}")
    return float(text)


def parse(text: str) -> Line:
    """Read one line; ValueError."""
    series, fields, time = split(text, " ")
    measurement, *tags = split(series, ",")
    pairs = [split(tag, "=") for tag in tags]
    cells = [split(cell, "=") for cell in split(fields, ",")]
    return Line(
        plain(measurement),
        {plain(name): plain(value) for name, value in pairs},
        {plain(name): value_of(value) for name, value in cells},
        int(time),
    )


class Database:
    """What was written, and how the next writes are answered."""

    def __init__(self) -> None:
        self.lines: list[Line] = []
        self.requests: list[tuple[str, str]] = []  # target, Authorization
        self.texts: list[str] = []  # of the requests
        self.answers: list[int] = []  # of the next requests, before they are read
        self.poison: float | None = None  # a value of co2 that is refused
        self.port = 0

    def write(self, target: str, token: str, text: str) -> tuple[int, str]:
        self.requests.append((target, token))
        self.texts.append(text)
        if self.answers:
            return self.answers.pop(0), '{"code":"unavailable","message":"not now"}'
        bad = ""
        for row in text.splitlines():
            line = parse(row)
            if self.poison is not None and line.fields.get("co2") == self.poison:
                bad = f"partial write: field type conflict in {row[:20]}"
            else:
                self.lines.append(line)
        return (400, '{"code":"invalid","message":"' + bad + '"}') if bad else (204, "")


@contextmanager
def serving() -> Iterator[Database]:
    """Serve until the block ends."""
    database, lock = Database(), Lock()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            text = self.rfile.read(int(self.headers["Content-Length"])).decode()
            with lock:
                token = self.headers.get("Authorization", "")
                status, body = database.write(self.path, token, text)
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body.encode())

        def log_message(self, *_: object) -> None:  # nothing on the terminal
            return

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    database.port = server.server_address[1]
    thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield database
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
