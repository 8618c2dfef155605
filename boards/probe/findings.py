"""What a look at a port may find, as values for a program and as lines for a person."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

_NOTHING: Final = (
    "nothing answers. A node that runs prints nothing on its console: press its reset during "
    "`tianfu-node probe --port PORT --wait 10`. On a bus check A and B, speed and power"
)


@dataclass(frozen=True, slots=True)
class FoundLoader:
    """The chip's bootloader answers, or an ST-LINK reaches the chip: then there is no ``version``.

    What a protected chip does not show is None.
    """

    version: str
    chip: str
    boards: tuple[str, ...]  # our boards with this chip
    read_protected: bool = False
    uid: str | None = None
    image: str | None = None  # SHA-256; empty: blank
    image_bytes: int | None = None
    role: str | None = None  # of the node in the record store; empty: none
    key_id: int | None = None

    def lines(self) -> list[str]:
        """Return what a person wants to read of it."""
        who = f"bootloader {self.version} of {self.chip}" if self.version else self.chip
        text = [f"{who}: the board waits to be flashed"]
        text.append(f"board {' or '.join(self.boards)}" if self.boards else "no board of ours")
        if self.read_protected:
            text.append("read-out protected: unique id and image cannot be read")
        if self.uid is not None:
            text.append(f"unique id {self.uid}")
        if self.image_bytes is not None:
            text.append(f"image {self.image} ({self.image_bytes} bytes)" if self.image else "blank")
        if self.role is not None:
            text.append(
                f"record store: {self.role} node, key {self.key_id}"
                if self.role
                else "record store: no node"
            )
        return text


@dataclass(frozen=True, slots=True)
class FoundConsole:
    """A console answers: its prompt, or what a node prints."""

    prompt: bool
    printed: tuple[Mapping[str, object], ...]  # the JSON lines, in order

    def lines(self) -> list[str]:
        """Return what a person wants to read of it."""
        text = ["console of a node, at its prompt: the node does not run"] if self.prompt else []
        for fields in self.printed:
            if "role" in fields:
                text.append(f"console: {fields['role']} node, boot {fields.get('boot_epoch')}")
            elif "error" in fields or "failure" in fields:
                text.append(f"console: {fields.get('error') or fields.get('failure')}")
        return text or ["console of a node"]


@dataclass(frozen=True, slots=True)
class FoundNode:
    """A node of ours answers on a bus."""

    unit: int
    role: str
    product: str
    uid: str
    image: str
    key_id: int
    signed_writes: bool
    sample: str  # boot epoch and number
    status: tuple[str, ...]

    def lines(self) -> list[str]:
        """Return what a person wants to read of it."""
        key = f"key {self.key_id}" if self.key_id else "no key"
        return [
            f"address {self.unit}: {self.role} node ({self.product}), unique id {self.uid}",
            f"  image {self.image or 'not shown'}",
            f"  sample {self.sample}, {key}, status {' '.join(self.status) or 'good'}",
        ]


@dataclass(frozen=True, slots=True)
class FoundOther:
    """Something else answers at an address of a bus."""

    unit: int
    text: str

    def lines(self) -> list[str]:
        """Return what a person wants to read of it."""
        return [f"address {self.unit}: {self.text}"]


Finding = FoundLoader | FoundConsole | FoundNode | FoundOther


@dataclass(frozen=True, slots=True)
class PortLook:
    """What is at a port; ``problem`` is why it could not be looked at, empty if it could."""

    port: str
    findings: tuple[Finding, ...] = ()
    problem: str = ""

    def lines(self) -> list[str]:
        """Return what a person wants to read of it."""
        if self.problem:
            return [self.problem]
        text = [line for each in self.findings for line in each.lines()]
        return text or [_NOTHING]
