"""Enrolment on the serial link and on buses without a node yet, and a log that was cut short."""

import json
from pathlib import Path

import pytest
from msgspec.structs import replace

from boards.flash import station_log
from gateway_agent import config as gateway_config
from gateway_agent.config_link import LinkBus, LinkNode
from gateway_agent.keys import load_node_key

from .frames_of_nodes import KEY
from .link_node import LinkNode as Pushing
from .link_node import PtyWire
from .slave import until
from .test_enrolment import GATEWAY, OTHER, UID, Site
from .test_link import DEVICE, device, running
from .test_poller import Memory

LINKS = """
[[bus]]
name = "modems"
type = "link"
listen = "127.0.0.1:7700"

[[bus.device]]
name = "far"
kind = "node"
role = "water"
uid = "00112233445566778899aabb"
key = "far.key"

[[bus]]
name = "mast"      # the camera's
type = "link"
port = "/dev/ttyS7"

[[bus]]
name = "open"
type = "link"
port = "/dev/ttyS8"
auth = "none"

[[bus.device]]
name = "bare"
kind = "node"
role = "air"
uid = "ffffffffffffffffffffffff"
"""


@pytest.fixture
def site(tmp_path: Path) -> Site:
    made = Site(tmp_path)
    made.gateway.write_text(GATEWAY + "\n" + LINKS)
    made.prove()
    made.prove(OTHER, unit=2)
    made.seal()
    return made


def links(site: Site) -> dict[str, list[LinkNode]]:
    return {bus.name: list(bus.device) for bus in gateway_config.load(site.gateway).link}


def test_nodes_that_call_in_become_known_beside_the_others(site: Site) -> None:
    # The bus without a node is no bus that a gateway could start with; it gets its node, too.
    assert site.enroll("--bus", "mast", "--uid", OTHER).exit_code == 0
    done = site.enroll("--bus", "modems", "--uid", UID)
    assert done.exit_code == 0, done.output
    assert f"bus modems: air-7, 127.0.0.1:7700, node {UID}, key 1" in done.output
    found = links(site)
    assert [each.name for each in found["modems"]] == ["far", "air-7"]
    assert [(each.name, each.uid, each.unit) for each in found["mast"]] == [("air-2", OTHER, 0)]
    for each in (found["modems"][1], found["mast"][0]):
        assert each.key is not None
        wanted = load_node_key(site.keys / f"{each.uid}-1.json").key
        assert load_node_key(each.key, bytes.fromhex(each.uid)).key == wanted
    assert 'name = "mast"      # the camera\'s' in site.gateway.read_text()
    assert "known already" in site.enroll("--bus", "modems").output


def test_the_file_that_is_written_is_complete_only_with_a_node_on_each_bus(site: Site) -> None:
    assert site.enroll("--bus", "modems", "--uid", UID).exit_code == 0
    with pytest.raises(gateway_config.ConfigError, match="device"):
        gateway_config.load(site.gateway)


@pytest.mark.parametrize(
    ("bus", "why"),
    [("open", "bus for nodes with keys"), ("nowhere", "one of roof, pump, modems, mast, open")],
)
def test_a_bus_that_takes_no_such_node_is_refused(bus: str, why: str, site: Site) -> None:
    before = site.gateway.read_text()
    done = site.enroll("--bus", bus)
    assert done.exit_code == 1
    assert why in done.output
    assert site.gateway.read_text() == before
    assert not (site.gateway.parent / "keys").exists()


def test_one_node_is_on_a_port(site: Site) -> None:
    done = site.enroll("--bus", "mast")
    assert done.exit_code == 1
    assert "air-7 is on its port; give the node a [[bus]] of its own" in done.output
    assert not (site.gateway.parent / "keys").exists()


def test_a_replaced_board_on_a_link_keeps_its_name(site: Site) -> None:
    site.enroll("--bus", "mast", "--uid", OTHER)
    site.prove(OTHER, key_id=2, unit=9)
    site.seal()
    done = site.enroll("--bus", "mast", "--uid", OTHER)
    assert done.exit_code == 1
    assert "--replace air-2" in done.output
    assert site.enroll("--replace", "air-2", "--uid", OTHER).exit_code == 0
    (node,) = links(site)["mast"]
    assert (node.name, node.uid, node.replaces, node.unit) == ("air-2", OTHER, 1, 0)
    assert node.key is not None
    assert load_node_key(node.key).key_id == 2


def test_a_log_that_was_cut_short_is_noticed_by_its_head(site: Site) -> None:
    """Whole lines are missing at the end: the chain itself shows nothing."""
    head = station_log.chain(site.log).head
    whole = site.log.read_bytes()
    station_log.append(site.log, {"event": "failed", "uid": UID})
    told = station_log.chain(site.log).head
    site.log.write_bytes(whole)
    before = site.gateway.read_text()
    done = site.enroll("--bus", "mast", "--uid", OTHER, "--head", told[:16])
    assert done.exit_code == 1
    assert f"has the head {told[:16]}" in done.output
    assert head in done.output
    assert site.gateway.read_text() == before
    short = site.enroll("--bus", "mast", "--uid", OTHER, "--head", head[:15])
    assert short.exit_code == 1
    spoken = " ".join(head[at : at + 4] for at in range(0, 20, 4)).upper()
    done = site.enroll("--bus", "mast", "--uid", OTHER, "--head", spoken)
    assert done.exit_code == 0, done.output


async def test_a_replaced_board_on_a_link_is_named_in_the_stream(tmp_path: Path) -> None:
    sink = Memory()
    new = replace(device(tmp_path), key=device(tmp_path, "new", key=bytes(32)).key, replaces=6)
    file = tmp_path / "air.key"
    file.write_text(json.dumps({"key_id": 6, "key": KEY.hex()}), encoding="ascii")
    old = replace(new, key=file, replaces=None)

    async def boot(table: LinkNode, pushing: Pushing, samples: int) -> None:
        with PtyWire(tmp_path, pushing) as wire:
            link = LinkBus(name="l", port=str(wire.path), device=(table,))
            async with running(tmp_path, sink, link):
                pushing.measure()
                await until(lambda: len(sink.seqs()) == samples)
            pushing.close()

    await boot(old, Pushing(key_id=6), 1)
    await boot(new, Pushing(epoch=1, key=bytes(32)), 2)
    assert "node_replaced" in [gap.cause for gap in sink.gaps(DEVICE)]
