"""Which nodes are updated when, what an operator is told, and what a new agent finds on disk."""

import asyncio
from collections.abc import Callable
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from gateway_agent.config import parse
from gateway_agent.keys import generate_node_key
from gateway_agent.status import RolloutStatus
from gateway_agent.update.image import UpdateError, read_image
from gateway_agent.update.node_session import Phase
from gateway_agent.update.order_socket import UpdateOrder, send_order, serve_orders
from gateway_agent.update.rollout import Rollout
from protocols.uplink import Action
from tests.unit.gateway_agent.store_help import StillClock
from tests.virtual_update import SEED, image

SIGNED = image(480)


class Stream:
    """The actions that were put into the stream, and what is called when they are stored."""

    def __init__(self) -> None:
        self.actions: list[tuple[str, Action]] = []
        self.stored: list[Callable[[], None]] = []

    def note(
        self, device_id: str, action: Action, committed: Callable[[], None] | None = None
    ) -> None:
        self.actions.append((device_id, action))
        if committed is not None:
            self.stored.append(committed)

    def commit(self) -> None:
        for call in self.stored:
            call()
        self.stored.clear()

    @property
    def steps(self) -> list[str]:
        return [action.name.removeprefix("update-") for _, action in self.actions]


def rollout(
    folder: Path, nodes: int = 5, with_key: bool = True, stream: Stream | None = None
) -> Rollout:
    """Return the updates of a gateway with that many water nodes, and an air node, on two buses."""
    key = Ed25519PrivateKey.from_private_bytes(SEED).public_key()
    (folder / "release.pub").write_bytes(
        key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    )
    devices: list[dict[str, object]] = []
    for number in range(1, nodes + 2):
        uid = f"{number:024x}"
        if not (folder / f"{number}.key").exists():
            generate_node_key(folder / f"{number}.key", 1, bytes.fromhex(uid))
        role = "water" if number <= nodes else "air"
        one = {"name": f"n{number}", "kind": "node", "role": role, "unit": number, "uid": uid}
        devices.append({**one, "key": f"{number}.key"})
    gateway = {"id": "g", "state_dir": ".", "key": "g.key"}
    tables: dict[str, object] = {
        "gateway": {**gateway, "update_keys": ["release.pub"] if with_key else []},
        "uplink": {"host": "127.0.0.1", "receipt": "puback"},
        "bus": [
            {"name": "a", "type": "rtu", "port": "/dev/a", "device": devices[:3]},
            {"name": "b", "type": "rtu", "port": "/dev/b", "device": devices[3:]},
        ],
    }
    note = (stream or Stream()).note
    return Rollout(parse(tables, folder / "gateway.toml"), StillClock(), note)


def order(to: Rollout, target: str = "all", canary: int = 1, group: int = 2) -> int:
    wanted = UpdateOrder(target=target, size=len(SIGNED.file), canary=canary, group=group)
    return to.order(wanted, SIGNED.file)


def shown(of: Rollout) -> RolloutStatus:
    status = of.status()
    assert status is not None
    return status


def phases(of: Rollout) -> list[str]:
    return [node.phase for node in shown(of).nodes]


def end(of: Rollout, phase: Phase) -> None:
    """Let the nodes that are under way end."""
    for driver in of.drivers.values():
        for node in driver.work.nodes if driver.work else ():
            node.phase, node.problem = phase, "it broke" if phase == "failed" else ""
    of._advance()


def test_canaries_come_first_and_then_groups_on_all_buses(tmp_path: Path) -> None:
    updates = rollout(tmp_path)
    assert order(updates) == 6
    assert phases(updates) == ["asking", *["waiting"] * 5]
    end(updates, "done")
    assert phases(updates) == ["done", "asking", "asking", *["waiting"] * 3]
    end(updates, "done")
    assert phases(updates)[3:] == ["asking", "asking", "waiting"]
    end(updates, "done")
    end(updates, "done")
    assert shown(updates).ended == "done"
    assert phases(updates) == ["done"] * 6


def test_the_first_failure_ends_it_and_names_what_was_not_begun(tmp_path: Path) -> None:
    updates = rollout(tmp_path)
    order(updates, canary=2)
    end(updates, "failed")
    assert shown(updates).ended == "stopped: n1 failed; 4 nodes were not begun"
    assert phases(updates) == ["failed", "failed", *["waiting"] * 4]
    again = rollout(tmp_path)
    again.resume()
    assert shown(again).ended.startswith("stopped")
    assert shown(again).nodes[0].problem == "it broke"
    assert all(driver.work is None for driver in again.drivers.values())


def test_a_new_agent_goes_on_with_the_same_session(tmp_path: Path) -> None:
    first = rollout(tmp_path)
    order(first, "water", canary=0, group=8)
    again = rollout(tmp_path)
    again.resume()
    assert phases(again) == ["asking"] * 5
    works = [one.drivers["a"].work for one in (first, again)]
    assert works[0] is not None
    assert works[1] is not None
    assert works[0]._session == works[1]._session


def test_every_decision_is_put_into_the_stream(tmp_path: Path) -> None:
    stream = Stream()
    updates = rollout(tmp_path, stream=stream)
    wanted = UpdateOrder(
        target="water", size=len(SIGNED.file), canary=1, group=8, operator="li\x07wei"
    )
    updates.order(wanted, SIGNED.file)
    end(updates, "done")
    end(updates, "done")
    assert stream.steps == [
        *("ordered", "group", "confirmed", "passed", "group"),
        *["confirmed"] * 4,
        *("passed", "done"),
    ]
    device, first = stream.actions[0]
    assert (device, first.operator, first.arg) == ("g", "li\\x07wei", SIGNED.manifest.version)
    assert "5 nodes, 1 of them first, then 8 at a time: n1, n2, n3, n4, n5" in first.detail
    nodes = [device for device, action in stream.actions if action.name == "update-confirmed"]
    assert nodes == [f"tf-{number:024x}" for number in range(1, 6)]
    assert [a.detail for _, a in stream.actions if a.name == "update-group"] == [
        "n1", "n2, n3, n4, n5",
    ]  # fmt: skip


