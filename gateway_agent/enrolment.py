"""Takes nodes from a station log into a configuration: keys opened, checked, then written.

Everything is checked before anything is written: the log's chain, both proofs of each node, the
sealed key, and the new configuration, read by its own loader and compared with what it must mean.
Key files are written first, so that a configuration never names one that is not there.
"""

import os
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from . import config as gateway_config
from .collector import config as collector_config
from .config import Bus, GatewayConfig, NodeDevice
from .config_link import LinkBus, LinkNode
from .directories import sync_directory
from .enrolment_log import NotEnrolled, ProvenNode
from .keys import KeyFileError, create_key_file, load_node_key
from .tables import BYTE_ORDER_MARK, read_toml
from .toml_edit import NoPlaceError, add_below, add_last, set_keys


@dataclass(frozen=True, slots=True)
class Enrolment:
    """What is to be done: ``steps`` for people, the files, the new text of the configuration."""

    config: Path
    steps: tuple[str, ...]
    files: Mapping[Path, bytes]
    text: str

    def apply(self) -> None:
        """Write it. KeyFileError or OSError; the configuration is the old one or the new one."""
        for path, content in self.files.items():
            create_key_file(path, content, 0o600)
        if self.steps:
            _replace(self.config, self.text.encode())


def plan(config: Path, nodes: list[ProvenNode], bus: str = "", replaced: str = "") -> Enrolment:
    """Return what makes the configuration know the nodes. NotEnrolled, ConfigError.

    ``bus`` names the bus of new nodes, ``replaced`` the one device whose key is to change.
    """
    config = config.resolve()
    try:
        is_collector = "collector" in read_toml(config)
        text = config.read_bytes().decode()  # every line end stays as it is
    except (OSError, UnicodeDecodeError) as error:
        raise NotEnrolled(f"{config}: cannot be read: {error}") from error
    edit = _Edit(config, text.removeprefix(BYTE_ORDER_MARK))
    if is_collector:
        _collector(edit, nodes)
    elif replaced:
        _replacement(edit, nodes, replaced)
    else:
        _gateway(edit, nodes, bus)
    mark = BYTE_ORDER_MARK if text.startswith(BYTE_ORDER_MARK) else ""
    return Enrolment(config, tuple(edit.steps), edit.files, mark + edit.text)


class _Edit:
    """A configuration that changes step by step; each step is read back before the next."""

    def __init__(self, config: Path, text: str) -> None:
        self.config = config
        self.text = text
        self.steps: list[str] = []
        self.files: dict[Path, bytes] = {}

    def key_file(self, node: ProvenNode) -> None:
        """Note the key file to be written, unless it is there."""
        path = self.config.parent / node.file_name
        if not path.exists():
            self.files[path] = node.content
        elif load_node_key(path, bytes.fromhex(node.uid)).key_id != node.key_id or (
            path.read_bytes() != node.content
        ):
            raise NotEnrolled(
                f"{path}: expected the key of node {node.uid} or no file, got another key; move it "
                "away if nothing uses it"
            )

    def step(
        self, step: str, text: str, load: Callable[[dict[str, object]], object], wanted: object
    ) -> None:
        """Take a new text, if it means what it must."""
        if load(tomllib.loads(text)) != wanted:
            raise NotEnrolled(
                f"{self.config}: its lines cannot be edited here ({step}); write the table by hand"
            )
        self.text = text
        self.steps.append(step)


def _read(edit: _Edit, tables: dict[str, object]) -> GatewayConfig:
    """Read a configuration whose buses may wait for their first node. ConfigError."""
    buses = tables.get("bus")
    for bus in buses if isinstance(buses, list) else []:
        if isinstance(bus, dict):
            bus.setdefault("device", [])
    return gateway_config.parse(tables, edit.config, empty_buses=True)


def _gateway(edit: _Edit, nodes: list[ProvenNode], bus: str) -> None:
    for node in nodes:
        tables = tomllib.loads(edit.text)
        config = _read(edit, tables)
        buses: dict[str, Bus | LinkBus] = {each.name: each for each in (*config.bus, *config.link)}
        devices = [device for each in buses.values() for device in each.device]
        known = [each for each in devices if getattr(each, "uid", None) == node.uid]
        if known:
            (device,) = known
            if _key_id(getattr(device, "key", None), node.uid) != node.key_id:
                raise NotEnrolled(
                    f"{edit.config}: {device.name} is node {node.uid} with another key than key "
                    f"{node.key_id} of the log; if it was flashed anew, or replaced, repeat with "
                    f"--replace {device.name}"
                )
            continue
        if not bus and len(buses) == 1:
            (bus,) = buses
        if bus not in buses:
            raise NotEnrolled(
                f"{edit.config}: expected --bus with the bus of the new nodes, one of "
                f"{', '.join(buses)}, got {bus or 'none'}"
            )
        name = f"{node.role}-{node.unit}"
        if name in {device.name for device in devices}:
            name = f"{name}-{node.uid[-6:]}"
        table: dict[str, object] = {"name": name, "unit": node.unit, "kind": "node"}
        table |= {"role": node.role, "uid": node.uid, "key": node.file_name}
        where = f"address {node.unit}"
        chosen = buses[bus]
        if isinstance(chosen, LinkBus):
            where = chosen.where
            del table["unit"]  # a node on a link is known by its unique id
            if chosen.auth == "none":
                raise NotEnrolled(
                    f"{edit.config}: expected a bus for nodes with keys, bus {bus} has auth = "
                    f'"none"; remove that, or name another one with --bus'
                )
            if chosen.listen is None and chosen.device:
                raise NotEnrolled(
                    f"{edit.config}: expected bus {bus} to be free for node {node.uid}, "
                    f"{chosen.device[0].name} is on its port; give the node a [[bus]] of its own, "
                    f"or repeat with --replace {chosen.device[0].name} if it takes its place"
                )
        else:
            taken = next((each for each in chosen.device if each.unit == node.unit), None)
            if taken is not None:
                raise NotEnrolled(
                    f"{edit.config}: expected address {node.unit} of bus {bus} to be free for node "
                    f"{node.uid}, {taken.name} has it; flash the node with another --unit, or "
                    f"repeat with --replace {taken.name} if it takes its place"
                )
        _device_list(tables, bus).append(dict(table))
        block = "[[bus.device]]\n" + "".join(f"{k} = {_toml(v)}\n" for k, v in table.items())
        edit.step(
            f"bus {bus}: {name}, {where}, node {node.uid}, key {node.key_id}",
            _placed(edit, partial(add_below, table="bus", name=bus, block=block)),
            partial(_read, edit),
            _read(edit, tables),
        )
        edit.key_file(node)


