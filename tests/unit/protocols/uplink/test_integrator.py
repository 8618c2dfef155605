"""The example of docs/api.md verifies a batch and a receipt with ``protocols`` alone."""

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from tests.paths import ROOT
from tests.tools.api_page import EXAMPLE

# The rest of the project is installed beside it here, so its packages are made unknown first.
ALONE = """\
import sys
sys.path.insert(0, "python")
sys.modules.update(dict.fromkeys(("boards", "firmware", "gateway_agent", "hil", "tests")))
"""


def vectors(name: str) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((ROOT / f"protocols/vectors/{name}.json").read_bytes())
    return content


def write_site(folder: Path, batch: bytes) -> None:
    """Write what the example reads: a batch, a receipt, two public keys; and ``protocols``."""
    shutil.copytree(ROOT / "protocols", folder / "python" / "protocols")
    receipt = vectors("receipt")
    for name, hexadecimal in (
        ("gateway", vectors("batch")["public_key"]),
        ("collector", receipt["public_key"]),
    ):
        key = Ed25519PublicKey.from_public_bytes(bytes.fromhex(hexadecimal))
        pem = key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
        (folder / f"{name}.pem.pub").write_bytes(pem)
    (folder / "batch.cose").write_bytes(batch)
    (folder / "receipt.cose").write_bytes(bytes.fromhex(receipt["receipt"][0]["hex"]))


def run_example(folder: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", ALONE + EXAMPLE],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )


def test_a_good_batch_is_read_with_protocols_alone(tmp_path: Path) -> None:
    write_site(tmp_path, bytes.fromhex(vectors("batch")["batch"][0]["hex"]))
    done = run_example(tmp_path)
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert lines[0] == "gw-01, stream 7: records 1 to 2"
    assert lines[1] == "gw-01.s8 co2 417 ppm"
    assert "tf-3a001f000d51383437363136 pm2_5 41 ug/m3" in lines
    assert lines[-1] == "committed up to record 4"


def test_one_flipped_bit_is_found(tmp_path: Path) -> None:
    batch = bytearray.fromhex(vectors("batch")["batch"][0]["hex"])
    batch[-1] ^= 1
    write_site(tmp_path, bytes(batch))
    done = run_example(tmp_path)
    assert done.returncode == 1
    assert done.stderr.startswith("not verified: signature does not verify")
