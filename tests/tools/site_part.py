"""The part of docs/registers.md about registers of a technician's visit."""

from collections.abc import Iterator

from protocols.wire import registers, site


def lines() -> Iterator[str]:
    """Yield the lines of the part."""
    yield "## On site"
    yield ""
    yield (
        f"Holding registers from 0x{registers.SITE_ADDRESS:04X} on, for a "
        "technician's tool (`tianfu-node commission`, `tianfu-node blink`). A node "
        "with a key takes their writes signed, one block in one request; a block "
        "is read from its first register on. All but the calibrations ends at a "
        "restart."
    )
    yield ""
    rows = (
        (
            f"0x{site.SELECT:04X}",
            "select",
            (
                "write 3 (FC 17, no tag): salt, lowest, highest. Only a node whose place, "
                "the CRC-16/MODBUS of salt and unique id, is in that window answers, so "
                f"that nodes of one address are told apart. Read {site.SELECT_WORDS}: "
                "unique id (6), Modbus address, and the 6 registers from "
                f"0x{registers.COMMISSIONED_ADDRESS:04X} on"
            ),
        ),
        (
            f"0x{site.BY_UID:04X}",
            "by unique id",
            (
                "write: unique id (6), then a signed write's block. Any other node neither "
                "answers nor counts it; without a key counter and tag are not looked at"
            ),
        ),
        (
            f"0x{site.TRIAL:04X}",
            "trial",
            (
                f"write 3: Modbus address, speed / 100, seconds (2 to {site.MAX_TRIAL_S}). "
                "The node serves there and is back at its settings after that time or a "
                f"restart, unless the trial is kept. Read {site.STATE_WORDS}: address, "
                "speed / 100, ms left (0: no trial), seconds left to blink, points held, "
                "seconds left of that, 1: one was kept"
            ),
        ),
        (
            f"0x{site.KEEP:04X}",
            "keep",
            "write 1: the trial becomes the settings; refused (03) where the trial is not yet",
        ),
        (f"0x{site.BLINK:04X}", "blink", f"write 1: seconds, at most {site.MAX_BLINK_S}; 0: stop"),
        (
            f"0x{site.HOLD:04X}",
            "hold",
            (
                f"write 2: bit mask of points, seconds (at most {site.MAX_HOLD_S}). They "
                "show no sample meanwhile, and the status has `calibration` (flag C of HJ "
                "212)"
            ),
        ),
        (
            f"0x{site.RECORD:04X} + point",
            "calibration",
            (
                f"write or read {site.RECORD_WORDS}: address of its first setting (65535: "
                "none), days since 1970, the values of four settings, slope in 0.1 % of "
                f"the ideal probe's, three texts of {site.TEXT_BYTES} bytes: lots of both "
                "references, who. The settings change with it"
            ),
        ),
    )
    yield "| register | name | what |"
    yield "| --- | --- | --- |"
    for register, name, what in rows:
        yield f"| {register} | {name} | {what} |"
    yield ""
