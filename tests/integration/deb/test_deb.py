"""The way of an operator with the packages, in a fresh Debian: from install to purge."""

import asyncio
import hashlib
import json
import os
import re
import signal
import socket
import stat
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator

from boards.folder import default_name
from hil.site.mosquitto import MosquittoBroker
from tests.promise.site import Program, site_of, until
from tests.unit.gateway_agent.store_help import contents, open_box

from .conftest import build
from .fresh_debian import FreshDebian, fresh_debian, run

pytestmark = [
    pytest.mark.mosquitto,
    pytest.mark.exhaustive,
    pytest.mark.tool("debootstrap", "lintian"),
    pytest.mark.timeout(1800),
    pytest.mark.skipif(os.geteuid() != 0, reason="only root installs packages"),
]
COMMAND = "/usr/bin/tianfu-gateway"
CONFIG = "/etc/tianfu/gateway.toml"
STATE = "var/lib/tianfu/gateway"
AS_SERVICE = ("setpriv", "--reuid=tianfu", "--regid=tianfu", "--init-groups")


def test_lintian_finds_nothing(packages: list[Path]) -> None:
    assert len(packages) == 3
    run("lintian", "--no-cfg", "--fail-on", "error,warning", *packages)


def test_the_same_sources_give_the_same_bytes(packages: list[Path], tmp_path: Path) -> None:
    wheels = packages[0].parent / "work/wheels"
    for first in packages:
        name = first.name.split("_")[0].removeprefix("tianfu-edge-")
        [again] = build(tmp_path, tmp_path / "work", name, "--wheels", wheels)
        assert again.read_bytes() == first.read_bytes(), first.name


def configure(debian: FreshDebian, site_toml: str) -> str:
    """Edit one file, as the README has it: the example with the site's own lines.

    Returns where its console is: a port of this machine that is free.
    """
    example = debian.root / "usr/share/doc/tianfu-edge-gateway/examples/gateway.toml"
    with socket.create_server(("127.0.0.1", 0)) as server:
        place = f"127.0.0.1:{server.getsockname()[1]}"
    head = example.read_text().partition("[uplink]")[0].replace("site-12", "gw-1")
    assert 'listen = "127.0.0.1:8080"' in head
    head = head.replace("127.0.0.1:8080", place)
    (debian.root / CONFIG[1:]).write_text(head + site_toml[site_toml.index("[uplink]") :])
    return f"http://{place}"


def fetched(url: str) -> bytes:
    """Return what is at an address of the console."""
    with urllib.request.urlopen(url, timeout=10) as answer:  # noqa: S310 - it is http
        return bytes(answer.read())


def count_shown(console: str) -> float:
    """Return the value of the only point, as the console's page gets it."""
    (device,) = json.loads(fetched(f"{console}/api/v1/overview"))["devices"]
    (point,) = device["values"]
    return float(point["value"])


async def shows_new_values(console: str) -> None:
    """Look at the page, its files, and values until they change; the device is in our loop."""
    page = (await asyncio.to_thread(fetched, console)).decode()
    for file in re.findall(r'(?:src|href)="(/static/[^"]+)"', page):
        assert await asyncio.to_thread(fetched, console + file), file
    first = await asyncio.to_thread(count_shown, console)
    async with asyncio.timeout(60):
        while await asyncio.to_thread(count_shown, console) <= first:
            await asyncio.sleep(0.1)


def program_in(debian: FreshDebian, log: Path) -> Program:
    """The agent as its service runs it: as its user, in its groups."""
    program = Program(log, "run", "--config", CONFIG)
    program.command = tuple(debian.command(*AS_SERVICE, COMMAND))
    return program


def owner(debian: FreshDebian, path: str) -> tuple[str, int]:
    """Return who owns a path, by the system's own names, and its mode."""
    state = (debian.root / path).stat()
    users = (debian.root / "etc/passwd").read_text()
    name = re.search(rf"^(\w[\w-]*):x:{state.st_uid}:", users, re.MULTILINE)
    assert name is not None
    return name[1], stat.S_IMODE(state.st_mode)


@pytest.fixture
def debian(releases: list[Path], tmp_path: Path) -> Iterator[FreshDebian]:
    """A fresh Debian in which this release has been installed."""
    with fresh_debian(tmp_path) as made:
        made.apt("update")
        made.apt("install", made.bring(releases[0]))
        yield made


def test_what_an_installation_makes(debian: FreshDebian) -> None:
    assert owner(debian, "etc/tianfu/gateway") == ("tianfu", 0o700)
    assert owner(debian, "etc/tianfu/gateway/gateway.pem") == ("tianfu", 0o600)
    assert owner(debian, STATE)[0] == "tianfu"
    groups = (debian.root / "etc/group").read_text()
    assert re.search(r"^dialout:x:\d+:.*tianfu", groups, re.MULTILINE)
    wants = debian.root / "etc/systemd/system/multi-user.target.wants"
    assert (wants / "tianfu-gateway.service").is_symlink(), "it starts with the machine"
    assert list((debian.root / "opt/tianfu-edge-gateway").rglob("*.pyc"))
    status, text = debian.fails("python3", "-c", "import gateway_agent")
    assert status == 1
    assert "No module named" in text, "nothing of ours is in the path of others"
    share = debian.root / "usr/share"
    assert (share / "man/man1/tianfu-gateway-run.1.gz").exists()
    for bill in share.glob("doc/tianfu-edge-*/sbom.cdx.json"):
        assert JsonStrictValidator(SchemaVersion.V1_5).validate_str(bill.read_text()) is None
    script = share / "bash-completion/completions/tianfu-gateway"
    words = "COMP_WORDS=(tianfu-gateway keygen g); COMP_CWORD=2; _tianfu_gateway"
    shown = run("bash", "-c", f'cd /; . {script}; {words}; echo "${{COMPREPLY[*]}}"')
    assert "gateway" in shown.split()


