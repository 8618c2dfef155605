"""One archive with what its authors need to answer a question about a gateway, without secrets.

It holds the configuration, the running agent's status, the end of the log, versions, the state of
the outbox and the names of files: no key, no reading of a sensor that is not in the status, no
content of a file of secrets (:mod:`.redaction`).
"""

import importlib.metadata
import io
import json
import os
import platform
import shutil
import sqlite3
import subprocess
import tarfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

import msgspec

from .clock import SystemClock
from .config import load
from .errors import OperatorError
from .redaction import Redactor, secret_files
from .status_socket import read_status
from .store.errors import StoreError
from .store.loading import load as load_outbox
from .store.lock import Lock
from .tables import read_toml

LOG_LINES: Final = 5000
_MAX_LOG: Final = 4 << 20  # bytes, from the end
_UNIT: Final = "tianfu-gateway"
_WAIT_S: Final = 20


def make_bundle(config: Path, target: Path, log: Path | None) -> list[str]:
    """Write the archive ``target``; return the names of what is in it. OperatorError, OSError.

    ``log``: a file to take log lines from, in place of the journal of the service.
    """
    redactor = Redactor()
    redactor.learn_environment(os.environ)
    tables, state = _tables(config)
    cleaned = redactor.tables(tables, config.parent)
    keys = config.parent / config.stem  # where the Debian package keeps them
    for path in secret_files([state, keys] if state else [keys]):
        redactor.learn_file(path)
    parts: dict[str, Callable[[], object]] = {
        "about.json": lambda: _about(state),
        "config.json": lambda: json.dumps(cleaned, indent=1, default=str),
        "check.txt": lambda: _check(config),
        "status.json": lambda: _status(state),
        "outbox.json": lambda: _outbox(state),
        "files.txt": lambda: "\n".join(_listing(folder) for folder in (state, keys) if folder),
        "log.txt": lambda: _log(log),
    }
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    with (
        os.fdopen(os.open(target, flags, 0o600), "wb") as file,
        tarfile.open(fileobj=file, mode="w:gz") as archive,
    ):
        for name, make in parts.items():
            data = _text(redactor, make).encode()
            entry = tarfile.TarInfo(f"{target.name.partition('.')[0]}/{name}")
            entry.size, entry.mode, entry.mtime = len(data), 0o600, int(time.time())
            archive.addfile(entry, io.BytesIO(data))
    return list(parts)


def _text(redactor: Redactor, make: Callable[[], object]) -> str:
    """Return one part as text; what cannot be had says why."""
    try:
        found = make()
    except (OperatorError, StoreError, OSError, sqlite3.Error, subprocess.SubprocessError) as error:
        found = f"not available: {error}"
    if isinstance(found, str):
        return redactor.text(found) + "\n"
    return redactor.text(json.dumps(redactor.value(found), indent=1, default=str)) + "\n"


def _tables(config: Path) -> tuple[dict[str, object], Path | None]:
    """Return the configuration as far as it can be read, and the directory of the agent's state."""
    try:
        tables = read_toml(config)
    except OperatorError:
        return {}, None  # the text of a mistake quotes the line; `check.txt` has it, cleaned
    gateway = tables.get("gateway")
    name = gateway.get("state_dir") if isinstance(gateway, dict) else None
    return tables, config.parent / name if isinstance(name, str) else None


def _about(state: Path | None) -> dict[str, object]:
    wall = SystemClock().wall()
    found: dict[str, object] = {
        "time": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "clock": {"wall_ms": wall.wall_ms, "unc_ms": wall.unc_ms, "state": wall.state},
        "system": platform.platform(),
        "python": platform.python_version(),
        "packages": {
            item.metadata["Name"]: item.version for item in importlib.metadata.distributions()
        },
        # Their values may be secret, and none of them changes what the agent does.
        "variables": sorted(os.environ),
    }
    if state is not None and state.is_dir():
        found["disk"] = shutil.disk_usage(state)._asdict()
    return found


def _check(config: Path) -> str:
    load(config)
    return "the configuration is good"


def _status(state: Path | None) -> object:
    if state is None:
        raise OperatorError("the configuration names no gateway.state_dir")
    return msgspec.to_builtins(read_status(state))


def _outbox(state: Path | None) -> object:
    """Prove the chain of an outbox that no agent has open; nothing is written."""
    if state is None or not (state / "outbox.db").exists():
        raise OperatorError("there is no outbox")
    with Lock(state):
        log = state / "outbox.db-wal"
        if log.exists() and log.stat().st_size:
            raise OperatorError(
                f"{log} has {log.stat().st_size} bytes: the agent was killed, and its next start"
                " reads them and proves the whole"
            )
        # Nobody writes it now, and it is whole without its log: SQLite needs no lock and no file.
        name = f"{(state / 'outbox.db').absolute().as_uri()}?immutable=1"
        connection = sqlite3.connect(name, uri=True)
        try:
            found = load_outbox(connection)
        finally:
            connection.close()
    return {
        "chain": "whole",
        "stream": found.base.stream,
        "receipted_to": found.base.to,
        "last": found.last,
        "devices": sorted(found.marks),
    }


def _listing(folder: Path) -> str:
    """Return names, sizes and modes of the files below a folder."""
    lines = [f"{folder}:"]
    for path in sorted(folder.rglob("*")):
        state = path.lstat()
        lines.append(f"{state.st_mode:o} {state.st_uid} {state.st_size} {path.relative_to(folder)}")
    return "\n".join(lines)


def _log(file: Path | None) -> str:
    if file is not None:
        with file.open("rb") as lines:
            lines.seek(max(0, file.stat().st_size - _MAX_LOG))
            return lines.read().decode("utf-8", errors="replace")
    journalctl = shutil.which("journalctl")
    if journalctl is None:
        raise OperatorError("there is no journalctl; name a file with --log")
    words = ("--unit", _UNIT, "--lines", str(LOG_LINES), "--no-pager", "--output", "short-iso")
    done = subprocess.run([journalctl, *words], capture_output=True, timeout=_WAIT_S, check=False)
    return (done.stdout + done.stderr)[-_MAX_LOG:].decode("utf-8", errors="replace")
