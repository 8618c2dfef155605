"""The register maps: one source for node, gateway, documentation, SenML names and units.

A node shows four blocks (all words big endian, as Modbus has them):

* **sample frame**, input registers from ``SAMPLE_ADDRESS`` (FC 04): a header of
  ``HEADER_WORDS`` registers, the quality nibbles, the values of the role's points, the key id and
  the tag. It is read in one request of at most 125 registers and is always one coherent sample.
* **event frame**, input registers from ``EVENT_ADDRESS`` (FC 04): the last ``EVENT_SLOTS`` events
  in the same envelope (header, slots, key id, tag).
* **image**, input registers from ``IMAGE_INFO_ADDRESS`` and ``IMAGE_WINDOW_ADDRESS`` (FC 04): the
  camera's last JPEG, only while the image switch is on.
* **raw readings**, input registers from ``RAW_ADDRESS`` (FC 04), one for each point of the role:
  what the part itself gave at the last sample, which a calibration needs.
* **configuration**, holding registers from ``CONFIG_ADDRESS`` (FC 03, 06, 10, 17), ``SETTINGS`` one
  register each, then the control registers. A node with a key takes settings and commands only as
  a signed write (:mod:`.signed_write`) to ``SIGNED_ADDRESS``.
* **on site**, holding registers from ``SITE_ADDRESS`` on: what a technician's tool asks for
  (:mod:`.site`).

``docs/registers.md`` is generated from this module.
"""

from micropython import const

from .errors import UNKNOWN, PeerError

TYPE_CHECKING = const(False)
if TYPE_CHECKING:
    from collections.abc import Iterator

# How a value lies in its registers.
U16 = 0
I16 = 1
U32 = 2

# Addresses (zero based, as they stand in the PDU).
SAMPLE_ADDRESS = 0x0000
EVENT_ADDRESS = 0x0100
IMAGE_INFO_ADDRESS = 0x0200
IMAGE_WINDOW_ADDRESS = 0x0240
RAW_ADDRESS = 0x0300
CONFIG_ADDRESS = 0x0000
COMMAND_ADDRESS = 0x00F0  # takes commands; reads as 0
IMAGE_PAGE_ADDRESS = 0x00F1  # which part of the image the window shows; lost at a restart
COMMISSIONED_ADDRESS = 0x00F2  # 1: the node has a key and takes signed writes only
WRITE_COUNTER_ADDRESS = 0x00F3  # of the next signed write: boot epoch (2), number (2)
WRITES_REFUSED_ADDRESS = 0x00F7  # writes without the right tag and counter, since boot
CONTROL_WORDS = 8  # from COMMAND_ADDRESS on
SIGNED_ADDRESS = 0x0100  # takes signed writes; cannot be read
SITE_ADDRESS = 0x0180  # holding registers of a technician's visit (:mod:`.site`)
SITE_END = 0x0200

# The last image, while image_export is 1 (exception 02 otherwise).
IMAGE_INFO_WORDS = 22  # image_number (2), length (2), SHA-256 (16), window base (2)
IMAGE_WINDOW_WORDS = 120  # IMAGE_WINDOW_BYTES of the JPEG from image_page * IMAGE_WINDOW_BYTES on
IMAGE_WINDOW_BYTES = 240

# Envelope of a frame, in registers:
# map_id, map_version, boot_epoch (2), seq (2), t_boot_ms (2), status, event_seq
# | body | key_id, tag (8)
HEADER_WORDS = 10
TRAILER_WORDS = 9

# Status bits of the node (register 8 of the header).
STATUS_CONFIG_DEFAULTED = 0x0001  # stored configuration was damaged or absent: defaults in force
STATUS_STORE_VOLATILE = 0x0002  # the store cannot be written: nothing survives a restart
STATUS_SELFTEST_FAILED = 0x0004
STATUS_WARMUP = 0x0008  # at least one part is still warming up
STATUS_SENSOR_FAULT = 0x0010  # at least one fitted part gives no valid value
STATUS_WATCHDOG_RESET = 0x0020  # the watchdog caused the last restart
STATUS_KEY_MISSING = 0x0040  # no node key: the tag is all zero and proves nothing
STATUS_EVENTS_LOST = 0x0080  # more than EVENT_SLOTS events since boot: the oldest are gone
STATUS_MOTION = 0x0100
STATUS_TAMPER = 0x0200
STATUS_IMAGE_EXPORT = 0x0400  # the image switch is on: images may leave the node
STATUS_WRITE_REFUSED = 0x0800  # since boot a write came without the right tag and counter
STATUS_CALIBRATION = 0x1000  # a point is being calibrated: its quality is NO_SAMPLE meanwhile