def test_a_failure_and_a_cancelled_update_are_in_the_stream(tmp_path: Path) -> None:
    stream = Stream()
    updates = rollout(tmp_path, stream=stream)
    order(updates, canary=2)
    end(updates, "failed")
    assert stream.steps == ["ordered", "group", "failed", "failed", "stopped"]
    assert stream.actions[2][1].detail == "it broke"
    assert stream.actions[4][1].detail == "stopped: n1 failed; 4 nodes were not begun"
    order(updates)
    updates.order(UpdateOrder(target="", cancel=True, operator="wang"), b"")
    assert stream.steps[5:] == ["ordered", "group", "cancelled"]
    assert stream.actions[-1][1].operator == "wang"


def test_a_new_agent_notes_what_the_one_before_it_could_not_store(tmp_path: Path) -> None:
    order(rollout(tmp_path))
    stream = Stream()
    again = rollout(tmp_path, stream=stream)
    again.resume()
    assert stream.steps == ["resumed", "group"]
    assert "6 nodes, 1 of them first, then 2 at a time: n1, n2" in stream.actions[0][1].detail
    again.order(UpdateOrder(target="", cancel=True, operator="wang"), b"")
    third, fourth = Stream(), Stream()
    rollout(tmp_path, stream=third).resume()
    assert [action for _, action in third.actions] == [stream.actions[-1][1]]
    assert third.actions[0][1].operator == "wang"
    third.commit()
    rollout(tmp_path, stream=fourth).resume()
    assert fourth.actions == []


def test_an_update_that_cannot_go_on_is_in_the_stream_once(tmp_path: Path) -> None:
    order(rollout(tmp_path))
    (tmp_path / "update.tfu").write_bytes(b"torn")
    stream = Stream()
    rollout(tmp_path, stream=stream).resume()
    rollout(tmp_path, stream=stream).resume()
    stream.commit()
    rollout(tmp_path, stream=stream).resume()
    assert stream.steps == ["stopped"] * 2, "once more, because the first was not stored"


def test_an_order_of_an_older_agent_goes_on(tmp_path: Path) -> None:
    order(rollout(tmp_path))
    kept = '{"session":7,"canary":1,"group":2,"nodes":["n"],"ended":"done","failed":{}}'
    (tmp_path / "update.json").write_text(kept)
    stream = Stream()
    again = rollout(tmp_path, stream=stream)
    again.resume()
    assert stream.actions == []
    assert shown(again).ended == "done"


@pytest.mark.parametrize(
    ("target", "names"),
    [("air", ["n6"]), ("n2", ["n2"]), ("water", ["n1", "n2", "n3", "n4", "n5"])],
)
def test_a_target_is_a_node_a_role_or_all(tmp_path: Path, target: str, names: list[str]) -> None:
    updates = rollout(tmp_path)
    assert order(updates, target) == len(names)
    assert [node.name for node in shown(updates).nodes] == names


def test_every_refusal_has_its_cause_and_what_to_do(tmp_path: Path) -> None:
    updates = rollout(tmp_path)
    keys = (tmp_path / "release.pub",)
    for data, text in (
        (b"", "the file is no image"),
        (SIGNED.file[:-1], "the file is damaged"),
        (image(480, seed=bytes(32)).file, "none of update_keys"),
        (SIGNED.file[:120] + b"\x01" + SIGNED.file[121:], "none of update_keys"),
    ):
        with pytest.raises(UpdateError, match=text):
            read_image(data, keys)
    with pytest.raises(UpdateError, match="write update_keys"):
        order(rollout(tmp_path, with_key=False))
    with pytest.raises(UpdateError, match="nobody is no node"):
        order(updates, "nobody")
    with pytest.raises(UpdateError, match="nothing to cancel"):
        updates.order(UpdateOrder(target="", cancel=True), b"")
    with pytest.raises(UpdateError, match="expected 0"):
        order(updates, group=0)
    assert updates.status() is None
    order(updates)
    with pytest.raises(UpdateError, match="under way"):
        order(updates)
    assert updates.order(UpdateOrder(target="", cancel=True), b"") == 6
    assert shown(updates).ended == "cancelled by the operator"
    assert order(updates) == 6


def test_what_is_on_disk_and_cannot_be_used_ends_nothing_but_the_update(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    updates = rollout(tmp_path)
    order(updates)
    (tmp_path / "update.tfu").write_bytes(b"torn")
    again = rollout(tmp_path)
    again.resume()
    assert again.status() is None
    assert "order it again" in caplog.text


async def test_orders_come_over_a_socket_of_the_agent(tmp_path: Path) -> None:
    updates = rollout(tmp_path)
    async with serve_orders(tmp_path, updates.order):
        assert (tmp_path / "update.sock").stat().st_mode & 0o777 == 0o600
        wanted = UpdateOrder(target="air", size=len(SIGNED.file))
        assert await asyncio.to_thread(send_order, tmp_path, wanted, SIGNED.file) == 1
        with pytest.raises(UpdateError, match="under way"):
            await asyncio.to_thread(send_order, tmp_path, wanted, SIGNED.file)
    with pytest.raises(Exception, match="no agent answers"):
        await asyncio.to_thread(send_order, tmp_path, wanted, SIGNED.file)
