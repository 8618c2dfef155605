"""Applications for a board's slots: modules that go before those of its image, signed.

What a node takes over its bus is one file: a manifest of 160 bytes and an image, which is a ROMFS
of ``.mpy`` files. The same sources give the same bytes. An application is made for one base image,
by its digest, and a node with another one refuses it before anything is erased.
"""

import hashlib
import subprocess
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key, load_pem_public_key

from protocols.wire.errors import PeerError
from protocols.wire.update.image_manifest import SIGNED_BYTES, Manifest, key_id, unsigned
from protocols.wire.update.window import MANIFEST_BYTES

from .cache import ROOT, Progress
from .errors import BoardError
from .source import micropython_tree
from .toolchain import mpy_cross

WORD: Final = 4
MOST_RELEASE_KEYS: Final = 2  # of a node, so that one can follow the other
#: Of an image that every revision of a board may run.
REVISIONS: Final = (0, 255)
#: Versions of MicroPython's bytecode, as in the third-party tree that images are built from.
_MPY_VERSIONS: Final = bytes((6, 3))
_BASE_BYTES: Final = 8
_UNSIGNED: Final = bytes(64)
_KEY_AT: Final = 80


class ApplicationError(BoardError):
    """An application cannot be made or signed so; the text has what was expected and what came."""


def base_of(image: bytes) -> bytes:
    """Return what an application for this base image carries: bytecode and digest."""
    return (_MPY_VERSIONS + hashlib.sha256(image).digest())[:_BASE_BYTES]


def compiled(cross: Path, module: str) -> bytes:
    """Return a module of this tree as bytecode. ApplicationError carries what is wrong in it."""
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "module.mpy"
        done = subprocess.run(
            [cross, "-march=armv7emsp", "-s", module, "-o", out, ROOT / module],
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            raise ApplicationError(f"{module}: {done.stderr.strip() or done.stdout.strip()}")
        return out.read_bytes()


def romfs(files: dict[str, bytes]) -> bytes:
    """Return a ROMFS of ``files`` by their paths, in whole words."""
    try:
        from mpremote.romfs import VfsRomWriter
    except ImportError as error:
        raise ApplicationError(
            "mpremote is not installed, expected it for the ROMFS: pip install mpremote"
        ) from error
    writer = VfsRomWriter()
    inside: tuple[str, ...] = ()
    for path in sorted(files, key=lambda name: tuple(name.split("/"))):
        *folders, name = path.split("/")
        common = 0
        while common < min(len(inside), len(folders)) and inside[common] == folders[common]:
            common += 1
        for _ in inside[common:]:
            writer.closedir()
        for folder in folders[common:]:
            writer.opendir(folder)
        inside = tuple(folders)
        writer.mkfile(name, files[path])
    for _ in inside:
        writer.closedir()
    content = bytes(writer.finalise())
    return content + b"\xff" * (-len(content) % WORD)


def build_application(
    board: str,
    base: bytes,
    modules: Sequence[str],
    release: tuple[int, int, int],
    progress: Progress,
) -> bytes:
    """Return the unsigned file of an application: these modules, for nodes with the image ``base``.

    ``release`` are version, floor, and the version to roll back from (0: it is none). ``modules``
    are files of this tree. BoardError.
    """
    tree = micropython_tree(progress)
    cross = mpy_cross(tree, progress)
    files = {}
    for module in modules:
        if not module.endswith(".py") or not (ROOT / module).is_file():
            raise ApplicationError(f"{module}: expected a Python file of {ROOT}, it is none")
        files[module[:-3] + ".mpy"] = compiled(cross, module)
    if not files:
        raise ApplicationError("expected at least one module, got none: name it with --module")
    image = romfs(files)
    version, floor, back_from = release
    head = unsigned(board, REVISIONS, version, floor, base_of(base), image, bytes(4), back_from)
    manifest_of(head + _UNSIGNED)
    return head + _UNSIGNED + image


def manifest_of(data: bytes) -> Manifest:
    """Read the manifest of a file; ApplicationError names the field that is wrong."""
    try:
        return Manifest(data[:MANIFEST_BYTES])
    except PeerError as error:
        raise ApplicationError(f"not an application for a node: {error}") from error


def sign(data: bytes, key: Ed25519PrivateKey) -> bytes:
    """Return the file signed. ApplicationError if its image is not the one of its manifest."""
    manifest = manifest_of(data)
    image = data[MANIFEST_BYTES:]
    if len(image) != manifest.size or hashlib.sha256(image).digest() != manifest.digest:
        raise ApplicationError(
            f"expected an image of {manifest.size} bytes with SHA-256 {manifest.digest.hex()}, "
            f"got {len(image)} bytes with {hashlib.sha256(image).hexdigest()}: build it again"
        )
    public = key.public_key().public_bytes_raw()
    head = data[:_KEY_AT] + key_id(public) + data[_KEY_AT + len(key_id(public)) : SIGNED_BYTES]
    return head + key.sign(head) + image


def release_key(path: Path) -> Ed25519PrivateKey:
    """Read a release key (PEM, Ed25519). ApplicationError."""
    key = _pem(path, lambda content: load_pem_private_key(content, None))
    if not isinstance(key, Ed25519PrivateKey):
        raise ApplicationError(f"{path}: expected an Ed25519 key, got another kind")
    return key


def release_public(path: Path) -> bytes:
    """Read the 32 bytes of a release key's public half (PEM). ApplicationError."""
    key = _pem(path, load_pem_public_key)
    if not isinstance(key, Ed25519PublicKey):
        raise ApplicationError(f"{path}: expected an Ed25519 public key, got another kind")
    return key.public_bytes_raw()


def release_publics(paths: Sequence[Path]) -> bytes:
    """Read the public keys that a node gets, one after the other. ApplicationError."""
    if len(paths) > MOST_RELEASE_KEYS:
        raise ApplicationError(f"release keys: expected at most two for a node, got {len(paths)}")
    return b"".join(map(release_public, paths))


def _pem(path: Path, load: Callable[[bytes], object]) -> object:
    try:
        return load(path.read_bytes())
    except OSError as error:
        raise ApplicationError(f"{path}: expected a release key, {error.strerror}") from error
    except (TypeError, ValueError) as error:  # TypeError: it has a password
        raise ApplicationError(
            f"{path}: expected a release key in PEM without a password: make one with "
            "`openssl genpkey -algorithm ed25519 -out release.pem`, its public half with "
            "`openssl pkey -in release.pem -pubout -out release.pub`"
        ) from error
