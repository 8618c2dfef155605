"""Make the part of docs/registers.md on updates, from the wire format itself."""

from collections.abc import Iterator, Sequence

from protocols import registers_doc
from protocols.wire.update import status, window


def lines() -> Iterator[str]:
    """Yield the lines of the part."""
    base = window.UPDATE_ADDRESS
    yield "## Update"
    yield ""
    yield (
        "On a node with slots for application images; exception 02 on others. How an update goes is"
        " in [update.md](update.md)."
    )
    yield ""
    orders = (
        f"0x{base + window.ORDER_OFFSET:04X}",
        "2 to 4",
        "orders: the registers of a signed write, nothing else",
    )
    manifest = (
        f"0x{base + window.MANIFEST_OFFSET:04X}",
        f"{window.MANIFEST_WORDS}, or pieces",
        "manifest, or pieces of 30, 30 and 20; it takes effect with the order that names it",
    )
    words = (window.BLOCK_HEAD + window.BLOCK_BYTES) // 2
    block = (
        f"0x{base + window.BLOCK_OFFSET:04X}",
        f"{(window.BLOCK_HEAD + 4) // 2} to {words}",
        "block: session, quarter << 14 \\| number, CRC-32 (2), data; also by broadcast",
    )
    yield from _table(("holding register (FC 10)", "registers", "what"), (orders, manifest, block))
    yield (
        "Input registers (FC 04); the bitmap has block `16 * n + b` in bit b of its register n, 1:"
        " missing."
    )
    yield ""
    rows = []
    at = base
    for name, size, meaning in registers_doc.UPDATE_STATUS:
        rows.append((f"0x{at:04X}", name, "u16" if size == 1 else "u32", meaning))
        at += size
    assert at == base + window.STATUS_WORDS
    rows.append((f"0x{at:04X}", "bitmap", f"{window.BITMAP_WORDS} u16", "of missing blocks"))
    yield from _table(("register", "field", "type", "what"), rows)
    orders_taken = (
        (window.BEGIN, "begin", "session, first 4 bytes of the SHA-256 of the manifest (u32)"),
        (window.ACTIVATE, "activate", "session"),
        (window.CONFIRM, "confirm", "version that runs on trial (u32)"),
        (window.CANCEL, "cancel", "session"),
    )
    yield from _table(("order", "name", "further registers"), orders_taken)
    yield from _table(("state", "name"), list(enumerate(status.STATE_NAMES)))
    yield from _table(("reason", "name"), list(enumerate(status.REASON_NAMES)))
    yield from _table(("outcome", "name"), list(enumerate(status.OUTCOME_NAMES)))
    yield from _table(("step of the event", "name"), list(enumerate(status.STEP_NAMES))[1:])


def _table(head: Sequence[str], rows: Sequence[Sequence[object]]) -> Iterator[str]:
    yield "| " + " | ".join(head) + " |"
    yield "|" + " --- |" * len(head)
    for row in rows:
        yield "| " + " | ".join(str(cell) for cell in row) + " |"
    yield ""
