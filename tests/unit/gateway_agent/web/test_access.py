"""A console with TLS and users: who sees what, who may change what, and what other sites cannot."""

import asyncio
import base64
import re
from pathlib import Path

import pytest

from gateway_agent.web import api, connection
from gateway_agent.web.users import add_user, remove_user
from protocols.uplink import decode_record
from tests.unit.gateway_agent.slave import until
from tests.unit.gateway_agent.store_help import contents, open_box

from .help import fetch, running
from .users_help import LINES, PASSWORD, Browser, make_certificate, make_users

ALARM = """
[[alarm]]
name = "river-high"
when = "above"
device = "basin"
point = "level"
limit = 250
"""
ORDER = {"action": "acknowledge", "name": "river-high"}


async def test_without_a_log_in_there_is_the_page_and_the_bare_result_of_checks(
    tmp_path: Path,
) -> None:
    tls = make_certificate(tmp_path)
    make_users(tmp_path)
    async with running(tmp_path, lines=LINES) as agent:
        browser = Browser(agent.web_port, tls)
        document = (
            await browser.ask(
                "/api/v1/openapi.json",
                Authorization="Basic " + base64.b64encode(f"bo:{PASSWORD}".encode()).decode(),
            )
        ).json()
        paths = [re.sub("{.*?}", "basin", path) for path in document["paths"]]
        for path in [*paths, "/metrics", "/api/v1/live", "/api/v1/openapi.json", "/api/v1/absent"]:
            for method in ("GET", "POST"):
                if path != "/api/v1/session":
                    assert (await browser.ask(path, method)).status == 401, path
        state = (await browser.ask("/api/v1/session")).json()
        assert (state["must_log_in"], state["can_log_in"], state["token"]) == (True, True, "")
        for path in ("/", "/static/console.js"):
            assert (await browser.ask(path)).status == 200
        ready = await browser.ask("/readyz")
        assert ready.status == 503
        assert [value for value in ready.json().values() if value] == []
        await browser.log_in("bo")
        assert "127.0.0.1:1" in (await browser.ask("/readyz")).json()["starting"][0]
        plain, _ = await asyncio.open_connection("127.0.0.1", agent.web_port)
        _.write(b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
        assert b"200" not in await asyncio.wait_for(plain.read(), 10)
        _.close()


async def test_a_session_is_bound_to_its_browser_and_ends(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(api, "LIVE_S", 0.02)
    tls, users = make_certificate(tmp_path), make_users(tmp_path)
    async with running(tmp_path, lines=LINES) as agent:
        browser, viewer = Browser(agent.web_port, tls), Browser(agent.web_port, tls)
        assert (await browser.log_in("li", "wrong password")).status == 401
        assert (await browser.log_in("nobody")).status == 401
        assert (await browser.log_in("li")).json()["role"] == "operator"
        assert browser.set_cookie.startswith("__Host-tianfu=")
        flags = {item.strip().lower() for item in browser.set_cookie.split(";")[1:]}
        assert {"httponly", "secure", "samesite=strict", "path=/"} <= flags
        assert not [flag for flag in flags if flag.startswith("domain")]
        assert (await browser.ask("/api/v1/overview")).status == 200
        assert (await browser.ask("/api/v1/session", "DELETE")).status == 200
        assert (await browser.ask("/api/v1/overview")).status == 401
        # A viewer's stream ends when the user is removed.
        await viewer.log_in("bo")
        stream = asyncio.create_task(viewer.ask("/api/v1/live"))
        await asyncio.sleep(0.1)
        assert not stream.done()
        remove_user(users, "bo")
        assert (await asyncio.wait_for(stream, 10)).status == 200
        assert (await viewer.ask("/api/v1/overview")).status == 401
        # Another password ends the sessions of the old one.
        await browser.log_in("li")
        add_user(users, "li", "operator", "another password")
        assert (await browser.ask("/api/v1/overview")).status == 401
        users.unlink()
        assert (await browser.log_in("li", "another password")).status == 401


async def test_an_operator_acts_by_name_and_nobody_else_does(tmp_path: Path) -> None:
    tls = make_certificate(tmp_path)
    make_users(tmp_path)
    path = "/api/v1/alarms/order"
    async with running(tmp_path, lines=LINES + ALARM) as agent:
        await until(lambda: agent.snapshot().alarm_summary)
        operator, viewer = Browser(agent.web_port, tls), Browser(agent.web_port, tls)
        await operator.log_in("li")
        await viewer.log_in("bo")
        other = f"https://evil.example:{agent.web_port}"
        plain = f"http://127.0.0.1:{agent.web_port}"
        refused = [
            (viewer, {}, 403),
            (operator, {"X-Console-Token": ""}, 403),
            (operator, {"X-Console-Token": viewer.token}, 403),
            (operator, {"Origin": other}, 403),
            (operator, {"Origin": plain}, 403),
            (operator, {"Origin": "null"}, 403),
            (operator, {"Origin": ""}, 403),
            (operator, {"Cookie": "", "Authorization": _basic("li")}, 401),
            (operator, {"Content-Type": "text/plain"}, 415),
            (operator, {"Content-Type": "application/x-www-form-urlencoded"}, 415),
        ]
        for browser, headers, status in refused:
            answer = await browser.ask(path, "POST", ORDER, **headers)
            assert answer.status == status, (headers, answer.body)
        wrong: tuple[object, ...] = (
            {},
            [],
            3,
            {**ORDER, "x": 1},
            {**ORDER, "for_ms": -1},
            {**ORDER, "name": 5},
        )
        for order in wrong:
            assert (await operator.ask(path, "POST", order)).status == 400
        long = await operator.ask(path, "POST", {**ORDER, "name": "x" * 10_000})
        assert long.status == 413
        absent = await operator.ask(path, "POST", {**ORDER, "name": "absent"})
        assert absent.status == 409
        assert "river-high" in absent.json()["error"]
        assert agent.snapshot().alarm_summary[0].state == "unacknowledged"
        assert (await operator.ask(path, "POST", ORDER)).json() == {"changed": 1}
        assert (await viewer.ask("/api/v1/alarms")).json()["alarms"][0]["state"] == "acknowledged"
        shelved = {"action": "shelve", "name": "river-high", "for_ms": 60_000}
        assert (await operator.ask(path, "POST", shelved)).json() == {"changed": 1}
    box = open_box(tmp_path / "state")
    actions = [item.action for item in map(decode_record, contents(box, 500)) if item.action]
    box.close()
    assert [(action.name, action.operator) for action in actions if action.operator] == [
        ("alarm-acknowledged", "console: li"),
        ("alarm-shelved", "console: li"),
    ]


async def test_where_nobody_can_log_in_everybody_looks_and_nobody_changes(tmp_path: Path) -> None:
    async with running(tmp_path, lines=ALARM) as agent:
        browser = Browser(agent.web_port, None)
        state = (await browser.ask("/api/v1/session")).json()
        assert (state["role"], state["must_log_in"], state["can_log_in"]) == (
            "viewer",
            False,
            False,
        )
        answer = await browser.ask("/api/v1/alarms/order", "POST", ORDER)
        assert answer.status == 403
        assert "[web] users" in answer.json()["error"]
        assert (await browser.log_in("li")).status == 403


async def test_a_program_reads_with_name_and_password_and_changes_nothing(tmp_path: Path) -> None:
    tls = make_certificate(tmp_path)
    make_users(tmp_path)
    async with running(tmp_path, lines=LINES) as agent:
        for header in (_basic("bo"), _basic("bo")):
            answer = await fetch(agent.web_port, "/metrics", tls=tls, Authorization=header)
            assert answer.status == 200
            assert b"tianfu_unaccounted_readings 0" in answer.body
        for header in (
            "Basic",
            "Basic !!!",
            "Basic /////w==",
            "Bearer x",
            _basic("x"),
            "Basic " + "A" * 9000,
        ):
            answer = await fetch(agent.web_port, "/metrics", tls=tls, Authorization=header)
            assert answer.status == 401


async def test_a_cookie_that_is_none_lets_nobody_in(tmp_path: Path) -> None:
    tls = make_certificate(tmp_path)
    make_users(tmp_path)
    cookies = ("", "AAAA", "\xff\xfe", ";;==;=", "A" * 9000, '"\\000', "a=b; __Host-tianfu=c")
    async with running(tmp_path, lines=LINES) as agent:
        for cookie in cookies:
            answer = await fetch(
                agent.web_port, "/api/v1/overview", tls=tls, Cookie=f"__Host-tianfu={cookie}"
            )
            assert answer.status == 401


async def test_a_handshake_that_does_not_end_takes_a_bounded_place_for_a_bounded_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection, "HANDSHAKE_S", 0.3)
    monkeypatch.setattr(connection, "MAX_CONNECTIONS", 5)
    tls = make_certificate(tmp_path)
    make_users(tmp_path)
    async with running(tmp_path, lines=LINES) as agent:
        slow = [await asyncio.open_connection("127.0.0.1", agent.web_port) for _ in range(12)]
        for _, writer in slow[:5]:
            writer.write(b"\x16\x03\x01\x02\x00")
        ended = [asyncio.wait_for(reader.read(), 10) for reader, _ in slow]
        results = await asyncio.gather(*ended, return_exceptions=True)
        assert all(result == b"" or isinstance(result, ConnectionError) for result in results)
        for _, writer in slow:
            writer.close()
        assert (await fetch(agent.web_port, "/livez", tls=tls)).status == 200


def _basic(name: str) -> str:
    return "Basic " + base64.b64encode(f"{name}:{PASSWORD}".encode()).decode()
