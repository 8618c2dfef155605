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
from typing import Final

from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from protocols.enrolment import EnrolmentError, open_sealed, recipient_id
from protocols.exit_status import FAULT
from protocols.station_log import SEALED, ChainError, StationLine, proven_boards, read_chain

from . import config as gateway_config
from .collector import config as collector_config
from .config import ConfigError, NodeDevice
from .directories import sync_directory
from .errors import OperatorError
from .keys import KeyFileError, create_key_file, load_node_key
from .tables import BYTE_ORDER_MARK, read_toml
from .toml_edit import NoPlaceError, add_below, add_last, set_keys

MAX_LOG_BYTES: Final = 1 << 28


class NotEnrolled(OperatorError):
    """Nothing was written; the text has the reason and the remedy."""

    exit_status = FAULT


@dataclass(frozen=True, slots=True)
class ProvenNode:
    """A node of the log, its key opened."""

    uid: str
    role: str
    unit: int
    key_id: int
    content: bytes  # of the key file: a secret

    @property
    def file_name(self) -> str:
        """Where its key goes, relative to the configuration."""
        return f"keys/{self.uid}-{self.key_id}.json"

    def __repr__(self) -> str:
        return f"ProvenNode({self.uid}, key {self.key_id})"


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


def read_nodes(log: Path, key: X25519PrivateKey, uids: tuple[str, ...]) -> list[ProvenNode]:
    """Return the proven nodes of a log, or those of ``uids``. NotEnrolled."""
    try:
        with log.open("rb") as file:
            content = file.read(MAX_LOG_BYTES)
        found = read_chain(content)
    except OSError as error:
        raise NotEnrolled(f"{log}: cannot be read: {error.strerror}") from error
    except ChainError as error:
        raise NotEnrolled(f"{log}, {error}; copy the log from its station again") from error
    if found.cut:
        raise NotEnrolled(
            f"{log}, line {found.cut[-1]}: expected a whole line, it is cut off; copy the log from "
            "its station again (`tianfu-node log --verify` checks it there)"
        )
    proven = proven_boards(found.lines)
    for uid in uids:
        if uid not in proven:
            raise NotEnrolled(
                f"{log}: expected node {uid} to have proven itself before and after a power cycle, "
                "the log does not show it; flash it again with `tianfu-node flash`"
            )
    own = recipient_id(key.public_key())
    return [_opened(log, found.lines, proven[uid], own, key) for uid in uids or proven]


def _opened(
    log: Path, lines: list[StationLine], line: StationLine, own: str, key: X25519PrivateKey
) -> ProvenNode:
    uid, role, unit, key_id = (line.get(name) for name in ("uid", "role", "unit", "key_id"))
    if not (isinstance(uid, str) and isinstance(role, str)) or not (
        isinstance(unit, int) and isinstance(key_id, int)
    ):
        raise NotEnrolled(
            f"{log}: expected unique id, role, address and key id in the line of node {uid!r}, one "
            "of them is not there; flash it again"
        )
    sealed = [
        each
        for each in lines
        if (each.get("event"), each.get("uid"), each.get("key_id")) == (SEALED, uid, key_id)
    ]
    for each in sealed:
        if each.get("recipient") == own:
            try:
                content = open_sealed(each.get("sealed"), uid, key_id, key)
            except EnrolmentError as error:
                raise NotEnrolled(f"{log}: {error}") from error
            return ProvenNode(uid, role, unit, key_id, content)
    others = ", ".join(str(each.get("recipient")) for each in sealed) or "nobody"
    raise NotEnrolled(
        f"{log}: expected key {key_id} of node {uid} sealed to {own}, got one sealed to {others}; "
        "on the station run `tianfu-node log --seal FILE.pub` with this gateway's public file, and "
        "copy the log again"
    )


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


def _gateway(edit: _Edit, nodes: list[ProvenNode], bus: str) -> None:
    for node in nodes:
        tables = tomllib.loads(edit.text)
        config = gateway_config.parse(tables, edit.config)
        known = [
            (each, device)
            for each in (*config.bus, *config.link)
            for device in each.device
            if getattr(device, "uid", None) == node.uid
        ]
        if known:
            _, device = known[0]
            if _key_id(getattr(device, "key", None), node.uid) != node.key_id:
                raise NotEnrolled(
                    f"{edit.config}: {device.name} is node {node.uid} with another key than key "
                    f"{node.key_id} of the log; if it was flashed anew, or replaced, repeat with "
                    f"--replace {device.name}"
                )
            continue
        names = [each.name for each in config.bus]
        if not bus and len(names) == 1:
            bus = names[0]
        if bus not in names:
            raise NotEnrolled(
                f"{edit.config}: expected --bus with the bus of the new nodes, one of "
                f"{', '.join(names)}, got {bus or 'none'}"
            )
        at = names.index(bus)
        taken = next((each for each in config.bus[at].device if each.unit == node.unit), None)
        if taken is not None:
            raise NotEnrolled(
                f"{edit.config}: expected address {node.unit} of bus {bus} to be free for node "
                f"{node.uid}, {taken.name} has it; flash the node with another --unit, or repeat "
                f"with --replace {taken.name} if it takes its place"
            )
        used = {device.name for each in (*config.bus, *config.link) for device in each.device}
        name = f"{node.role}-{node.unit}"
        name = f"{name}-{node.uid[-6:]}" if name in used else name
        table = {
            "name": name,
            "unit": node.unit,
            "kind": "node",
            "role": node.role,
            "uid": node.uid,
            "key": node.file_name,
        }
        _device_list(tables, at).append(dict(table))
        block = "[[bus.device]]\n" + "".join(f"{k} = {_toml(v)}\n" for k, v in table.items())
        edit.step(
            f"bus {bus}: {name}, address {node.unit}, node {node.uid}, key {node.key_id}",
            _placed(edit, partial(add_below, table="bus", name=bus, block=block)),
            lambda found: gateway_config.parse(found, edit.config),
            gateway_config.parse(tables, edit.config),
        )
        edit.key_file(node)


def _replacement(edit: _Edit, nodes: list[ProvenNode], name: str) -> None:
    tables = tomllib.loads(edit.text)
    config = gateway_config.parse(tables, edit.config)
    devices = [device for bus in config.bus for device in bus.device]
    old = next((each for each in devices if each.name == name), None)
    if not isinstance(old, NodeDevice):
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
    change = {"unit": node.unit, "key": node.file_name, "replaces": number}
    for at in range(len(config.bus)):
        for table in _device_list(tables, at):
            if table.get("name") == name:
                table.update(change)
    values = {key: _toml(value) for key, value in change.items()}
    edit.step(
        f"{name}: node {node.uid} continues with key {node.key_id} in place of key {number}",
        _placed(edit, partial(set_keys, table="bus.device", name=name, values=values)),
        lambda found: gateway_config.parse(found, edit.config),
        gateway_config.parse(tables, edit.config),
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


def _device_list(tables: dict[str, object], at: int) -> list[dict[str, object]]:
    """Return the device tables of the polled bus with this number."""
    buses = tables["bus"]
    assert isinstance(buses, list)
    polled = [bus for bus in buses if bus.get("type") != "link"]
    found: list[dict[str, object]] = polled[at].setdefault("device", [])
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


__all__ = ["ConfigError", "Enrolment", "NotEnrolled", "ProvenNode", "plan", "read_nodes"]
