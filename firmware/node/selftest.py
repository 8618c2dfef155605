"""What a node checks about itself at boot; failures are a bit mask and never stop it."""

from micropython import const

from protocols.wire.crc import crc16
from protocols.wire.hmac import HmacSha256

TYPE_CHECKING = const(False)
if TYPE_CHECKING:
    from .ports import Role

FAILED_RAM = 0x0001
FAILED_CRC = 0x0002
FAILED_HMAC = 0x0004
FAILED_STORE = 0x0008  # what was stored does not read back; set by the application
FAILED_EPOCH = 0x0010  # both files of the boot epoch were damaged; set by the application
FAILED_ROLE = 0x0080  # the role's own test ended in an error
ROLE_SHIFT = 8  # the role's own mask (8 bits) stands above

_RAM_BYTES = const(4096)

# Known answers: CRC-16/MODBUS check value; RFC 4231, test case 2.
_CRC_ANSWER = const(0x4B37)
_HMAC_ANSWER = (
    b"\x5b\xdc\xc1\x46\xbf\x60\x75\x4e\x6a\x04\x24\x26\x08\x95\x75\xc7"
    b"\x5a\x00\x3f\x08\x9d\x27\x39\x83\x9d\xec\x58\xb9\x64\xec\x38\x43"
)


def ram_ok(block: bytearray) -> bool:
    """Walk two complementary patterns, different in every byte of a page, through ``block``."""
    for flip in (0x00, 0xFF):
        for index in range(len(block)):
            block[index] = (index ^ (index >> 8) ^ flip) & 0xFF
        for index in range(len(block)):
            if block[index] != (index ^ (index >> 8) ^ flip) & 0xFF:
                return False
    return True


def core() -> int:
    """Return the mask of failed checks of the node itself."""
    failed = 0
    if not ram_ok(bytearray(_RAM_BYTES)):
        failed |= FAILED_RAM
    if crc16(b"123456789") != _CRC_ANSWER:
        failed |= FAILED_CRC
    if HmacSha256(b"Jefe").digest(b"what do ya want ", b"for nothing?") != _HMAC_ANSWER:
        failed |= FAILED_HMAC
    return failed


async def role_mask(role: "Role") -> int:
    """Run the role's own checks; return the mask of those that failed, shifted."""
    try:
        failed = await role.selftest()
    except Exception:  # noqa: BLE001  # a test that breaks is a failed test, not a dead node
        return FAILED_ROLE
    return (failed & 0xFF) << ROLE_SHIFT
