"""The register bank: what the Modbus server core reads and writes (see the register map).

Nothing on the reading side allocates, so a poll costs no heap however long the node runs. Every
request is answered in one go between two turns of the event loop and takes ``shown()`` once, so
it sees one frame.
"""

from micropython import const

from protocols.wire.modbus.pdu import (
    ILLEGAL_ADDRESS,
    ILLEGAL_FUNCTION,
    ILLEGAL_VALUE,
    NAK,
    NO_ANSWER,
)
from protocols.wire.registers import (
    COMMAND_ADDRESS,
    COMMAND_MEMORY,
    COMMAND_RESTART,
    COMMISSIONED_ADDRESS,
    CONFIG_ADDRESS,
    CONTROL_WORDS,
    EVENT_ADDRESS,
    EVENT_WORDS,
    IMAGE_INFO_ADDRESS,
    IMAGE_INFO_WORDS,
    IMAGE_PAGE_ADDRESS,
    IMAGE_WINDOW_ADDRESS,
    IMAGE_WINDOW_BYTES,
    IMAGE_WINDOW_WORDS,
    RAW_ADDRESS,
    SAMPLE_ADDRESS,
    SETTINGS,
    SIGNED_ADDRESS,
    SITE_ADDRESS,
    SITE_END,
    setting_address,
)
from protocols.wire.signed_write import MAX_WORDS, MIN_WORDS

TYPE_CHECKING = const(False)
if TYPE_CHECKING:
    from .config import Config
    from .frames import EventFrame, SampleFrame
    from .ports import Picture, Role, VisitedNode
    from .site import Visit
    from .update import NodeUpdate
    from .write_guard import WriteGuard

_BY_UID = const(0x0190)  # site.BY_UID, whose module is not there before it is needed
_UPDATE = const(0x0400)  # UPDATE_ADDRESS, whose module costs heap that most boots can do without
_MAX_PAGE = const(273)  # of 65536 bytes, the longest image of the map
_EXCEPTIONS = (0, ILLEGAL_ADDRESS, ILLEGAL_VALUE)  # by what Config.check returns


