"""Make protocols/vectors/{record,gap,batch,receipt,order}.json and the examples in docs/formats.md.

``python -m tests.unit.protocols.uplink.generate`` writes the files; a test holds them equal to what
is made here. Nothing of protocols.uplink or protocols.wire is used: frames come from struct and
hmac, CBOR from the naive encoder beside this file, chains from hashlib, signatures from
cryptography (with the secret keys of RFC 8032 section 7.1, tests 1 and 2).
"""

import json
import re
import sys
from typing import Final

from tests.paths import ROOT

from .made_batches import batches_file
from .made_orders import orders_file
from .made_parts import Json, case_bytes
from .made_receipts import receipts_file
from .made_records import gaps_file, records_file

VECTORS: Final = ROOT / "protocols" / "vectors"
DOCUMENT: Final = ROOT / "docs" / "formats.md"


def vectors() -> dict[str, dict[str, Json]]:
    """File name (without .json) -> its content."""
    records = records_file()
    gaps = gaps_file()
    return {
        "record": records,
        "gap": gaps,
        "batch": batches_file(records, gaps),
        "receipt": receipts_file(),
        "order": orders_file(),
    }


def text_of(content: dict[str, Json]) -> str:
    """A vector file as it is stored."""
    return json.dumps(content, indent=1, ensure_ascii=False) + "\n"


def document(text: str, made: dict[str, dict[str, Json]]) -> str:
    """``text`` with each example block filled in: ``<!-- vector: FILE GROUP INDEX -->`` and the
    fenced block after it.
    """

    def fill(match: re.Match[str]) -> str:
        data = case_bytes(made[match[1]], match[2], int(match[3]))
        lines = [data[at : at + 32].hex() for at in range(0, len(data), 32)]
        body = "\n".join(f"{32 * number:04x}  {line}" for number, line in enumerate(lines))
        return f"{match[0].split('```', 1)[0]}```text\n{body}\n```"

    pattern = r"<!-- vector: (\w+) (\w+) (\d+) -->\n```text\n[^`]*```"
    return re.sub(pattern, fill, text)


def main() -> None:
    made = vectors()
    for name, content in made.items():
        (VECTORS / f"{name}.json").write_text(text_of(content), encoding="utf-8")
    DOCUMENT.write_text(document(DOCUMENT.read_text(encoding="utf-8"), made), encoding="utf-8")
    sys.stdout.write(f"{', '.join(made)} and {DOCUMENT.name} written\n")


if __name__ == "__main__":
    main()
