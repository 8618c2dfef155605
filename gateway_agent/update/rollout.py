"""Which nodes are updated when: canaries first, then groups, with a stop at the first failure.

What was ordered is in two files of the state directory, so that an agent that was killed goes on:
the image, and the order with its outcome. How far each node is, the node itself shows. Every
decision is a record in the stream. The end is noted again by the next agent if it is not known to
be stored; what else a kill could lose is in the record of going on, or is decided and noted anew.
"""

import logging
import secrets
from collections.abc import Callable, Mapping, Sequence
from typing import Final, Protocol

import msgspec
from msgspec import Struct

from gateway_agent.clock import GatewayClock
from gateway_agent.config import Bus, GatewayConfig
from gateway_agent.directories import replace_file
from gateway_agent.field.devices import OpenDevice, OpenNode, open_all
from gateway_agent.status import NodeUpdateStatus, RolloutStatus
from protocols.text_of_others import printable
from protocols.uplink import MAX_ACTION_DETAIL, MAX_OPERATOR_LENGTH, Action

from .bus_driver import BusDriver
from .bus_update import BusUpdate
from .image import SignedImage, UpdateError, read_image
from .node_session import NodeSession, UpdateTarget
from .order_socket import UpdateOrder

log = logging.getLogger(__name__)

IMAGE_FILE: Final = "update.tfu"
ORDER_FILE: Final = "update.json"
ALL: Final = "all"
MAX_GROUP: Final = 247
_MAX_SESSION: Final = 0xFFFF


class Noted(Protocol):
    """Puts what was done into the stream; see :meth:`gateway_agent.field.field.Field.note`."""

    def __call__(
        self, device_id: str, action: Action, committed: Callable[[], None] | None = None
    ) -> None: ...


class _Kept(Struct, kw_only=True):
    """The order and its outcome, as they are on the medium."""

    session: int
    canary: int
    group: int
    nodes: list[str]  # device ids
    ended: str = ""  # how it ended; empty while it has not
    failed: dict[str, str] = {}  # why, by device id
    last: tuple[str, str] = ("", "")  # the action that ended it and who did it, until it is stored


