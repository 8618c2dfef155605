"""Write docs/api.md from the faces of the packages: ``python -m tests.tools.api_page --write``.

Without an option the text goes to standard output; ``--check`` compares it with the file and ends
with 1 if they differ.
"""

import importlib
import inspect
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Final

from tests.paths import ROOT
from tests.tools import page

PATH: Final = ROOT / "docs" / "api.md"
FACES: Final = (
    "protocols.identity",
    "protocols.uplink",
    "protocols.uplink.hj212",
    "protocols.uplink.station",
    "protocols.uplink.sl651",
    "protocols.uplink.sl427",
    "protocols.modbus_client",
    "gateway_agent",
    "gateway_agent.collector",
    "boards.host",
    "hil",
    "hil.bus",
)

_COMMAND: Final = "python -m tests.tools.api_page --write"
_LONGEST_VALUE: Final = 80

_INTRODUCTION: Final = """\
Who writes programs around this project imports from the modules below, and only the names listed:
they are pinned by a test and change only with an entry in the [changes](../CHANGELOG.md). All other
modules and names are internal. The bytes themselves are described in [formats](formats.md), the
registers of the nodes in [registers](registers.md); both can be read without our code."""

# Run by tests/unit/protocols/uplink/test_integrator.py with nothing but `protocols` at hand.
EXAMPLE: Final = """\
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import load_pem_public_key

from protocols.uplink import PeerError, key_id, open_batch, open_receipt


def public_key(name: str) -> Ed25519PublicKey:
    key = load_pem_public_key(Path(name).read_bytes())
    assert isinstance(key, Ed25519PublicKey)
    return key


gateway_key = public_key("gateway.pem.pub")
keys = {key_id(gateway_key): gateway_key}
try:
    batch = open_batch(Path("batch.cose").read_bytes(), lambda gateway, kid: keys.get(kid))
    records = batch.decode()
    receipt = open_receipt(Path("receipt.cose").read_bytes(), public_key("collector.pem.pub"))
except PeerError as error:
    raise SystemExit(f"not verified: {error}") from error

header = batch.header
print(f"{header.gateway}, stream {header.stream}: records {header.first} to {header.last}")
for record in records:
    for value in record.values:
        print(f"{record.device_id} {value.name} {value.value} {value.unit}")
print(f"committed up to record {receipt.contiguous_to}")
"""


def render() -> str:
    """Return the page."""
    lines = [
        "# What other programs may import",
        "",
        f"<!-- Made by {_COMMAND} -->",
        "",
        *_INTRODUCTION.splitlines(),
        "",
        "Verify a batch and a receipt, with public keys alone:",
        "",
        "```python",
        *EXAMPLE.splitlines(),
        "```",
        "",
    ]
    for name in FACES:
        lines += _face(importlib.import_module(name))
    return "\n".join(lines).rstrip() + "\n"


def _face(module: ModuleType) -> Iterator[str]:
    yield f"## {module.__name__}"
    yield ""
    yield _first_sentence(module.__doc__)
    yield ""
    yield "| name | what it is |"
    yield "| --- | --- |"
    for name in module.__all__:
        yield f"| `{_shown(name, getattr(module, name))}` | {_meaning(module, name)} |"
    yield ""


def _shown(name: str, value: object) -> str:
    if not inspect.isfunction(value):
        return name
    return f"{name}({', '.join(inspect.signature(value).parameters)})"


def _meaning(module: ModuleType, name: str) -> str:
    value = getattr(module, name)
    if inspect.isclass(value) or inspect.isfunction(value):
        return _cell(_first_sentence(value.__doc__))
    comment = _comment(module, name)
    literal = isinstance(value, (int, str, bytes, tuple))
    text = repr(value) if literal else re.sub(r"\b[\w.]+\.(\w+)", r"\1", str(value))
    shown = f"`{text}`" if len(text) <= _LONGEST_VALUE else ""
    return _cell(
        "; ".join(part for part in (shown, comment) if part) or f"`{type(value).__name__}`"
    )


def _comment(module: ModuleType, name: str) -> str:
    """Return the comment behind or above the line that defines a constant."""
    assert module.__file__ is not None
    folder = Path(module.__file__).parent
    for path in sorted(folder.glob("*.py")):
        found = re.search(
            rf"((?:^# .*\n)*)^{name}: \w+ = [^#\n]*?(?:  # (.*))?$",
            path.read_text(encoding="utf-8"),
            re.MULTILINE,
        )
        if found is not None:
            above = " ".join(line.removeprefix("# ") for line in found[1].splitlines())
            return (found[2] or above).rstrip(".")
    return ""


def _first_sentence(docstring: str | None) -> str:
    assert docstring, "a name of a face has no docstring"
    paragraph = " ".join(inspect.cleandoc(docstring).split("\n\n")[0].split())
    return re.split(r"(?<=\.)\s", paragraph, maxsplit=1)[0].rstrip(":.") + "."


def _cell(text: str) -> str:
    return text.replace("``", "`").replace("|", "\\|")


def main(arguments: list[str]) -> int:
    """Run with the options of :mod:`tests.tools.page`; returns the exit code."""
    return page.run(arguments, PATH, render(), _COMMAND)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
