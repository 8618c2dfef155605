"""Decide which records of a batch may become data: whose device it is, and whether it is new.

A gateway signs what it sends, so it can sign anything. Three rules keep its mistakes and forgeries
from others:

* A device belongs to one gateway: one of a third party by its name, ``<gateway>.<device>``, a node
  to the gateway that brought its first sample. Which others may bring it, after a move or for a
  time, is written in the collector's configuration (``[[device]]``).
* A frame of a node (key, boot epoch, sequence) is stored once, whoever brings it under whatever
  number.
* After a gap ``node_replaced`` no frame under a key that the node had before it becomes data: the
  board that was taken away may still exist.

What breaks a rule is refused with the reason and kept, as any other wrong record.
"""

from collections.abc import Collection, Mapping, Sequence
from typing import Final

from protocols.identity import is_node_id

from .database import Database
from .new_record import FrameId, NewRecord

REPLACED: Final = "node_replaced"
MAX_FOREIGN: Final = 100  # pairs of gateway and device that are remembered as reported


class Admission:
    """``allowed``: by device id, the gateways that may bring it; a device it does not have belongs
    to one gateway. ``foreign`` are the newest texts about records of others' devices.
    """

    def __init__(
        self,
        database: Database,
        allowed: Mapping[str, Collection[str]],
        gateways: Collection[str] = (),
    ) -> None:
        """Take ``gateways``, all there are: "a.b" may be one, or a device of the gateway "a"."""
        self._database = database
        self._allowed = allowed
        self._within = {
            name: inner
            for name in gateways
            if (inner := [other for other in gateways if other.startswith(f"{name}.")])
        }
        self._retired: dict[str, set[int]] | None = None  # key ids, by device
        self.foreign: dict[tuple[str, str], str] = {}
        self.refused_foreign = 0  # of the newest batch
        self.refused_frames = 0

    def check(self, gateway: str, new: Sequence[NewRecord]) -> list[NewRecord]:
        """Return ``new`` with those refused that must not become data."""
        self.refused_foreign = self.refused_frames = 0
        frames: set[FrameId] = set()
        reasons: dict[str, str] = {}  # by device; "" for one that is the gateway's to bring
        checked = []
        for item in new:
            if item.decoded is None:
                checked.append(item)
                continue
            device = item.decoded.device_id
            reason = reasons.get(device)
            if reason is None:
                reason = reasons[device] = self._foreign(gateway, device)
            checked.append(self._check(gateway, item, reason, frames))
        return checked

    def _check(self, gateway: str, item: NewRecord, reason: str, frames: set[FrameId]) -> NewRecord:
        assert item.decoded is not None
        if reason:
            self.refused_foreign += 1
            self._report(gateway, item.decoded.device_id, reason)
            return item.refuse(reason)
        frame = item.frame
        if frame is not None:
            if frame.key_id in self._retired_keys().get(frame.device, ()):
                return item.refuse(f"{frame}: another board took its place before, with a new key")
            where = "in this batch" if frame in frames else self._database.where_is(frame)
            if where:
                self.refused_frames += 1
                return item.refuse(f"{frame} is stored already: {where}")
            frames.add(frame)
        gap = item.decoded.gap
        if gap is not None and gap.cause == REPLACED:
            self._replace(item.decoded.device_id, frames)
        return item

    def _retired_keys(self) -> dict[str, set[int]]:
        if self._retired is None:
            self._retired = self._database.retired_keys(REPLACED)
        return self._retired

    def _replace(self, device: str, frames: Collection[FrameId]) -> None:
        """Retire the keys of a device that are stored, or stand before in this batch."""
        keys = {frame.key_id for frame in frames if frame.device == device}
        keys |= self._database.keys_of(device)
        self._retired_keys().setdefault(device, set()).update(keys)

    def _foreign(self, gateway: str, device: str) -> str:
        """Return why this gateway may not bring records of a device; "" if it may."""
        allowed = self._allowed.get(device)
        if allowed is not None:
            if gateway in allowed:
                return ""
            return f"{device}: [[device]] names {', '.join(sorted(allowed))}, not {gateway}"
        if not is_node_id(device) and device != gateway and not device.startswith(f"{gateway}."):
            return f"{device}: expected a device of {gateway}, named {gateway}.<device>"
        for inner in self._within.get(gateway, ()):
            if device == inner or device.startswith(f"{inner}."):
                return f"{device}: belongs to the gateway {inner}"
        owner = self._database.owner_of(device)
        if owner is None or owner == gateway:
            return ""
        return (
            f"{device}: belongs to {owner}; if it was moved to {gateway}, name both gateways in a"
            " [[device]] of the collector's configuration"
        )

    def _report(self, gateway: str, device: str, reason: str) -> None:
        self.foreign[gateway, device] = f"{gateway}: its records are refused: {reason}"
        while len(self.foreign) > MAX_FOREIGN:
            del self.foreign[next(iter(self.foreign))]