# Quality of one point: a nibble each, four to a register, first point in the lowest nibble.
OK = 0
WARMUP = 1
TIMEOUT = 2
CHECKSUM = 3
RANGE = 4
NOT_FITTED = 5
NO_SAMPLE = 6  # nothing measured yet since boot
FAULT = 7  # the part itself reports an error

# Events (code of a slot). ``arg`` is explained beside each.
EVENT_BOOT = 1  # arg: reset cause
EVENT_CONFIG = 2  # arg: address of the holding register changed; CONFIG_OLD and _NEW follow
EVENT_IMAGE_EXPORT = 3  # arg: 1 switched on, 0 off
EVENT_MOTION = 4  # arg: 1 begins, 0 ends
EVENT_TAMPER_DARK = 5  # arg: 1 begins, 0 ends
EVENT_TAMPER_COVERED = 6
EVENT_TAMPER_FROZEN = 7
EVENT_SENSOR = 8  # arg: point index << 8 | quality
EVENT_ALARM = 9  # arg: point index << 8 | 1 begins, 0 ends
EVENT_SELFTEST = 10  # arg: bit mask of failed checks
EVENT_CONFIG_OLD = 11  # arg: the value before the change
EVENT_CONFIG_NEW = 12  # arg: the value after it
EVENT_WRITE_REFUSED = 13  # arg: writes refused since boot; at most one event a minute
EVENT_IMAGE_ASKED = 14  # arg: number of the image that the serial link is to send
EVENT_IMAGE_SENT = 15  # arg: number of the image that has left over the serial link
EVENT_IMAGE_REFUSED = 16  # arg: requests refused since boot; at most one event a minute
EVENT_UPDATE = 17  # arg: step << 8 | reason or version, protocols.wire.update.window
EVENT_CALIBRATION = 18  # arg: point index << 8 | 1 begins, 0 ends, 2 stored

EVENT_SLOTS = 16
EVENT_SLOT_WORDS = 4  # code, arg, t_boot_ms (2)


class Point:
    """One measured quantity: its SenML name and unit, and how it lies in the frame.

    ``exp10`` scales: value = raw * 10**exp10. ``low`` and ``high`` bound the raw value; a part's
    value outside them gets quality RANGE. A point whose quality is not OK carries raw 0.
    """

    def __init__(self, name: str, unit: str, kind: int, exp10: int, low: int, high: int) -> None:
        self.name = name
        self.unit = unit
        self.kind = kind
        self.exp10 = exp10
        self.low = low
        self.high = high
        self.words = 2 if kind == U32 else 1


class RegisterMap:
    """The sample frame of one role: ``offsets[i]`` is the register of point i in the frame."""

    def __init__(
        self, map_id: int, version: int, role: str, product: str, points: "tuple[Point, ...]"
    ) -> None:
        self.map_id = map_id
        self.version = version
        self.role = role
        self.product = product
        self.points = points
        self.quality_words = (len(points) + 3) // 4
        offset = HEADER_WORDS + self.quality_words
        offsets = []
        for point in points:
            offsets.append(offset)
            offset += point.words
        self.offsets = tuple(offsets)
        self.words = offset + TRAILER_WORDS


# Units are SenML's (RFC 8428 section 12.1 and the secondary units of RFC 8798); a point without
# a registered unit has none; its name carries the unit.
AIR = RegisterMap(
    0x0101,
    1,
    "air",
    "TF-AIR",
    (
        Point("pm1_0", "ug/m3", U16, 0, 0, 1000),
        Point("pm2_5", "ug/m3", U16, 0, 0, 1000),
        Point("pm10", "ug/m3", U16, 0, 0, 1000),
        Point("particles_0_3", "count", U16, 0, 0, 65535),
        Point("co2", "ppm", U16, 0, 0, 10000),
        Point("temperature", "Cel", I16, -2, -4000, 12500),
        Point("humidity", "%RH", U16, -2, 0, 10000),
    ),
)

WATER = RegisterMap(
    0x0102,
    1,
    "water",
    "TF-WATER",
    (
        Point("distance", "mm", U16, 0, 30, 4500),
        Point("temperature", "Cel", I16, -2, -5500, 12500),
        Point("ph", "pH", U16, -2, 0, 1400),
        Point("turbidity_ntu", "", U16, -1, 0, 40000),
    ),
)

CAMERA = RegisterMap(
    0x0103,
    1,
    "camera",
    "TF-CAM",
    (
        Point("snapshots", "count", U32, 0, 0, 0xFFFFFFFF),
        Point("image_bytes", "count", U32, 0, 0, 65536),
        Point("luma", "/100", U16, 0, 0, 100),
        Point("contrast", "/100", U16, 0, 0, 100),
        Point("motion_events", "count", U32, 0, 0, 0xFFFFFFFF),
        Point("tamper_events", "count", U32, 0, 0, 0xFFFFFFFF),
    ),
)

