"""Identifiers, ids of nodes, and the patterns that configuration files are checked with."""

import re

import pytest

from protocols.identity import UID_PATTERN, is_identifier, is_node_id, node_id, uid_of, usb_serial

UID = bytes.fromhex("3a001f000d51383437363136")
NODE = "tf-3a001f000d51383437363136"


def test_a_node_id_names_its_unique_id() -> None:
    assert node_id(UID) == NODE
    assert uid_of(NODE) == UID
    assert is_node_id(NODE)
    assert is_identifier(NODE)


@pytest.mark.parametrize("text", ["", NODE[:-1], NODE + "0", NODE.upper(), "gw-1.s8", NODE + "\n"])
def test_what_is_no_node_id_is_refused(text: str) -> None:
    assert not is_node_id(text)
    with pytest.raises(ValueError, match="expected tf- and 24 hex digits, got"):
        uid_of(text)


def test_a_unique_id_of_another_length_gives_no_node_id() -> None:
    with pytest.raises(ValueError, match="expected 12 bytes, got 11"):
        node_id(UID[1:])


@pytest.mark.parametrize("text", ["a", "0", "gw-1", "gw.s8:1_2", "a" * 64])
def test_identifiers(text: str) -> None:
    assert is_identifier(text)


@pytest.mark.parametrize("text", ["", "-a", ".a", "a/b", "a+", "a b", "ä", "a" * 65, "a\n"])
def test_what_is_no_identifier(text: str) -> None:
    assert not is_identifier(text)


def test_configuration_files_spell_a_unique_id_in_lower_case() -> None:
    assert re.search(UID_PATTERN, UID.hex())
    assert not re.search(UID_PATTERN, UID.hex().upper())


@pytest.mark.parametrize(
    ("uid", "serial"),
    [
        # id[11], id[10] + id[2], id[9], id[8] + id[0], id[7], id[6], as the ROM adds them up.
        ("3a001f000d51383437363136", "365036713438"),
        ("000000000000000000000000", "000000000000"),
        ("01000200000000000000ff00", "000100010000"),
    ],
)
def test_the_serial_number_that_a_chip_shows_on_usb(uid: str, serial: str) -> None:
    assert usb_serial(bytes.fromhex(uid)) == serial