class Rollout:
    """All updates of one gateway, one at a time. ConfigError: a node's key cannot be used."""

    def __init__(self, config: GatewayConfig, clock: GatewayClock, note: Noted) -> None:
        self._gateway = config.gateway.id
        self._note_in_stream = note
        self._keys = config.gateway.update_keys
        self._directory = config.gateway.state_dir
        self._clock = clock
        self.drivers: dict[str, BusDriver] = {}
        self.change(config, open_all(config.bus))
        self._kept: _Kept | None = None
        self._image: SignedImage | None = None
        self._sessions: dict[str, NodeSession] = {}  # of the groups that were begun
        self._group: list[NodeSession] = []
        self._noted: set[str] = set()  # device ids of nodes whose end is in the stream

    @property
    def is_under_way(self) -> bool:
        """Return whether nodes are updated now."""
        return self._kept is not None and not self._kept.ended

    def change(self, config: GatewayConfig, buses: Sequence[Sequence[OpenDevice]]) -> None:
        """Update the nodes of ``config``, of which ``buses`` are the devices; none is under way."""
        drivers, self.drivers = self.drivers, {}
        self._nodes: dict[str, tuple[Bus, UpdateTarget, str]] = {}  # by device id
        for bus, devices in zip(config.bus, buses, strict=True):
            name = bus.name
            self.drivers[name] = drivers.get(name) or BusDriver(self._clock, self._advance)
            for opened in devices:
                if isinstance(opened, OpenNode):
                    device = opened.device
                    name = device.device_id(config.gateway.id)
                    uid = bytes.fromhex(device.uid)
                    target = UpdateTarget(name, device.name, device.unit, uid, opened.key)
                    self._nodes[name] = (bus, target, device.role)

    def resume(self) -> None:
        """Go on with what the agent before this one was ordered; log what cannot go on."""
        kept = None
        try:
            data = (self._directory / ORDER_FILE).read_bytes()
            kept = msgspec.json.decode(data, type=_Kept)
            self._image = read_image((self._directory / IMAGE_FILE).read_bytes(), self._keys)
        except FileNotFoundError:
            return
        except (OSError, ValueError, UpdateError) as error:
            if kept is None or not kept.ended:
                self._give_up(error)
            return
        self._kept = kept
        if not kept.ended:
            log.info("update: going on with %d nodes", len(kept.nodes))
            self._note("update-resumed", self._plan(kept))
            self._advance()
        elif kept.last[0]:
            self._note_end(kept)

    def order(self, order: UpdateOrder, data: bytes) -> int:
        """Begin an update, or cancel; return how many nodes it is for. UpdateError: why not."""
        kept = self._kept
        if order.cancel:
            return self._cancel(order.operator)
        if kept is not None and not kept.ended:
            raise UpdateError(
                "an update is under way: wait for it (`tianfu-gateway status`), or end it with"
                " `tianfu-gateway update --cancel`"
            )
        image = read_image(data, self._keys)
        names = self._named(order.target)
        if not 0 <= order.canary <= MAX_GROUP or not 1 <= order.group <= MAX_GROUP:
            raise UpdateError(f"canary and group: expected 0 (1) to {MAX_GROUP}")
        session = 1 + secrets.randbelow(_MAX_SESSION)
        self._kept = _Kept(session=session, canary=order.canary, group=order.group, nodes=names)
        self._image = image
        self._sessions, self._group, self._noted = {}, [], set()
        try:
            replace_file(self._directory / IMAGE_FILE, image.file)
            self._keep()
        except OSError as error:
            self._kept = None
            raise UpdateError(f"{self._directory}: {error}; nothing was begun") from error
        log.info("update: version %d for %d nodes", image.manifest.version, len(names))
        self._note("update-ordered", self._plan(self._kept), operator=order.operator)
        self._advance()
        return len(names)

    def status(self) -> RolloutStatus | None:
        """Return what is under way, or was last; None if nothing was ordered yet."""
        kept, image = self._kept, self._image
        if kept is None or image is None:
            return None
        works = [driver.work for driver in self.drivers.values() if driver.work is not None]
        return RolloutStatus(
            version=image.manifest.version,
            ended=kept.ended,
            nodes=[self._node_status(name, kept) for name in kept.nodes],
            bus_ms=round(sum(work.spent_ms for work in works)),
            hindrance="; ".join(work.hindrance for work in works if work.hindrance),
        )

    # --- inside ----------------------------------------------------------------------------------

    def _named(self, target: str) -> list[str]:
        names = [
            name
            for name, (_, node, role) in self._nodes.items()
            if target in (ALL, role, node.name, name)
        ]
        if not names:
            raise UpdateError(
                f'{target} is no node on a bus, no role and not "all": name one of'
                f" {', '.join(node.name for _, node, _ in self._nodes.values()) or 'no nodes'}"
            )
        return names

    def _groups(self, kept: _Kept) -> list[list[str]]:
        names = [name for name in kept.nodes if name in self._nodes]
        canary = kept.canary
        groups = [names[:canary]] if canary else []
        return groups + [
            names[at : at + kept.group] for at in range(canary, len(names), kept.group)
        ]

    def _advance(self) -> None:
        """Begin the next group when the one before is over, and end the update at a failure."""
        kept, image = self._kept, self._image
        if kept is None or image is None or kept.ended:
            return
        self._note_nodes()
        if not all(node.is_over for node in self._group):
            return
        failed = [node for node in self._group if node.phase == "failed"]
        if failed:
            kept.failed = {node.target.device_id: node.problem for node in failed}
            rest = len(kept.nodes) - len(self._sessions)
            why = f"stopped: {failed[0].target.name} failed; {rest} nodes were not begun"
            self._end(why, "update-stopped")
            return
        if self._group:
            self._note("update-passed", _names(self._group))
        for group in self._groups(kept):
            if group and group[0] not in self._sessions:
                self._begin(group, image, kept.session)
                self._note("update-group", _names(self._group))
                return
        self._end("done", "update-done")

    def _begin(self, group: Sequence[str], image: SignedImage, session: int) -> None:
        now_ms = self._clock.boot_ms()
        by_bus: dict[str, list[NodeSession]] = {}
        self._group = []
        for name in group:
            bus, target, _ = self._nodes[name]
            node = NodeSession(target, image, session, now_ms)
            self._sessions[name] = node
            self._group.append(node)
            by_bus.setdefault(bus.name, []).append(node)
        buses: Mapping[str, Bus] = {bus.name: bus for bus, _, _ in self._nodes.values()}
        for name, driver in self.drivers.items():
            nodes = by_bus.get(name)
            driver.work = BusUpdate(buses[name], image, session, nodes) if nodes else None

    def _cancel(self, operator: str) -> int:
        kept = self._kept
        if kept is None or kept.ended:
            raise UpdateError("no update is under way: there is nothing to cancel")
        self._end("cancelled by the operator", "update-cancelled", operator)
        return len(kept.nodes)

    def _give_up(self, error: Exception) -> None:
        """Note, once, that what an agent before this one was ordered cannot go on."""

        def committed() -> None:
            (self._directory / ORDER_FILE).unlink(missing_ok=True)

        why = f"the update that was under way cannot go on, order it again: {error}"
        log.error("%s", why)
        self._note("update-stopped", why, committed=committed)

    def _end(self, how: str, action: str, operator: str = "") -> None:
        assert self._kept is not None
        self._kept.ended, self._kept.last = how, (action, operator)
        self._group = []
        for driver in self.drivers.values():
            driver.work = None
        log.info("update: %s", how)
        self._keep_if_possible()
        self._note_end(self._kept)

    def _keep(self) -> None:
        replace_file(self._directory / ORDER_FILE, msgspec.json.encode(self._kept))

    def _keep_if_possible(self) -> None:
        try:
            self._keep()
        except OSError as error:  # the nodes show the same to the agent after this one
            log.error("%s: %s", self._directory / ORDER_FILE, error)

    # --- in the stream ---------------------------------------------------------------------------

    def _note_end(self, kept: _Kept) -> None:
        def committed() -> None:
            kept.last = ("", "")
            if self._kept is kept:
                self._keep_if_possible()

        action, operator = kept.last
        self._note(action, kept.ended, operator=operator, committed=committed)

    def _note_nodes(self) -> None:
        """Note the nodes of the group whose update has ended since the last look."""
        for node in self._group:
            name = node.target.device_id
            if node.is_over and name not in self._noted:
                self._noted.add(name)
                what = node.problem or "runs the new version, confirmed"
                log.info("update: %s: %s", node.target.name, what)
                self._note("update-failed" if node.problem else "update-confirmed", what, name)

    def _note(
        self,
        action: str,
        detail: str,
        device_id: str = "",
        operator: str = "",
        committed: Callable[[], None] | None = None,
    ) -> None:
        version = 0 if self._image is None else self._image.manifest.version
        operator = printable(operator)[:MAX_OPERATOR_LENGTH]
        what = Action(action, operator, version, printable(detail)[:MAX_ACTION_DETAIL])
        self._note_in_stream(device_id or self._gateway, what, committed)

    def _plan(self, kept: _Kept) -> str:
        names = [self._nodes[name][1].name if name in self._nodes else name for name in kept.nodes]
        return (
            f"session {kept.session}: {len(names)} nodes, {kept.canary} of them first, then"
            f" {kept.group} at a time: {', '.join(names)}"
        )

    def _node_status(self, name: str, kept: _Kept) -> NodeUpdateStatus:
        session = self._sessions.get(name)
        if session is None:
            shown = self._nodes[name][1].name if name in self._nodes else name
            problem = kept.failed.get(name, "")
            phase = "failed" if problem else "done" if kept.ended == "done" else "waiting"
            return NodeUpdateStatus(name=shown, phase=phase, problem=problem)
        return NodeUpdateStatus(
            name=session.target.name,
            phase=session.phase,
            blocks=session.blocks,
            missing=len(session.missing),
            problem=session.problem,
        )


def _names(group: Sequence[NodeSession]) -> str:
    return ", ".join(node.target.name for node in group)
