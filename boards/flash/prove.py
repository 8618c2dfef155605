"""The proof of a board: the node itself, over its own bus, shows what was flashed.

Its device identification must give the chip's unique id, the role and the SHA-256 of the image,
which the node computes over its flash, and a sample that it took must verify with the key that it
was given. Each start runs the self-test before the first sample; its result and why the node
started are in the event frame, signed like the sample.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from boards.node_line import NodeIdentity, NodeLine, NodeLineError
from boards.provision import node_key
from firmware.node.selftest import FAILED_ROLE, ROLE_SHIFT
from protocols.identity import usb_serial
from protocols.wire.errors import PeerError
from protocols.wire.registers import (
    EVENT_BOOT,
    EVENT_SELFTEST,
    STATUS_SELFTEST_FAILED,
    STATUS_STORE_VOLATILE,
)
from protocols.wire.sample import Sample, verify

from .errors import (
    NO_NODE,
    NO_POWER_CYCLE,
    NOT_PROVEN,
    OTHER_CHIP,
    OTHER_NODE,
    SELF_TEST,
    FlashingError,
)

POWER_ON: Final = 0  # the argument of the event "boot"
_LOOK_S: Final = 0.2
_CAUSES: Final = ("power on", "its reset pin or a command", "its watchdog")


@dataclass(frozen=True, slots=True)
class NodeProof:
    """What the node showed. ``reset_cause`` is the word of the event "boot", -1 if that is lost;
    ``silent_parts`` has a bit for each part of the role that the self-test did not hear.
    """

    uid: str
    role: str
    image: str
    key_id: int
    boot_epoch: int
    seq: int
    reset_cause: int = POWER_ON
    silent_parts: int = 0

    @property
    def sample(self) -> str:
        """Which sample it was: boot epoch and number."""
        return f"{self.boot_epoch}/{self.seq}"


@dataclass(frozen=True, slots=True)
class NodeProver:
    """What a node must show, and where: ``unit`` and ``baud`` are of the bus at ``port``.

    ``key`` is the key file of the node, ``image`` the SHA-256 of its image in hex. Without ``uid``
    the node's own must be one that ``usb_serial`` is derived from.
    """

    port: str
    unit: int
    baud: int
    uid: str
    role: str
    image: str
    key: Path
    usb_serial: str = ""

    def prove(self, limit_s: float) -> NodeProof:
        """Wait for the node and check what it shows. BoardError within about ``limit_s``."""
        end = time.monotonic() + limit_s
        with NodeLine(self.port, self.unit, self.baud) as line:
            return self._proof(line, _wait_for_node(line, end), end)

    def prove_again(
        self, first: NodeProof, limit_s: float, again: Callable[[str], None]
    ) -> NodeProof:
        """Wait until the node has lost its power and shows the same again. BoardError.

        ``again`` gets what to do of a node that was reset in another way.
        """
        end = time.monotonic() + limit_s
        came = started = ""
        seen = first.boot_epoch
        # Asked once each time: without power it answers nothing.
        with NodeLine(self.port, self.unit, self.baud, tries=1) as line:
            while time.monotonic() < end:
                try:
                    identity = line.identity()
                    _, sample = line.sample(identity.map)
                except NodeLineError as error:
                    came = str(error)
                    continue
                if sample.header.boot_epoch <= seen:
                    came = f"it runs on in the boot {seen}{started}"
                    time.sleep(_LOOK_S)
                    continue
                proof = self._proof(line, identity, end)
                if proof.reset_cause == POWER_ON:
                    return proof
                seen = proof.boot_epoch
                started = f", started by {_cause(proof.reset_cause)}"
                again(f"the node is back{started}: take its power away and give it back")
        raise FlashingError(
            NO_POWER_CYCLE,
            f"{self._where}: expected a node that starts from power on with a boot epoch above "
            f"{first.boot_epoch} within {limit_s:g} s: {came}",
        )

    @property
    def _where(self) -> str:
        return f"{self.port}, address {self.unit}"

    def _proof(self, line: NodeLine, identity: NodeIdentity, end: float) -> NodeProof:
        for what, wanted, got in (
            ("unique id", self.uid or identity.uid.hex(), identity.uid.hex()),
            ("role", self.role, identity.map.role),
            ("image's SHA-256", self.image, identity.image),
        ):
            if got != wanted:
                raise FlashingError(
                    OTHER_NODE,
                    f"{self._where}: expected {what} {wanted}, the node that answers has "
                    f"{got or 'none'}",
                )
        serial = usb_serial(identity.uid)
        if not self.uid and serial != self.usb_serial:
            raise FlashingError(
                OTHER_CHIP,
                f"{self._where}: expected a unique id with USB serial number {self.usb_serial}, "
                f"the node that answers has {identity.uid.hex()}, whose number is {serial}",
            )
        sample, cause, failed = self._signed(line, identity, end)
        header = sample.header
        own = failed & ((1 << ROLE_SHIFT) - 1) & ~FAILED_ROLE
        volatile = header.status & STATUS_STORE_VOLATILE
        if own or volatile:
            what = "its record store takes nothing" if volatile else f"failed checks {own:#06x}"
            raise FlashingError(
                SELF_TEST, f"{self._where}: expected a passed self-test, got {what}"
            )
        return NodeProof(
            identity.uid.hex(),
            identity.map.role,
            identity.image,
            header.key_id,
            header.boot_epoch,
            header.seq,
            cause,
            failed >> ROLE_SHIFT,
        )

    def _signed(
        self, line: NodeLine, identity: NodeIdentity, end: float
    ) -> tuple[Sample, int, int]:
        """Wait for a sample; return it, the cause of the start and the mask of the self-test.

        A sample is taken after the self-test, so both frames of one boot have its result.
        """
        secret = node_key(self.key)
        assert secret.mac is not None
        while True:
            problem = "it took no sample"
            try:
                frame, sample = line.sample(identity.map)
                verify(frame, secret.mac, identity.uid)
                if sample.header.seq:
                    frame, header, events = line.events()
                    verify(frame, secret.mac, identity.uid)
                    if header.boot_epoch == sample.header.boot_epoch:
                        causes = [each.arg for each in events if each.code == EVENT_BOOT]
                        masks = [each.arg for each in events if each.code == EVENT_SELFTEST]
                        failed = sample.header.status & STATUS_SELFTEST_FAILED
                        if failed and not masks:
                            problem = "its self-test failed and what failed is lost"
                        else:
                            return sample, causes[0] if causes else -1, sum(masks)
            except (NodeLineError, PeerError) as error:
                problem = str(error)
            if time.monotonic() >= end:
                raise FlashingError(NOT_PROVEN, f"{self._where}: {problem}")
            time.sleep(_LOOK_S)


def _cause(number: int) -> str:
    return _CAUSES[number] if 0 <= number < len(_CAUSES) else "a cause that is lost"


def _wait_for_node(line: NodeLine, end: float) -> NodeIdentity:
    while True:
        try:
            return line.identity()
        except NodeLineError as error:
            if time.monotonic() >= end:
                raise FlashingError(NO_NODE, str(error)) from error
        time.sleep(_LOOK_S)