def test_collector_and_tools_install_beside_the_gateway(
    debian: FreshDebian, packages: list[Path]
) -> None:
    _, collector, tools = packages
    debian.apt("install", debian.bring(collector), debian.bring(tools))
    assert owner(debian, "etc/tianfu/collector") == ("tianfu-collector", 0o700)
    assert owner(debian, "etc/tianfu/collector/collector.pem") == ("tianfu-collector", 0o600)
    wants = debian.root / "etc/systemd/system/multi-user.target.wants"
    assert (wants / "tianfu-collector.service").is_symlink()
    version = debian.run(COMMAND, "--version")
    for command in ("tianfu-collector", "tianfu-node"):
        assert debian.run(f"/usr/bin/{command}", "--version") == version
    config = "/usr/share/doc/tianfu-edge-collector/examples/collector.toml"
    status, text = debian.fails("tianfu-collector", "status", "--config", config)
    assert status != 0
    assert "Traceback" not in text
    assert default_name() in debian.run("tianfu-node", "boards")
    debian.apt("purge", "tianfu-edge-collector", "tianfu-edge-tools")
    assert not (debian.root / "opt/tianfu-edge-collector").exists()
    assert not (debian.root / "opt/tianfu-edge-tools").exists()
    assert not (debian.root / "etc/tianfu/collector").exists()
    assert debian.run(COMMAND, "--version") == version, "the gateway stays"


async def test_a_site_lives_through_upgrade_downgrade_and_purge(
    debian: FreshDebian, releases: list[Path], broker: MosquittoBroker, tmp_path: Path
) -> None:
    second = debian.bring(releases[1])
    await run_and_upgrade(debian, second, broker, tmp_path)
    go_back_and_purge(debian, f"/tmp/{releases[0].name}")


async def run_and_upgrade(
    debian: FreshDebian, second: str, broker: MosquittoBroker, tmp_path: Path
) -> None:
    """Edit one file, see live values; an upgrade over a full outbox loses nothing."""
    async with site_of(broker, tmp_path / "site") as site:
        site.configure([20])
        keys = debian.root / "etc/tianfu/gateway"
        (keys / "counter.toml").write_text((site.root / "counter.toml").read_text())
        key = (site.root / "collector.pem.pub").read_text()
        (keys / "collector.pem.pub").write_text(key)
        text = site.gateway_toml.read_text()
        text = text.replace("collector.pem.pub", "gateway/collector.pem.pub")
        console = configure(debian, text.replace("counter.toml", "gateway/counter.toml"))
        debian.run(COMMAND, "check", "--config", CONFIG)

        # The gateway that the collector knows is this one.
        ours = (keys / "gateway.pem.pub").read_text()
        (site.root / "gateway.pem.pub").write_text(ours)
        agent = program_in(debian, tmp_path / "agent.log")
        await agent.start()
        try:
            await site.collector.start()
            await site.stores(5)
            shown = debian.run(COMMAND, "status", "--config", CONFIG)
            assert re.search(r"count \d+", shown), "live values are shown"
            await shows_new_values(console)

            # An outbox that nobody empties goes over to the next release.
            await site.collector.kill()
            served = len(site.device.log[1].times)
            await until(lambda: len(site.device.log[1].times) > served + 200, "polls")
            agent.send(signal.SIGTERM)
            assert await agent.ended(20) == 0, agent.log.read_text()
            debian.apt("install", second)
            agent = program_in(debian, tmp_path / "agent2.log")
            await agent.start()
            await site.collector.start()
            await site.stores(5)
            account = site.account(1)
            assert account.values == list(range(len(account.values))), "each once, in order"
            assert len(account.values) > served + 200

            await site.collector.kill()
            served = len(site.device.log[1].times)
            await until(lambda: len(site.device.log[1].times) > served + 50, "polls")
            agent.send(signal.SIGTERM)
            assert await agent.ended(20) == 0, agent.log.read_text()
        finally:
            await agent.kill()


def go_back_and_purge(debian: FreshDebian, first: str) -> None:
    """A later outbox is refused and not touched; a purge leaves what is in it."""
    box = open_box(debian.root / STATE)
    last, held = box.stats().last, contents(box)
    box.close()
    assert len(held) > 20
    run("chown", "-R", "--reference", debian.root / STATE, debian.root / STATE)

    # Backward: an outbox of a later schema is refused and not touched.
    head = debian.root / STATE / "outbox.head"
    kept = head.read_text()
    body = "2 " + kept.rpartition(" ")[0]
    head.write_text(f"{body} {hashlib.sha256(body.encode()).hexdigest()[:16]}\n")
    debian.apt("install", "--allow-downgrades", first)
    before = {path: path.read_bytes() for path in (debian.root / STATE).glob("outbox.*")}
    status, text = debian.fails(*AS_SERVICE, COMMAND, "run", "--config", CONFIG)
    assert status == 2
    assert "a newer release wrote it. Nothing was changed" in text
    assert {path: path.read_bytes() for path in before} == before
    head.write_text(kept)

    debian.apt("remove", "tianfu-edge-gateway")
    assert not (debian.root / "opt/tianfu-edge-gateway").exists(), "no byte code is left"
    assert (debian.root / CONFIG[1:]).exists()
    assert "kept:" in debian.apt("purge", "tianfu-edge-gateway")
    assert not (debian.root / "etc/tianfu").exists()
    box = open_box(debian.root / STATE)
    assert (box.stats().last, contents(box)) == (last, held), "readings survive a purge"
    box.close()
