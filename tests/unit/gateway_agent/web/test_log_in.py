"""Users in their file, and guessing passwords: slow, bounded, without a hint, and in the log."""

import asyncio
import logging
import stat
import time
from pathlib import Path

import pytest
from typer.testing import CliRunner

from gateway_agent.cli import app
from gateway_agent.cli.check import check_config
from gateway_agent.config import load
from gateway_agent.keys import KeyFileError
from gateway_agent.tables import ConfigError
from gateway_agent.web import log_in
from gateway_agent.web.certificate import LOOK_S, Certificate
from gateway_agent.web.log_in import Failures, LogInDesk, LogInError, TooManyLogIns
from gateway_agent.web.sessions import LASTS_S, MAX_OF_USER, Sessions
from gateway_agent.web.users import UserBook, add_user, is_password, read_users
from tests.unit.gateway_agent.test_agent import write_site

from .help import add_web
from .users_help import LINES, PASSWORD, make_certificate, make_users


class Now:
    """A clock that a test moves."""

    def __init__(self) -> None:
        self.s = 1000.0

    def __call__(self) -> float:
        return self.s


def test_users_are_added_listed_and_removed(tmp_path: Path) -> None:
    config = add_web(write_site(tmp_path, 1), 'users = "users.json"\n')
    path = tmp_path / "users.json"

    def run(*words: str, typed: str = "") -> tuple[int, str]:
        asked = ["web", "user", *words, "--config", str(config)]
        done = CliRunner().invoke(app, asked, input=typed)
        return done.exit_code, done.output

    assert run("add", "li", "--role", "operator", typed=f"{PASSWORD}\n")[0] == 0
    assert run("add", "bo", typed="secret of bo\n")[0] == 0
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert PASSWORD not in path.read_text()
    assert run("list", "--json")[1] == (
        '{"users": [{"name": "li", "role": "operator"}, {"name": "bo", "role": "viewer"}]}\n'
    )
    assert "operator" in run("list")[1]
    kept = read_users(path)["li"].password
    assert kept.startswith("$argon2id$v=19$m=19456,t=2,p=1$")
    assert is_password(PASSWORD, kept)
    assert not is_password(PASSWORD + "x", kept)
    assert PASSWORD not in repr(read_users(path))
    assert kept not in repr(read_users(path))
    for words, typed, expected in (
        (("add", "short"), "seven77\n", "8 to 256 characters"),
        (("add", "a/b"), "long enough\n", "letters and digits"),
        (("add", "ok", "--role", "root"), "long enough\n", "viewer or operator"),
        (("remove", "absent"), "", "one of its users (li, bo)"),
    ):
        code, output = run(*words, typed=typed)
        assert code != 0
        assert expected in output
    assert run("remove", "li")[0] == 0
    assert list(read_users(path)) == ["bo"]
    path.chmod(0o640)
    assert "0640" in run("list")[1]


@pytest.mark.parametrize("lines", ["", LINES.replace("users", "# users"), 'users = "users.json"'])
def test_an_address_that_others_reach_needs_tls_and_users(tmp_path: Path, lines: str) -> None:
    path = add_web(write_site(tmp_path, 1), lines)
    path.write_text(path.read_text().replace("127.0.0.1:0", "0.0.0.0:8443"))
    with pytest.raises(ConfigError, match=r"web\.listen.*add all three") as caught:
        load(path)
    assert "web user add" in str(caught.value)


def test_check_opens_the_certificate_and_the_users(tmp_path: Path) -> None:
    path = add_web(write_site(tmp_path, 1), LINES)
    path.write_text(path.read_text().replace("127.0.0.1:0", "0.0.0.0:8443"))
    keys = {problem.key for problem in check_config(path).problems}
    assert keys == {"web.certificate", "web.key", "web.users"}
    make_certificate(tmp_path)
    make_users(tmp_path)
    assert check_config(path).problems == []
    (tmp_path / "users.json").write_text('{"users": []}')
    (tmp_path / "console.pem").write_text("no certificate")
    keys = {problem.key for problem in check_config(path).problems}
    assert keys == {"web.certificate", "web.users"}
    one = add_web(write_site(tmp_path, 1), 'certificate = "console.pem"\n')
    with pytest.raises(ConfigError, match=r"web\.key"):
        load(one)


@pytest.mark.parametrize("data", ["", "{}", '{"users": [{"name": "x"}]}', "\x00", "[" * 5000])
def test_a_file_of_users_that_is_none_lets_nobody_in(tmp_path: Path, data: str) -> None:
    path = tmp_path / "users.json"
    path.write_text(data)
    path.chmod(0o600)
    with pytest.raises(KeyFileError, match=r"web user add|more than"):
        read_users(path)
    assert UserBook(path).users == {}


def test_a_file_that_is_mended_lets_its_users_in(tmp_path: Path) -> None:
    path = make_users(tmp_path)
    path.chmod(0o640)
    book = UserBook(path)
    assert book.users == {}
    path.chmod(0o600)  # what the message asks for
    assert "li" in book.users


