"""A file has at most 500 lines: a longer one holds two subjects."""

from typing import Final

from boards.folder import default_name
from tests.paths import ROOT

MOST_LINES: Final = 500
FOLDERS: Final = ("boards", "firmware", "gateway_agent", "hil", "protocols", "tests", "typings")
SUFFIXES: Final = {".c", ".cs", ".h", ".py", ".pyi", ".sh"}
#: File -> why it is longer.
EXCEPTIONS: Final[dict[str, str]] = {
    f"boards/{default_name()}/monocypher/monocypher.c": "of others: THIRD_PARTY.md",
    f"boards/{default_name()}/monocypher/monocypher-ed25519.c": "of others: THIRD_PARTY.md",
}


def test_no_file_is_longer_than_a_reader_can_hold() -> None:
    lines = {
        path.relative_to(ROOT).as_posix(): path.read_bytes().count(b"\n")
        for folder in FOLDERS
        for path in (ROOT / folder).rglob("*")
        if path.suffix in SUFFIXES and path.is_file()
    }
    assert lines
    long = {name: count for name, count in lines.items() if count > MOST_LINES}
    assert set(long) == set(EXCEPTIONS), f"split by subject, or give a reason here: {long}"