class Bank:
    """Registers of one node. ``command`` is the last accepted command; the server task takes it.

    The image blocks answer exception 02 while the setting ``image_export`` is 0 and on a role that
    makes no images: what must not leave the node is not even addressable.
    """

    def __init__(
        self,
        sample: "SampleFrame",
        events: "EventFrame",
        config: "Config",
        role: "Role",
        guard: "WriteGuard",
    ) -> None:
        self.sample = sample
        self.events = events
        self.config = config
        self.role = role
        self.guard = guard
        self.site: Visit | None = None  # of a visit of a technician
        self.command = 0
        self.page = 0
        self._sample_words = sample.map.words
        self._export = setting_address("image_export")
        self.node: VisitedNode | None = None  # for what it has registers of now and then only

    def read_input(self, address: int, count: int, out: bytearray, at: int) -> int:
        """Copy ``count`` input registers to ``out`` from byte ``at`` on; 0 or an exception code."""
        end = address + count
        if count < 1:
            return ILLEGAL_ADDRESS
        if SAMPLE_ADDRESS <= address and end <= SAMPLE_ADDRESS + self._sample_words:
            return _copy(self.sample.shown(), 2 * (address - SAMPLE_ADDRESS), 2 * count, out, at)
        if EVENT_ADDRESS <= address and end <= EVENT_ADDRESS + EVENT_WORDS:
            return _copy(self.events.shown(), 2 * (address - EVENT_ADDRESS), 2 * count, out, at)
        points = self.sample.map.points
        if RAW_ADDRESS <= address and end <= RAW_ADDRESS + len(points):
            for index in range(address - RAW_ADDRESS, end - RAW_ADDRESS):
                value = self.role.raw[index]
                out[at] = value >> 8
                out[at + 1] = value & 0xFF
                at += 2
            return 0
        image = self.role.image
        if image is not None and self.config.value(self._export):
            if IMAGE_INFO_ADDRESS <= address and end <= IMAGE_INFO_ADDRESS + IMAGE_INFO_WORDS:
                start = 2 * (address - IMAGE_INFO_ADDRESS)
                for index in range(start, start + 2 * count):
                    out[at] = _info(image, self.page, index)
                    at += 1
                return 0
            if IMAGE_WINDOW_ADDRESS <= address and end <= IMAGE_WINDOW_ADDRESS + IMAGE_WINDOW_WORDS:
                start = self.page * IMAGE_WINDOW_BYTES + 2 * (address - IMAGE_WINDOW_ADDRESS)
                for index in range(2 * count):
                    inside = start + index < image.length
                    out[at + index] = image.data[start + index] if inside else 0
                return 0
        update = self.open_update() if address >= _UPDATE else None
        return ILLEGAL_ADDRESS if update is None else update.read_input(address, count, out, at)

    def read_holding(self, address: int, count: int, out: bytearray, at: int) -> int:
        """Copy ``count`` holding registers to ``out`` from byte ``at`` on; 0 or an exception."""
        end = address + count
        if count < 1:
            return ILLEGAL_ADDRESS
        if SITE_ADDRESS <= address and end <= SITE_END:
            return self._on_site().read(address, count, out, at)
        settings = CONFIG_ADDRESS <= address and end <= CONFIG_ADDRESS + len(SETTINGS)
        if not settings and not (
            COMMAND_ADDRESS <= address and end <= COMMAND_ADDRESS + CONTROL_WORDS
        ):
            return ILLEGAL_ADDRESS
        for register in range(address, end):
            if settings:
                value = self.config.value(register - CONFIG_ADDRESS)
            elif register < COMMISSIONED_ADDRESS:
                value = self.page if register == IMAGE_PAGE_ADDRESS else 0
            else:
                shown = self.guard.shown
                index = 2 * (register - COMMISSIONED_ADDRESS)
                value = shown[index] << 8 | shown[index + 1]
            out[at] = value >> 8
            out[at + 1] = value & 0xFF
            at += 2
        return 0

    def write_holding(self, address: int, count: int, data: bytearray, at: int) -> int:
        """Write ``count`` holding registers from ``data[at:]``, all or none; 0 or an exception.

        Exception 01, where nothing else is wrong (its text has "in the wrong state"): this node
        takes such a write only signed, or only plain. 07: the tag or the counter of a signed write
        is wrong. What changes nothing that lasts, image page and COMMAND_MEMORY, needs no tag.
        """
        guard = self.guard
        if address > _UPDATE:
            update = self.open_update()
            return ILLEGAL_ADDRESS if update is None else update.write(address, count, data, at)
        by_uid = address == _BY_UID
        if by_uid:
            count -= 6
            if count < MIN_WORDS:
                return ILLEGAL_VALUE
            if not self._on_site().is_meant(data, at):
                return NO_ANSWER
            at += 12
        elif address != SIGNED_ADDRESS:
            return self._write(address, count, data, at, not guard.commissioned)
        elif not guard.commissioned:
            return ILLEGAL_FUNCTION
        elif count < MIN_WORDS:
            return ILLEGAL_VALUE
        address = data[at + 8] << 8 | data[at + 9]
        if count > MAX_WORDS and not SITE_ADDRESS <= address < SITE_END:
            return ILLEGAL_VALUE
        if guard.commissioned and not guard.accepts(data, at, at + 2 * count):
            return NAK
        at += 8
        count -= MIN_WORDS - 1
        if address == _UPDATE:
            update = self.open_update()
            if update is not None:
                return update.order(count, data, at + 2)
        return self._write(address, count, data, at + 2, True)

    def _write(self, address: int, count: int, data: bytearray, at: int, allowed: bool) -> int:
        if count < 1:
            return ILLEGAL_ADDRESS
        values = []
        for index in range(count):
            values.append(data[at + 2 * index] << 8 | data[at + 2 * index + 1])
        if SITE_ADDRESS <= address < SITE_END:
            return self._on_site().write(address, values, allowed)
        value = values[0]
        command = address == COMMAND_ADDRESS and count == 1
        if address == IMAGE_PAGE_ADDRESS and count == 1:
            if value > _MAX_PAGE:
                return ILLEGAL_VALUE
            self.page = value
            return 0
        if command:
            if value != COMMAND_RESTART and value != COMMAND_MEMORY:
                return ILLEGAL_VALUE
            allowed = allowed or value == COMMAND_MEMORY
        else:
            wrong = self.config.check(address - CONFIG_ADDRESS, values)
            if wrong:
                return _EXCEPTIONS[wrong]
        if not allowed:
            self.guard.refuse()
            return ILLEGAL_FUNCTION
        if command:
            self.command = value
        else:
            self.config.set_many(address - CONFIG_ADDRESS, values)
        return 0

    def open_update(self) -> "NodeUpdate | None":
        """Return what has the registers of an update; None on a board without slots."""
        node = self.node
        slots = None if node is None else node.board.slots()
        if node is None or slots is None:
            return None
        if node.update is None:
            from .update import NodeUpdate  # it has no heap before somebody asks for it

            node.update = NodeUpdate(node, slots)
        return node.update

    def _on_site(self) -> "Visit":
        site = self.site
        if site is None:
            from .site import Visit  # a node that nobody visits has no heap for it

            assert self.node is not None
            site = self.site = Visit(self.node)
        return site


def _copy(frame: bytearray, start: int, length: int, out: bytearray, at: int) -> int:
    # A copy of the whole frame takes no heap, one of a part would, and in Python a byte takes 6 us.
    # So its beginning is copied with all that follows, which lies in ``out`` behind the answer.
    if start == 0 and at + len(frame) <= len(out):
        out[at : at + len(frame)] = frame
        return 0
    for index in range(length):
        out[at + index] = frame[start + index]
    return 0


def _info(image: "Picture", page: int, index: int) -> int:
    # image_number u32, length u32, SHA-256, first byte of the window u32
    if 8 <= index < 40:
        return image.sha[index - 8]
    value = page * IMAGE_WINDOW_BYTES
    if index < 8:
        value = image.number if index < 4 else image.length
    return value >> 8 * (~index & 3) & 0xFF