def _replacement(edit: _Edit, nodes: list[ProvenNode], name: str) -> None:
    tables = tomllib.loads(edit.text)
    config = _read(edit, tables)
    buses = (*config.bus, *config.link)
    found = [(bus.name, device) for bus in buses for device in bus.device if device.name == name]
    bus, old = found[0] if found else ("", None)
    if not isinstance(old, NodeDevice | LinkNode):
        raise NotEnrolled(f"{edit.config}: expected {name} to be a node on a bus, it is none")
    node = next((each for each in nodes if each.uid == old.uid), None)
    if node is None:
        raise NotEnrolled(
            f"{edit.config}: expected a node in the log that takes the place of {name}, none has "
            f"its unique id; flash the new board with `tianfu-node flash --replaces {old.uid}`"
        )
    number = _key_id(old.key, old.uid)
    if number == node.key_id:
        return
    if number is None or number > node.key_id or node.role != old.role:
        raise NotEnrolled(
            f"{edit.config}: expected a {old.role} node with a newer key than key {number} for "
            f"{name}, the log has a {node.role} node with key {node.key_id}; copy the newest log"
        )
    change: dict[str, object] = {"key": node.file_name, "replaces": number}
    if isinstance(old, NodeDevice):
        change = {"unit": node.unit, **change}
    for table in _device_list(tables, bus):
        if table.get("name") == name:
            table.update(change)
    values = {key: _toml(value) for key, value in change.items()}
    edit.step(
        f"{name}: node {node.uid} continues with key {node.key_id} in place of key {number}",
        _placed(edit, partial(set_keys, table="bus.device", name=name, values=values)),
        partial(_read, edit),
        _read(edit, tables),
    )
    edit.key_file(node)


def _collector(edit: _Edit, nodes: list[ProvenNode]) -> None:
    for node in nodes:
        tables = tomllib.loads(edit.text)
        config = collector_config.parse(tables, edit.config)
        numbers = [_key_id(each.key, node.uid) for each in config.node if each.uid == node.uid]
        numbers += [node.key_id] if edit.config.parent / node.file_name in edit.files else []
        if node.key_id in numbers:
            continue
        table = {"uid": node.uid, "key": node.file_name}
        listed = tables.setdefault("node", [])
        assert isinstance(listed, list)
        listed.append(table)
        block = "[[node]]\n" + "".join(f"{k} = {_toml(v)}\n" for k, v in table.items())
        edit.step(
            f"node {node.uid}, key {node.key_id}",
            add_last(edit.text, block),
            lambda found: collector_config.parse(found, edit.config),
            collector_config.parse(tables, edit.config),
        )
        edit.key_file(node)


def _placed(edit: _Edit, change: Callable[[str], str]) -> str:
    try:
        return change(edit.text)
    except NoPlaceError as error:
        raise NotEnrolled(
            f"{edit.config}: {error} has no header of its own; write the table by hand"
        ) from error


def _device_list(tables: dict[str, object], name: str) -> list[dict[str, object]]:
    """Return the device tables of the bus with this name."""
    buses = tables["bus"]
    assert isinstance(buses, list)
    found: list[dict[str, object]] = next(bus["device"] for bus in buses if bus["name"] == name)
    return found


def _key_id(path: Path | None, uid: str) -> int | None:
    """Return the number of the key that a device has now; None if it has none."""
    if path is None:
        return None
    try:
        return load_node_key(path, bytes.fromhex(uid)).key_id
    except KeyFileError as error:
        raise NotEnrolled(str(error)) from error


def _toml(value: object) -> str:
    """Write a number, or a text that the patterns of the log's fields allow."""
    return str(value) if isinstance(value, int) else f'"{value}"'


def _replace(path: Path, data: bytes) -> None:
    """Replace a file by one with the same owner and rights, whole, durable."""
    found = path.stat()
    temporary = path.with_name(f".{path.name}.enroll")
    flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC
    with os.fdopen(os.open(temporary, flags, 0o600), "wb") as file:
        file.write(data)
        file.flush()
        if found.st_uid != os.geteuid() or found.st_gid != os.getegid():
            os.fchown(file.fileno(), found.st_uid, found.st_gid)
        os.fchmod(file.fileno(), found.st_mode & 0o777)
        os.fsync(file.fileno())
    temporary.replace(path)
    sync_directory(path.parent)
