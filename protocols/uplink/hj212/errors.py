"""The error of the HJ 212 reader, which names the rule that a frame breaks and its clause."""

from typing import Final

from protocols.uplink.errors import BAD_CHECKSUM, FormatError
from protocols.wire.errors import BAD_VALUE, TOO_LONG, TRUNCATED

# field -> the rule. Clauses are those of HJ 212-2017, which was read in its text.
RULES: Final = {
    "frame": "a frame begins with ## (6.3.1, table 2)",
    "LEN": "LEN is four decimal digits and counts the bytes of the data segment (6.3.1, table 2)",
    "CRC": "the checksum is over the data segment (6.3.1, table 2; annex A)",
    "CRC kind": "annex A can give 256 values only and this is none of them: "
    "the sender uses another checksum",
    "segment": "a data segment has at most 1024 bytes (6.3.1, table 2)",
    "header": "the data segment is name=value; and so on, then CP=&&...&& (table 3)",
    "QN": "QN is YYYYMMDDhhmmsszzz (table 3)",
    "ST": "ST is two characters (table 3)",
    "CN": "CN is four digits (table 3)",
    "PW": "PW has at most six characters (table 3)",
    "MN": "MN has at most 24 characters, none of ; = & or a space (table 3)",
    "Flag": "Flag is a whole number from 0 to 255; its bit 1 says whether PNUM and PNO stand "
    "(table 3)",
    "PNUM": "PNUM and PNO are numbers from 1 to 9999, PNO at most PNUM (table 3)",
    "RF": "RF=1 or no RF (HJ 212-2025; from implementations, not from the text)",
    "CP": "CP has at most 950 bytes: name=value, a comma between the values of an item, "
    "a semicolon between items (table 3)",
    "text": "Chinese text is UTF-8 (6.3.1); GBK is read too (from implementations)",
    "cipher": "the text between CP=&& and && is SM4 by blocks of 16 bytes "
    "(HJ 212-2025 6.4.2; from implementations, not from the text)",
}

_CODES: Final = {"CRC": BAD_CHECKSUM, "CRC kind": BAD_CHECKSUM, "segment": TOO_LONG}


class Hj212Error(FormatError):
    """A frame breaks a rule of HJ 212; ``field`` is a key of ``RULES``."""

    @classmethod
    def broken(
        cls, field: str, offset: int = -1, expected: object = None, got: object = None
    ) -> "Hj212Error":
        """Return the error for the rule ``field``."""
        code = _CODES.get(field, BAD_VALUE)
        return cls(code, field, offset, expected, got, f"{field}: {RULES[field]}")

    @classmethod
    def incomplete(cls, offset: int, expected: int, got: int) -> "Hj212Error":
        """Return the error for a frame of which the rest did not come."""
        message = "frame: the line fell silent before its end"
        return cls(TRUNCATED, "frame", offset, f"{expected} bytes", got, message)
