"""Who imports whom: the contracts of pyproject.toml catch what they are written for.

`lint-imports` itself is a check of its own (tox -e imports); here each contract is broken once in
a copy, because a contract that names the wrong module would keep quiet for ever.
"""

import importlib.metadata
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from gateway_agent.keys import generate_signing_key
from tests.paths import ROOT

PACKAGES = ("boards", "firmware", "gateway_agent", "hil", "protocols")

# file to break, line to add, how the name of the contract begins that must catch it
BREACHES = [
    ("protocols/wire/crc.py", "import firmware", "protocols imports nothing"),
    ("protocols/uplink/__init__.py", "import gateway_agent", "protocols imports nothing"),
    ("protocols/wire/crc.py", "import protocols.uplink", "the half of the protocols"),
    ("protocols/wire/crc.py", "import protocols.identity", "the half of the protocols"),
    ("firmware/__init__.py", "import protocols.identity", "firmware imports protocols.wire"),
    ("protocols/wire/crc.py", "import protocols.modbus_client", "the half of the protocols"),
    ("firmware/__init__.py", "import protocols.uplink", "firmware imports protocols.wire"),
    ("firmware/__init__.py", "import boards", "firmware imports protocols.wire"),
    ("boards/unix/__init__.py", "import gateway_agent", "boards imports protocols"),
    ("gateway_agent/__init__.py", "import hil", "gateway_agent imports protocols"),
    ("gateway_agent/__init__.py", "import firmware", "gateway_agent imports protocols"),
    ("firmware/__init__.py", "import typing", "what nodes run imports nothing"),
    ("protocols/wire/crc.py", "import enum", "what nodes run imports nothing"),
    ("boards/unix/__init__.py", "import protocols.modbus_client", "what nodes run imports nothing"),
]


def lint(root: Path) -> subprocess.CompletedProcess[str]:
    command = [str(Path(sys.executable).parent / "lint-imports"), "--no-cache"]
    return subprocess.run(
        command, cwd=root, capture_output=True, text=True, timeout=50, check=False
    )


@pytest.mark.parametrize(("file", "line", "contract"), BREACHES)
def test_contract_catches(tmp_path: Path, file: str, line: str, contract: str) -> None:
    ignore = shutil.ignore_patterns("__pycache__")
    for package in PACKAGES:
        shutil.copytree(ROOT / package, tmp_path / package, ignore=ignore)
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    target = tmp_path / file
    target.write_text(f"{target.read_text(encoding='utf-8')}\n{line}\n", encoding="utf-8")
    done = lint(tmp_path)
    assert done.returncode != 0, done.stdout
    broken = [text for text in done.stdout.splitlines() if text.endswith("BROKEN")]
    assert any(text.startswith(contract) for text in broken), done.stdout


def test_stand_in_of_micropython_is_found_from_anywhere(tmp_path: Path) -> None:
    code = "import micropython; from protocols.wire import crc; assert micropython.const(7) == 7"
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert done.returncode == 0, done.stderr


def test_command_line_starts_without_the_bench() -> None:
    """`tianfu-gateway` on a site must not load the emulated bench or its broker to start."""
    code = (
        "import sys, gateway_agent.cli; "
        "print(sorted({'amqtt', 'mqtt5', 'pymodbus', 'transitions'} & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "[]"


def test_a_running_gateway_loads_only_what_it_uses(tmp_path: Path) -> None:
    """Each of these would take a part of a MiB for as long as it runs."""
    generate_signing_key(tmp_path / "gateway.pem")
    unused = {
        "amqtt", "click", "cryptography.hazmat.primitives.serialization", "cryptography.x509",
        "importlib.resources", "prometheus_client", "pymodbus", "rich", "serial", "starlette",
        "typer", "uvicorn",
    }  # fmt: skip
    code = (
        "import contextlib, pathlib, sys; from gateway_agent.__main__ import _run\n"
        "with contextlib.suppress(SystemExit): _run('run', pathlib.Path('absent.toml'))\n"
        "from gateway_agent.keys import load_private; load_private(pathlib.Path('gateway.pem'));"
        "from gateway_agent.field.profile.load import shipped; assert shipped();"
        f"print(sorted({unused} & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize("group", ["console_scripts", "tianfu_gateway.commands"])
def test_every_entry_point_exists(group: str) -> None:
    points = [
        point
        for point in importlib.metadata.entry_points(group=group)
        if point.dist is not None and point.dist.name == "tianfu-edge"
    ]
    assert points, f"no entry point in {group}: is the package installed?"
    for point in points:
        assert callable(point.load()), point
