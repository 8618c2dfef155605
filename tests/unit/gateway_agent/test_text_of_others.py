"""Text that somebody else wrote reaches logs and terminals as text, never as lines or commands."""

import json
import re
import subprocess
import sys
from pathlib import Path

import cbor2
import pytest

from gateway_agent.collector.audit_tables import AuditFinding
from protocols.uplink import FormatError, open_batch, printable

FORGED = "2026-11-27 09:00:00,000 INFO gateway_agent.collector.service: all is well"
EVIL = f"zz\n{FORGED}\x1b[2J\x1b]0;owned\x07\x9b31m\u202e\u2028end"
ESCAPED = f"zz\\n{FORGED}\\x1b[2J\\x1b]0;owned\\x07\\x9b31m\\u202e\\u2028end"


def unsigned() -> bytes:
    """A message nobody signed: a label of its protected header, out of order, is the text."""
    header = b"\xa2" + cbor2.dumps("y" * 200) + b"\x01" + cbor2.dumps(EVIL) + b"\x01"
    parts = (cbor2.dumps(header), b"\xa0", cbor2.dumps(b"x"), cbor2.dumps(bytes(64)))
    return b"\xd2\x84" + b"".join(parts)


def test_what_is_printable_stays() -> None:
    for text in ("", "pH 7.0 µg/m³ 温度 25 °C", "C:\\site\\n", "emoji 🌧"):
        assert printable(text) == text
    assert printable(EVIL) == ESCAPED


def test_an_error_escapes_what_came() -> None:
    with pytest.raises(FormatError) as caught:
        open_batch(unsigned(), lambda _gateway, _kid: None)
    assert ESCAPED in str(caught.value)


def test_verify_sends_the_terminal_nothing_of_it(tmp_path: Path) -> None:
    (tmp_path / "evil.cose").write_bytes(unsigned())
    command = Path(sys.executable).with_name("tianfu-gateway")
    done = subprocess.run(
        [command, "verify", "evil.cose"], cwd=tmp_path, capture_output=True, check=False, text=True
    )
    assert done.returncode == 1
    text = done.stdout + done.stderr
    assert FORGED in text
    assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f-\x9f\u202e\u2028]", text)
    assert not any(line.startswith(FORGED[:10]) for line in text.splitlines())


@pytest.mark.parametrize("command", ["show", "check"])
def test_a_profile_of_a_stranger_is_shown_as_text(tmp_path: Path, command: str) -> None:
    text = json.dumps(EVIL)
    table = "holding" if command == "show" else text[1:-1]
    (tmp_path / "evil.toml").write_text(
        f'[profile]\nname = "evil"\ntitle = {text}\nsource = {text}\ntried = {text}\n'
        f'[[point]]\nname = "n"\nregister = 0\ntype = "u16"\ntable = "{table}"\n'
    )
    program = Path(sys.executable).with_name("tianfu-gateway")
    done = subprocess.run(
        [program, "profile", command, "evil.toml"], cwd=tmp_path, capture_output=True, check=False
    )
    shown = (done.stdout + done.stderr).decode()
    assert FORGED in shown
    assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f-\x9f\u202e\u2028]", shown)
    assert not any(line.startswith(FORGED[:10]) for line in shown.splitlines())


def test_a_row_that_was_written_by_hand_is_shown_as_text() -> None:
    assert ESCAPED in str(AuditFinding("devices", EVIL, "it is in no batch"))


def test_a_log_line_is_one_line(tmp_path: Path) -> None:
    program = (
        "import logging, sys, typer; from gateway_agent.cli import main;"
        "main(verbose=1);"
        f"logging.getLogger('broker').warning('reason: %s', {EVIL!r});"
        "\ntry: raise ValueError({evil!r})\nexcept ValueError: logging.exception('failed')"
    ).replace("{evil!r}", repr(EVIL))
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=tmp_path, capture_output=True, check=True, text=True
    )
    first, second, *trace = done.stderr.splitlines()
    assert first.endswith(f"WARNING broker: reason: {ESCAPED}")
    assert second.endswith("ERROR root: failed")
    assert trace[0] == "  Traceback (most recent call last):"
    assert all(line.startswith("  ") for line in trace)
    assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f-\x9f\u202e]", done.stderr)
