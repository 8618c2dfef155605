"""The command line: exit status and message for each way to be wrong, and no tracebacks."""

import importlib.metadata
import json
import stat
import subprocess
import sys
from pathlib import Path

import pytest
import typer
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from typer.testing import CliRunner

from gateway_agent import cli
from gateway_agent.keys import generate_node_key, generate_signing_key, load_private, public_path
from gateway_agent.store.errors import EXIT_STORE_FAILED
from protocols import exit_status
from protocols.uplink import Anchor, build_batch
from tests.paths import ROOT
from tests.unit.gateway_agent.mounts import run_mounted
from tests.unit.gateway_agent.store_help import GATEWAY, WALL_MS, records

RUNNER = CliRunner()


def run(*arguments: object, data: bytes | None = None) -> tuple[int, str]:
    """Return the exit status and all output."""
    result = RUNNER.invoke(cli.app, [str(part) for part in arguments], input=data)
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result.exit_code, result.output


def flat(text: str) -> str:
    """Text without the box and the line breaks a terminal's width puts into it."""
    return " ".join(text.replace("│", " ").split())


def batch(key: Ed25519PrivateKey, first: int = 1, count: int = 3) -> bytes:
    some = records(first, count)
    return build_batch(
        gateway=GATEWAY,
        key_epoch=0,
        stream=1,
        first=1,
        prev=bytes(32),
        anchor=Anchor(bytes(16), 5, WALL_MS, 5, 3),
        records=[record.data for record in some],
        key=key,
        compress=False,
    )


def test_a_negative_number_is_a_value_and_a_misspelt_option_is_none(tmp_path: Path) -> None:
    words = ("set", "yard", "correction", "-0.5", "Cel", "--config", tmp_path)
    status, text = run(*words)
    assert (status, "no agent answers there" in flat(text)) == (1, True), text
    status, text = run("set", "pump", "speed", "5", "--confrm", "--config", tmp_path)
    assert (status, "No such option: --confrm" in flat(text)) == (2, True), text


@pytest.mark.parametrize("name", [[], *([command] for command in cli.BUILT_IN)])
def test_every_command_has_help_with_an_example(name: list[str]) -> None:
    status, text = run(*name, "--help")
    assert status == 0
    assert "Usage" in text
    if name and name[0] in ("run", "status", "verify", "collect"):
        assert f"Example: tianfu-gateway {name[0]}" in flat(text)
    if not name:
        assert all(command in text for command in cli.BUILT_IN)


def test_help_groups_the_commands_and_keeps_the_names_of_tables() -> None:
    text = run("--help")[1]
    places = [text.index(f" {panel} ") for panel in cli.PANELS]
    assert places == sorted(places)
    assert (
        places[0] < text.index("keygen ", places[0]) < places[1] < text.index("reload ") < places[2]
    )
    assert "your public key in [orders]." in flat(run("order", "--help")[1])
    assert "that [web] users names" in flat(run("web", "--help")[1])


def test_the_version() -> None:
    assert run("--version") == (0, importlib.metadata.version("tianfu-edge") + "\n")


@pytest.mark.parametrize("command", ["run", "status", "collect"])
def test_a_configuration_that_is_not_there(tmp_path: Path, command: str) -> None:
    status, text = run(command, "--config", tmp_path / "none.toml")
    assert status == 2
    assert "none.toml" in text
    assert "No such file or directory" in text


@pytest.mark.parametrize("command", ["run", "collect"])
def test_a_configuration_with_a_wrong_type_names_the_key(tmp_path: Path, command: str) -> None:
    path = tmp_path / "c.toml"
    path.write_text('[uplink]\nport = "1883"\n[broker]\nport = "1883"\n')
    status, text = run(command, "--config", path)
    assert status == 2
    words = flat(text)
    assert f"{'uplink' if command == 'run' else 'broker'}.port: expected a port number" in words


def a_site(root: Path, state: str) -> Path:
    """A configuration whose state is below ``root``."""
    generate_signing_key(root / "g.pem")
    path = root / "gateway.toml"
    path.write_text(
        f'[gateway]\nid = "g"\nstate_dir = "{state}"\nkey = "g.pem"\n'
        '[uplink]\nhost = "127.0.0.1"\nreceipt = "puback"\n'
        '[[bus]]\nname = "b"\ntype = "tcp"\nhost = "127.0.0.1"\nport = 502\n'
        '[[bus.device]]\nname = "co2"\nunit = 1\nkind = "profile"\nprofile = "senseair-s8"\n'
    )
    return path


def test_a_state_directory_that_is_none_is_reported_with_a_remedy(tmp_path: Path) -> None:
    (tmp_path / "state").write_text("a file")
    status, text = run("run", "--config", a_site(tmp_path, "state"))
    assert status == EXIT_STORE_FAILED
    assert "gateway.state_dir has to be a directory that this user can write" in flat(text)
    assert "start again" not in text


