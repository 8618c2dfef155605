"""Clients that are slow, endless or curious cost a bounded time and place, and see no file."""

import asyncio
import contextlib
import json
import socket
from pathlib import Path

import msgspec
import pytest

from gateway_agent.agent import GatewayAgent
from gateway_agent.reload.plan import changes
from gateway_agent.web import api, connection, orders, streams

from .help import fetch, running
from .users_help import Browser, make_users

USERS = 'users = "users.json"\n'


@pytest.fixture
def short_times(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every limit of time is a third of a second."""
    for module, name in (
        (connection, "REQUEST_S"),
        (connection, "STALLED_S"),
        (orders, "BODY_S"),
    ):
        monkeypatch.setattr(module, name, 0.3)


async def answers_of(reader: asyncio.StreamReader) -> bytes:
    """Read until the connection ends, in whichever way."""
    found = b""
    with contextlib.suppress(ConnectionError):
        while data := await reader.read(65536):
            found += data
    return found


async def dribble(agent: GatewayAgent, whole: bytes, rest: bytes) -> bytes:
    """Send ``whole``, then ``rest`` byte by byte until the connection ends; return all answers."""
    reader, writer = await asyncio.open_connection("127.0.0.1", agent.web_port)
    reading = asyncio.create_task(answers_of(reader))
    writer.write(whole)
    for index in range(len(rest)):
        if reading.done():
            break
        writer.write(rest[index : index + 1])
        await asyncio.sleep(0.05)
    writer.close()
    assert index < len(rest) - 1, "the connection lasted to the end"
    return await reading


@pytest.mark.usefixtures("short_times")
async def test_slow_requests_are_ended_whichever_they_are_of_a_connection(tmp_path: Path) -> None:
    host = b"Host: 127.0.0.1\r\n"
    first = b"GET /livez HTTP/1.1\r\n" + host + b"\r\n"
    slow = b"GET /livez HTTP/1.1\r\n" + b"X-Slow: 1\r\n" * 100
    async with running(tmp_path) as agent:
        answers = await asyncio.gather(
            dribble(agent, b"", slow),
            dribble(agent, first, slow),
            dribble(agent, first + first, slow),
            # A body that nobody asked for, after its answer.
            dribble(agent, first[:-2] + b"Content-Length: 500\r\n\r\n", b"x" * 400),
        )
        assert [answer.count(b"200 OK") for answer in answers] == [0, 1, 2, 1]


@pytest.mark.usefixtures("short_times")
async def test_half_a_request_after_an_answer_is_ended(tmp_path: Path) -> None:
    first = b"GET /livez HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"
    async with running(tmp_path) as agent:
        reader, writer = await asyncio.open_connection("127.0.0.1", agent.web_port)
        writer.write(first)
        assert b" 200 " in await reader.readline()
        writer.write(first[:20])  # before the time of the first one is over
        with contextlib.suppress(ConnectionError):
            await asyncio.wait_for(reader.read(), 10)
        writer.close()


@pytest.mark.parametrize("host", ["127.0.0.1/static/?", "localhost:1/static/?", "[::1]/livez?"])
async def test_a_host_that_looks_like_a_path_opens_nothing(tmp_path: Path, host: str) -> None:
    make_users(tmp_path)
    async with running(tmp_path, lines=USERS) as agent:
        answer = await fetch(agent.web_port, "/api/v1/config", Host=host)
        assert answer.status in (400, 401)


async def test_what_an_address_hides_is_shown_to_nobody(tmp_path: Path) -> None:
    otlp = '[otlp]\nurl = "http://127.0.0.1:1/v1/metrics?token=planted"\n'
    async with running(tmp_path, lines=otlp) as agent:
        answer = await fetch(agent.web_port, "/api/v1/config")
        assert b"/v1/metrics?" in answer.body
        assert b"planted" not in answer.body
        old = agent._config
        assert old.otlp is not None
        other = msgspec.structs.replace(old.otlp, url="http://127.0.0.1:1/v1/metrics?token=new")
        (row,) = changes(old, msgspec.structs.replace(old, otlp=other), is_own_file=True)
        assert row.path == "otlp.url"
        assert "token" not in row.old + row.new


async def test_a_body_of_no_text_is_refused_in_one_answer(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    make_users(tmp_path)
    async with running(tmp_path, lines=USERS) as agent:
        origin = {"Origin": f"http://127.0.0.1:{agent.web_port}"}
        body = b'{"name": "\xff", "password": "x"}'
        more = {**origin, "Content-Type": "application/json"}
        answer = await fetch(agent.web_port, "/api/v1/session", "POST", body, None, **more)
        assert answer.status == 400
    assert "UnicodeDecodeError" not in caplog.text


@pytest.mark.usefixtures("short_times")
async def test_a_slow_body_of_a_log_in_is_given_up(tmp_path: Path) -> None:
    make_users(tmp_path)
    async with running(tmp_path, lines=USERS) as agent:
        head = (
            b"POST /api/v1/session HTTP/1.1\r\nHost: 127.0.0.1\r\nOrigin: http://127.0.0.1\r\n"
            b"Content-Type: application/json\r\nContent-Length: 4000\r\n\r\n"
        )
        answer = await dribble(agent, head, b'{"name": "' + b"l" * 300)
        assert answer.startswith(b"HTTP/1.1 408")


async def test_a_long_body_is_not_read_to_its_end(tmp_path: Path) -> None:
    make_users(tmp_path)
    async with running(tmp_path, lines=USERS) as agent:
        browser = Browser(agent.web_port, None)
        for body in ("x" * 5000, "x" * 20_000_000):
            try:
                answer = await browser.log_in("li", body)
            except ConnectionError:
                continue  # it was closed while we wrote
            assert answer.status == 413
        chunk = b"800\r\n" + b"x" * 2048 + b"\r\n"
        reader, writer = await asyncio.open_connection("127.0.0.1", agent.web_port)
        origin = f"http://127.0.0.1:{agent.web_port}"
        writer.write(
            f"POST /api/v1/session HTTP/1.1\r\nHost: 127.0.0.1:{agent.web_port}\r\n"
            f"Origin: {origin}\r\nContent-Type: application/json\r\n"
            "Transfer-Encoding: chunked\r\n\r\n".encode()
            + chunk * 4
        )
        assert b" 413 " in await asyncio.wait_for(reader.readline(), 10)
        writer.close()
        deep = json.dumps({"name": "li", "password": "x"}).encode().replace(b'"x"', b"[" * 3000)
        more = {"Origin": origin, "Content-Type": "application/json"}
        answer = await fetch(agent.web_port, "/api/v1/session", "POST", deep, None, **more)
        assert answer.status == 400


@pytest.mark.usefixtures("short_times")
async def test_a_viewer_who_takes_nothing_leaves_its_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(api, "LIVE_S", 0.0)
    monkeypatch.setattr(streams, "MAX_STREAMS", 1)
    async with running(tmp_path) as agent:
        client = socket.socket()
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        client.connect(("127.0.0.1", agent.web_port))
        client.sendall(b"GET /api/v1/live HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")

        async def is_full() -> bool:
            reader, writer = await asyncio.open_connection("127.0.0.1", agent.web_port)
            writer.write(b"GET /api/v1/live HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
            line = await reader.readline()
            writer.close()
            return b" 503 " in line

        async with asyncio.timeout(10):
            while not await is_full():
                await asyncio.sleep(0.01)
            while await is_full():
                await asyncio.sleep(0.05)
        client.close()


@pytest.mark.parametrize("root", ["/static/", "/", "/api/v1/devices/"])
async def test_no_path_leads_to_a_file(tmp_path: Path, root: str) -> None:
    (tmp_path / "secret.txt").write_text("the secret")
    async with running(tmp_path) as agent:
        for way in ("..", "%2e%2e", "..%2f..", "....//..", "..%5c..", "%252e%252e", "\x7f"):
            for name in ("secret.txt", "gateway.pem", "../etc/passwd", "console.py"):
                answer = await fetch(agent.web_port, f"{root}{way}/{name}")
                assert answer.status in (400, 404), (way, name)
                assert b"secret" not in answer.body.replace(b"secret.txt", b"")
                assert b"PRIVATE" not in answer.body
        for method in ("PUT", "PATCH", "TRACE", "OPTIONS", "CONNECT", "BREW"):
            answer = await fetch(agent.web_port, "/api/v1/overview", method)
            assert answer.status == 405


async def test_an_upgrade_or_a_header_too_many_is_no_way_in(tmp_path: Path) -> None:
    async with running(tmp_path) as agent:
        port = agent.web_port
        upgraded = await fetch(port, "/livez", Upgrade="websocket", Connection="Upgrade, close")
        assert upgraded.status == 200
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"GET /livez HTTP/1.1\r\n" + b"X-Header: x\r\n" * 40_000)
        assert b" 400 " in await reader.readline()
        writer.close()
        assert (await fetch(port, "/livez", Host="127.0.0.1.evil.example")).status == 400
        assert (await fetch(port, "/livez", Host="evil.example@127.0.0.1")).status == 400
