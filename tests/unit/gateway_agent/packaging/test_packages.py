"""What Debian packages are made of is locked, and their services are as closed as is written."""

import os
import re
import subprocess
import tomllib
from pathlib import Path

import pytest

from gateway_agent.collector.config import load as load_collector
from gateway_agent.config import load
from gateway_agent.keys import generate_signing_key
from gateway_agent.packaging.lock import HERE, LOCKS, packages, required
from tests.paths import ROOT

UNITS = sorted((HERE / "files").glob("*/*.service"))
WORST = 2.0  # of systemd-analyze's exposure, 0 to 10


def locked(name: str) -> dict[str, str]:
    """Return the versions of a lock by name."""
    text = (LOCKS / f"{name}.txt").read_text(encoding="utf-8")
    return dict(re.findall(r"^([a-z0-9.-]+)==(\S+) \\$", text, re.MULTILINE))


def constraints() -> dict[str, str]:
    """Return the versions that the checks were run with, by name."""
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    pairs = (line.replace("_", "-").split("==") for line in lines if "==" in line)
    return {name.lower(): version for name, version in pairs}


@pytest.mark.parametrize("name", packages())
def test_lock_has_every_package_with_hashes_in_the_version_that_was_tested(name: str) -> None:
    found, tested = locked(name), constraints()
    assert set(required(packages()[name])) <= set(found)
    differing = {key: value for key, value in found.items() if tested.get(key, value) != value}
    assert differing == {}, "run python -m gateway_agent.packaging.lock"
    text = (LOCKS / f"{name}.txt").read_text(encoding="utf-8")
    for block in re.split(r"^(?=\S)", text, flags=re.MULTILINE)[2:]:
        assert "--hash=sha256:" in block, block


def test_the_gateway_gets_all_that_the_project_depends_on() -> None:
    with (ROOT / "pyproject.toml").open("rb") as file:
        project = tomllib.load(file)["project"]
    lines = project["dependencies"] + project["optional-dependencies"]["console"]
    names = {re.split(r"[<>=\[]", line)[0] for line in lines}
    assert names <= set(locked("gateway")), "packages.toml, then gateway_agent.packaging.lock"


@pytest.mark.tool("systemd-analyze")
@pytest.mark.parametrize("unit", UNITS, ids=lambda unit: str(unit.stem))
def test_service_has_little_that_it_could_do(unit: Path) -> None:
    command = ["systemd-analyze", "security", "--offline=yes", "--no-pager"]
    command += [f"--threshold={round(10 * WORST)}", str(unit)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"Overall exposure level for {unit.name}" in done.stdout


@pytest.mark.parametrize("unit", UNITS, ids=lambda unit: str(unit.stem))
def test_service_may_read_the_state_of_the_clock(unit: Path) -> None:
    """Without these two, no reading of a hardened gateway would have a time."""
    text = unit.read_text(encoding="utf-8")
    assert "ProtectClock=yes" not in text
    assert re.search(r"^SystemCallFilter=.*\badjtimex clock_adjtime$", text, re.MULTILINE)
    assert "ProcSubset=pid" not in text, "the id of the boot is below /proc/sys"


def test_service_sees_who_commands() -> None:
    """A user namespace of its own maps all but two users to nobody, also for SO_PEERCRED."""
    text = (HERE / "files/gateway/tianfu-gateway.service").read_text(encoding="utf-8")
    assert not re.search(r"^PrivateUsers=(?!no)", text, re.MULTILINE)


def test_examples_of_the_packages_can_be_read_as_they_are() -> None:
    gateway = HERE / "files/gateway/gateway.toml"
    collector = HERE / "files/collector/collector.toml"
    assert load(gateway).gateway.state_dir == Path("/var/lib/tianfu/gateway")
    assert load_collector(collector).collector.database.parent == Path("/var/lib/tianfu/collector")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file to somebody else")
def test_key_that_root_makes_belongs_to_whom_the_directory_belongs_to(tmp_path: Path) -> None:
    os.chown(tmp_path, 4711, 4712)
    generate_signing_key(tmp_path / "gateway.pem")
    for name, mode in (("gateway.pem", 0o600), ("gateway.pem.pub", 0o644)):
        state = (tmp_path / name).stat()
        assert (state.st_uid, state.st_gid, state.st_mode & 0o777) == (4711, 4712, mode)