@pytest.mark.parametrize(
    ("options", "remedy"),
    [
        ("ro", "the file system {} is mounted read-only: see with `dmesg` whether the medium is"),
        ("ro", "make it writable (`mount -o remount,rw {}`) or name another gateway.state_dir"),
        ("nr_inodes=1", "no room for gateway.state_dir on the file system {}: make some there"),
    ],
)
def test_a_medium_without_room_is_reported_with_a_remedy(
    tmp_path: Path, options: str, remedy: str
) -> None:
    medium = tmp_path / "medium"
    medium.mkdir()
    path = a_site(tmp_path, "medium/state")
    command = "from gateway_agent.cli import app; app()"
    mount = f"mount -t tmpfs -o {options} tmpfs '{medium}'"
    done = run_mounted(mount, sys.executable, "-c", command, "run", "--config", path)
    assert done.returncode == EXIT_STORE_FAILED
    assert remedy.format(medium) in flat(done.stderr)
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("kind", ["under a file", "a directory", "no database"])
def test_an_unusable_database_is_reported_with_a_remedy(tmp_path: Path, kind: str) -> None:
    generate_signing_key(tmp_path / "c.pem")
    database = tmp_path / "data" / "collector.db"
    if kind == "under a file":
        database.parent.write_text("a file")
    elif kind == "a directory":
        database.mkdir(parents=True)
    else:
        database.parent.mkdir()
        database.write_bytes(b"no database" * 1000)
    path = tmp_path / "collector.toml"
    path.write_text(
        '[collector]\nkey = "c.pem"\ndatabase = "data/collector.db"\n'
        '[broker]\nhost = "127.0.0.1"\n[[gateway]]\nid = "g"\nkeys = ["c.pem.pub"]\n'
    )
    status, text = run("collect", "--config", path)
    assert status == 1
    remedy = (
        "has to be a file that this user can write" if kind != "no database" else "move it away"
    )
    assert remedy in flat(text)


def test_keygen_makes_private_files_and_refuses_a_second_time(tmp_path: Path) -> None:
    for command in ("gateway", "collector"):
        path = tmp_path / "keys" / command
        status, text = run("keygen", command, "--out", path)
        assert status == 0
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        assert str(public_path(path)) in text.replace("\n", "")
        assert "PRIVATE" not in text
        status, text = run("keygen", command, "--out", path)
        assert status == 2
        assert "never overwritten" in text


def test_keygen_node_for_a_node_that_is_provisioned_anew(tmp_path: Path) -> None:
    path = tmp_path / "air-2.json"
    status, text = run("keygen", "node", "--key-id", "2", "--out", path)
    assert (status, "node key 2" in text) == (0, True)
    assert json.loads(path.read_text())["key_id"] == 2
    for wrong in ("0", "65536"):
        status, text = run("keygen", "node", "--key-id", wrong, "--out", tmp_path / "n.json")
        assert status == 2
        assert not (tmp_path / "n.json").exists()


def test_keygen_node_shows_what_to_configure_and_not_the_key(tmp_path: Path) -> None:
    path = tmp_path / "n.json"
    uid = "0102030405060708090A0B0C"
    status, text = run("keygen", "node", "--uid", uid, "--out", path)
    assert status == 0
    assert f'uid = "{uid.lower()}"' in text
    assert json.loads(path.read_text())["key"] not in text
    status, text = run("keygen", "node", "--uid", "12", "--out", tmp_path / "m.json")
    assert status == 2
    assert "24 hex digits" in flat(text)
    assert not (tmp_path / "m.json").exists()


def test_verify_finds_a_batch_good_only_with_a_key(tmp_path: Path) -> None:
    generate_signing_key(tmp_path / "g.pem")
    data = batch(load_private(tmp_path / "g.pem"))
    (tmp_path / "b.cose").write_bytes(data + data)
    key = tmp_path / "g.pem.pub"
    status, text = run("verify", tmp_path / "b.cose", "--key", key)
    assert status == 0, text
    assert "good: 2 batches, 2 signatures verified, 6 records, 12 readings" in text
    status, text = run("verify", tmp_path / "b.cose")
    assert status == 1
    assert "NOT VERIFIED" in text
    status, text = run("verify", "-", "--key", key, "--json", data=data)
    assert status == 0
    assert json.loads(text)["signatures"] == 1