def test_a_key_that_is_mended_gives_the_renewed_certificate(tmp_path: Path) -> None:
    make_certificate(tmp_path)
    now = Now()
    files = tmp_path / "console.pem", tmp_path / "console.key"
    certificate = Certificate(*files, now)
    before = certificate.context()
    make_certificate(tmp_path)
    files[1].chmod(0o644)
    now.s += LOOK_S
    assert certificate.context() is before
    files[1].chmod(0o600)
    now.s += LOOK_S
    assert certificate.context() is not before


async def test_guessing_is_slowed_by_address_and_by_name(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(log_in, "is_password", lambda given, _: given == PASSWORD)
    now = Now()
    desk = LogInDesk(UserBook(make_users(tmp_path)), now)
    for _ in range(log_in.FREE_OF_ADDRESS):
        with pytest.raises(LogInError):
            await desk.log_in("li", "guess", "192.0.2.1")
    with pytest.raises(TooManyLogIns) as first:
        await desk.log_in("li", PASSWORD, "192.0.2.1")
    assert 0 < first.value.wait_s <= 2
    assert (await desk.log_in("li", PASSWORD, "192.0.2.2")).name == "li"  # another address
    checked = 0
    for _ in range(3600):  # for an hour, one address tries once a second
        now.s += 1
        try:
            await desk.log_in("li", "guess", "192.0.2.1")
        except LogInError:
            checked += 1
        except TooManyLogIns:
            pass
    assert checked < 25
    # A thousand addresses guess for one name: its owner waits for half a minute at the most.
    for index in range(1000):
        with pytest.raises((LogInError, TooManyLogIns)):
            await desk.log_in("bo", "guess", f"2001:db8:{index:x}::1")
    with pytest.raises(TooManyLogIns) as all_of_them:
        await desk.log_in("bo", PASSWORD, "192.0.2.3")
    assert all_of_them.value.wait_s <= log_in.LONGEST_OF_NAME_S
    now.s += log_in.LONGEST_OF_NAME_S
    assert (await desk.log_in("bo", PASSWORD, "192.0.2.3")).name == "bo"
    # One household of IPv6 is one address.
    with pytest.raises(LogInError):
        await desk.log_in("my-password-by-mistake", "x", "2001:db8:ffff::1")
    lines = [line.getMessage() for line in caplog.records if line.levelno == logging.WARNING]
    assert "wrong log-in for li from 192.0.2.1" in lines[0]
    assert any("more were rejected" in line for line in lines)
    assert len(lines) < 70
    assert not [line for line in lines if "my-password" in line]


def test_what_is_remembered_of_guesses_is_bounded() -> None:
    failures = Failures(5, 300.0, Now())
    for index in range(5000):
        failures.add(f"2001:db8:{index:x}::/64")
    assert len(failures) == log_in.MAX_ADDRESSES


async def test_few_wait_for_their_turn_and_an_unknown_name_takes_as_long(tmp_path: Path) -> None:
    desk = LogInDesk(UserBook(make_users(tmp_path)))
    asked = [desk.log_in("li", "guess", f"192.0.2.{index}") for index in range(12)]
    ends = await asyncio.gather(*asked, return_exceptions=True)
    assert sum(isinstance(end, LogInError) for end in ends) == log_in.MAX_WAITING
    assert sum(isinstance(end, TooManyLogIns) for end in ends) == 12 - log_in.MAX_WAITING
    spent: dict[str, float] = {}
    for name in ("li", "nobody"):
        begin = time.process_time()
        with pytest.raises(LogInError):
            await desk.log_in(name, "guess", "192.0.3.1")
        spent[name] = time.process_time() - begin
    assert spent["nobody"] > spent["li"] / 4


def test_sessions_are_bounded_and_end(tmp_path: Path) -> None:
    now = Now()
    book = UserBook(make_users(tmp_path))
    sessions = Sessions(book, now)
    secrets = [sessions.begin(book.users["li"])[0] for _ in range(MAX_OF_USER + 3)]
    assert len(sessions) == MAX_OF_USER
    assert [sessions.of(secret) is None for secret in secrets] == [True] * 3 + [False] * MAX_OF_USER
    assert len(set(secrets)) == len(secrets)
    now.s += LASTS_S
    assert sessions.of(secrets[-1]) is None


def test_more_users_than_there_is_room_for_are_refused(tmp_path: Path) -> None:
    path = make_users(tmp_path)
    names = [f"user-{index}" for index in range(15)]
    users = read_users(path)
    from gateway_agent.web import users as module

    for name in names[:14]:
        users[name] = module.WebUser(name=name, role="viewer", password=users["li"].password)
    module._write(path, users)
    with pytest.raises(Exception, match="at most 16 users"):
        add_user(path, names[14], "viewer", PASSWORD)
    assert len(read_users(path)) == 16
