"""The register bank: what the Modbus server core reads and writes (see the register map).

Nothing on the reading side allocates, so a poll costs no heap however long the node runs. Every
request is answered in one go between two turns of the event loop and takes ``shown()`` once, so
it sees one frame.
"""

from micropython import const

from protocols.wire.modbus.pdu import ILLEGAL_ADDRESS, ILLEGAL_VALUE
from protocols.wire.registers import (
    COMMAND_ADDRESS,
    COMMAND_MEMORY,
    COMMAND_RESTART,
    CONFIG_ADDRESS,
    EVENT_ADDRESS,
    EVENT_WORDS,
    IMAGE_INFO_ADDRESS,
    IMAGE_INFO_WORDS,
    IMAGE_PAGE_ADDRESS,
    IMAGE_WINDOW_ADDRESS,
    IMAGE_WINDOW_BYTES,
    IMAGE_WINDOW_WORDS,
    SAMPLE_ADDRESS,
    SETTINGS,
    setting_address,
)

TYPE_CHECKING = const(False)
if TYPE_CHECKING:
    from .config import Config
    from .frames import EventFrame, SampleFrame
    from .ports import Picture, Role

_MAX_PAGE = const(273)  # of 65536 bytes, the longest image of the map
_EXCEPTIONS = (0, ILLEGAL_ADDRESS, ILLEGAL_VALUE)  # by what Config.set_many returns


class Bank:
    """Registers of one node. ``command`` is the last accepted command; the server task takes it.

    The image blocks answer exception 02 while the setting ``image_export`` is 0 and on a role that
    makes no images: what must not leave the node is not even addressable.
    """

    def __init__(
        self, sample: "SampleFrame", events: "EventFrame", config: "Config", role: "Role"
    ) -> None:
        self.sample = sample
        self.events = events
        self.config = config
        self.role = role
        self.command = 0
        self.page = 0
        self._sample_words = sample.map.words
        self._export = setting_address("image_export")
        self._info = bytearray(2 * IMAGE_INFO_WORDS)

    def read_input(self, address: int, count: int, out: bytearray, at: int) -> int:
        """Copy ``count`` input registers to ``out`` from byte ``at`` on; 0 or an exception code."""
        end = address + count
        if count < 1:
            return ILLEGAL_ADDRESS
        if SAMPLE_ADDRESS <= address and end <= SAMPLE_ADDRESS + self._sample_words:
            return _copy(self.sample.shown(), 2 * (address - SAMPLE_ADDRESS), 2 * count, out, at)
        if EVENT_ADDRESS <= address and end <= EVENT_ADDRESS + EVENT_WORDS:
            return _copy(self.events.shown(), 2 * (address - EVENT_ADDRESS), 2 * count, out, at)
        image = self.role.image
        if image is not None and self.config.value(self._export):
            if IMAGE_INFO_ADDRESS <= address and end <= IMAGE_INFO_ADDRESS + IMAGE_INFO_WORDS:
                self._fill_info(image)
                return _copy(self._info, 2 * (address - IMAGE_INFO_ADDRESS), 2 * count, out, at)
            if IMAGE_WINDOW_ADDRESS <= address and end <= IMAGE_WINDOW_ADDRESS + IMAGE_WINDOW_WORDS:
                start = self.page * IMAGE_WINDOW_BYTES + 2 * (address - IMAGE_WINDOW_ADDRESS)
                for index in range(2 * count):
                    inside = start + index < image.length
                    out[at + index] = image.data[start + index] if inside else 0
                return 0
        return ILLEGAL_ADDRESS

    def read_holding(self, address: int, count: int, out: bytearray, at: int) -> int:
        """Copy ``count`` holding registers to ``out`` from byte ``at`` on; 0 or an exception."""
        end = address + count
        if count < 1:
            return ILLEGAL_ADDRESS
        settings = CONFIG_ADDRESS <= address and end <= CONFIG_ADDRESS + len(SETTINGS)
        if not settings and not (COMMAND_ADDRESS <= address and end <= IMAGE_PAGE_ADDRESS + 1):
            return ILLEGAL_ADDRESS
        for register in range(address, end):
            if settings:
                value = self.config.value(register - CONFIG_ADDRESS)
            else:
                value = self.page if register == IMAGE_PAGE_ADDRESS else 0
            out[at] = value >> 8
            out[at + 1] = value & 0xFF
            at += 2
        return 0

    def write_holding(self, address: int, count: int, data: bytearray, at: int) -> int:
        """Write ``count`` holding registers from ``data[at:]``, all or none; 0 or an exception."""
        if count < 1:
            return ILLEGAL_ADDRESS
        if address == COMMAND_ADDRESS and count == 1:
            value = data[at] << 8 | data[at + 1]
            if value != COMMAND_RESTART and value != COMMAND_MEMORY:
                return ILLEGAL_VALUE
            self.command = value
            return 0
        if address == IMAGE_PAGE_ADDRESS and count == 1:
            value = data[at] << 8 | data[at + 1]
            if value > _MAX_PAGE:
                return ILLEGAL_VALUE
            self.page = value
            return 0
        if address < CONFIG_ADDRESS or address + count > CONFIG_ADDRESS + len(SETTINGS):
            return ILLEGAL_ADDRESS
        values = []
        for index in range(count):
            values.append(data[at + 2 * index] << 8 | data[at + 2 * index + 1])
        return _EXCEPTIONS[self.config.set_many(address - CONFIG_ADDRESS, values)]

    def _fill_info(self, image: "Picture") -> None:
        # image_number u32, length u32, SHA-256, first byte of the window u32
        info = self._info
        _put_u32(info, 0, image.number)
        _put_u32(info, 4, image.length)
        for index in range(32):
            info[8 + index] = image.sha[index]
        _put_u32(info, 40, self.page * IMAGE_WINDOW_BYTES)


def _copy(frame: bytearray, start: int, length: int, out: bytearray, at: int) -> int:
    # A copy of the whole frame takes no heap, one of a part would, and in Python a byte takes 6 us.
    # So its beginning is copied with all that follows, which lies in ``out`` behind the answer.
    if start == 0 and at + len(frame) <= len(out):
        out[at : at + len(frame)] = frame
        return 0
    for index in range(length):
        out[at + index] = frame[start + index]
    return 0


def _put_u32(buf: bytearray, at: int, value: int) -> None:
    buf[at] = (value >> 24) & 0xFF
    buf[at + 1] = (value >> 16) & 0xFF
    buf[at + 2] = (value >> 8) & 0xFF
    buf[at + 3] = value & 0xFF