def test_verify_reports_what_is_wrong_and_where(tmp_path: Path) -> None:
    generate_signing_key(tmp_path / "g.pem")
    generate_signing_key(tmp_path / "other.pem")
    data = batch(load_private(tmp_path / "g.pem"))
    at = data.index(records(2, 1)[0].data) + 20
    flipped = data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :]
    (tmp_path / "b.cose").write_bytes(flipped)
    status, text = run("verify", tmp_path / "b.cose", "--key", tmp_path / "g.pem.pub")
    assert status == 1
    words = flat(text)
    assert "NOT GOOD" in words
    assert "signature does not verify" in words
    assert "chain of records 1 to 3 does not lead to head" in words
    (tmp_path / "b.cose").write_bytes(data)
    status, text = run("verify", tmp_path / "b.cose", "--key", tmp_path / "other.pem.pub", "--json")
    assert status == 1
    (finding,) = json.loads(text)["findings"]
    assert finding["message"] == "kid"
    assert finding["batch"] == 1


def test_verify_with_wrong_arguments(tmp_path: Path) -> None:
    status, text = run("verify", tmp_path / "none")
    assert status == 2
    assert "No such file or directory" in flat(text)
    generate_node_key(tmp_path / "n.json")
    for wrong in ("n.json", "12=n.json", "00" * 12, "zz=1"):
        status, text = run("verify", "-", "--node-key", wrong, data=b"x")
        assert status == 2
        assert "UID=FILE" in flat(text)
    status, text = run("verify", "-", "--key", tmp_path / "n.json", data=b"x")
    assert status == 2
    assert "expected a public key" in flat(text)


@pytest.mark.parametrize("data", [b"", b"\xd2", b"nonsense", b"\xd2\x84" + bytes(100)])
def test_verify_of_what_is_no_batch(tmp_path: Path, data: bytes) -> None:
    generate_signing_key(tmp_path / "g.pem")
    status, text = run("verify", "-", "--key", tmp_path / "g.pem.pub", data=data)
    assert status == 1
    assert "NOT GOOD" in text


def test_commands_of_other_packages_are_found_and_a_missing_package_is_reported(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    points = {
        "hello": importlib.metadata.EntryPoint("hello", f"{__name__}:hello", ""),
        "gone": importlib.metadata.EntryPoint("gone", "no_such_module:main", ""),
    }
    monkeypatch.setattr(cli, "_added", lambda: points)
    status, text = run("hello", "--name", "you")
    assert (status, text) == (0, "hello you\n")
    status, text = run("gone")
    assert status == 1
    assert "No module named 'no_such_module'" in text
    status, text = run("--help")
    assert status == 0
    assert "Says hello." in text
    assert "not available here" in text


def hello(name: str = typer.Option("nobody")) -> None:
    """Says hello."""
    typer.echo(f"hello {name}")


def test_an_unknown_command() -> None:
    status, text = run("nonsense")
    assert status == 2
    assert "No such command" in text


@pytest.mark.parametrize(
    ("module", "unwanted"),
    [
        ("gateway_agent.cli", {"pymodbus", "aiomqtt", "cryptography", "rich.live", "sqlite3"}),
        ("gateway_agent.cli.keygen", {"pymodbus", "aiomqtt", "sqlite3"}),
        ("gateway_agent.cli.verify", {"pymodbus", "aiomqtt", "sqlite3"}),
        ("gateway_agent.cli.status", {"pymodbus", "aiomqtt", "sqlite3", "cryptography"}),
        ("gateway_agent.service", {"amqtt", "mqtt5", "typer", "pydantic", "rich", "pymodbus"}),
        ("gateway_agent.collector.process", {"amqtt", "typer", "rich", "pymodbus"}),
    ],
)
def test_a_command_loads_what_it_needs(module: str, unwanted: set[str]) -> None:
    code = (
        f"import sys; before = set(sys.modules); import {module}; "
        f"print(*((sys.modules.keys() - before) & {unwanted!r}))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == []


@pytest.mark.parametrize("command", ["run", "collect"])
def test_a_service_starts_without_the_command_line_and_ends_as_it_does(
    tmp_path: Path, command: str
) -> None:
    program = (
        "import sys; from gateway_agent.__main__ import main\n"
        "try: main()\n"
        "finally: print('typer' in sys.modules)"
    )
    ends = []
    for option in (["--config", "none.toml"], ["--config=none.toml"]):
        done = subprocess.run(
            [sys.executable, "-c", program, command, *option],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            check=False,
        )
        ends.append((done.returncode, done.stderr, done.stdout))
    assert ends[0][:2] == ends[1][:2]
    assert ends[0][0] == exit_status.UNUSABLE
    assert "No such file or directory" in ends[0][1]
    assert [end[2] for end in ends] == ["False\n", "True\n"]


def test_input_is_capped(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    from gateway_agent.cli import verify

    monkeypatch.setattr(verify, "MAX_INPUT_BYTES", 10)
    (tmp_path / "b").write_bytes(bytes(11))
    status, text = run("verify", tmp_path / "b")
    assert status == 2
    assert "at most 10 bytes" in flat(text)