MAPS = (AIR, WATER, CAMERA)

EVENT_MAP_ID = 0x01FF
EVENT_MAP_VERSION = 1
EVENT_WORDS = HEADER_WORDS + EVENT_SLOTS * EVENT_SLOT_WORDS + TRAILER_WORDS


def map_of(map_id: int, version: int) -> RegisterMap:
    """Return the map of a sample frame; PeerError(UNKNOWN) for another id or version."""
    for candidate in MAPS:
        if candidate.map_id == map_id:
            if candidate.version != version:
                raise PeerError(UNKNOWN, "register map version", 2, candidate.version, version)
            return candidate
    raise PeerError(UNKNOWN, "register map id", 0, "one of ours", map_id)


def map_of_role(role: str) -> RegisterMap:
    """Return the map of ``air``, ``water`` or ``camera``; PeerError(UNKNOWN) otherwise."""
    for candidate in MAPS:
        if candidate.role == role:
            return candidate
    raise PeerError(UNKNOWN, "role", -1, "air, water or camera", role)


class Setting:
    """One holding register of the configuration: raw value within ``low`` to ``high``."""

    def __init__(self, name: str, default: int, low: int, high: int) -> None:
        self.name = name
        self.default = default
        self.low = low
        self.high = high

    def allows(self, raw: int) -> bool:
        """Return whether ``raw`` is in the setting's range."""
        return self.low <= raw <= self.high


# Name, default, lowest, highest; the index is the holding register's address. All is constant, so
# on a node it lies in flash, where objects would take 1.5 KB of heap. The raw readings of the
# default calibration are MicroPython's read_u16, 65535 at a reference of 3300 mV:
# * pH: a glass electrode gives 59.16 mV per pH at 25 degC (Nernst) around 0 mV at pH 7; DFRobot
#   SEN0161-V2 puts out 1500 mV plus three times that, so pH 7 is 1500 mV, pH 4 2032.44 mV.
# * turbidity: DFRobot SEN0189's curve, NTU = -1120.4 V^2 + 5742.3 V - 4352.9, has 0 NTU at 4.2002 V
#   and 1000 NTU at 3.9003 V; two thirds of that reach the pin (10 and 20 kOhm). Point 1 lies one
#   step of a 12 bit converter (16) higher, so that clear water is not below 0 by rounding. Between
#   the points the curve is at most 25 NTU off this line.
_SETTINGS = (
    ("unit_id", 1, 1, 247),
    ("baud_div_100", 96, 12, 1152),
    ("sample_period_ds", 50, 1, 36000),
    ("warmup_limit_s", 3600, 0, 3600),
    ("fitted", 0xFFFF, 0, 0xFFFF),
    ("image_export", 0, 0, 1),
    ("pms_passive", 0, 0, 1),
    ("ph_raw_1", 29789, 0, 65535),
    ("ph_value_1", 700, 0, 1400),
    ("ph_raw_2", 40362, 0, 65535),
    ("ph_value_2", 400, 0, 1400),
    ("ntu_raw_1", 55625, 0, 65535),
    ("ntu_value_1", 0, 0, 40000),
    ("ntu_raw_2", 51637, 0, 65535),
    ("ntu_value_2", 10000, 0, 40000),
    ("motion_hold_ds", 100, 1, 36000),
    ("dark_percent", 8, 0, 100),
    ("covered_percent", 3, 0, 100),
    ("frozen_count", 5, 2, 1000),
    ("link_baud_div_100", 0, 0, 9216),
)


class Settings:
    """The settings by address. Each is made when it is asked for: keep none of them on a node."""

    def __len__(self) -> int:
        """Count them."""
        return len(_SETTINGS)

    def __getitem__(self, address: int) -> Setting:
        """Return the setting at a holding register; IndexError if there is none."""
        name, default, low, high = _SETTINGS[address]
        return Setting(name, default, low, high)

    def __iter__(self) -> "Iterator[Setting]":
        """Yield them by address."""
        for address in range(len(_SETTINGS)):
            yield self[address]


SETTINGS = Settings()

# Written to COMMAND_ADDRESS.
COMMAND_RESTART = 0x5A5A  # answer first, then restart
COMMAND_MEMORY = 0x4D45  # "ME": print the heap's figures on the console; changes nothing


def setting_address(name: str) -> int:
    """Return the address of a setting by name; PeerError(UNKNOWN) if there is none."""
    for address in range(len(_SETTINGS)):
        if _SETTINGS[address][0] == name:
            return address
    raise PeerError(UNKNOWN, "setting", -1, "a name of SETTINGS", name)
