"""Run one target for a while: ``python -m tests.fuzz sl651 120``; without arguments, name them all.

With atheris installed the bytes follow the branches that they reach, and a finding is a file where
the run began; it is no dependency of the project, so otherwise the corpus is damaged by seed. What
a run has grown stays in .cache/fuzz; ``python -m tests.fuzz NAME 0 --keep`` puts the shortest of it
into the corpus.
"""

import importlib
import importlib.util
import sys
import time
from collections.abc import Callable
from typing import Final

from tests.paths import ROOT

_MAX_LEN: Final = 4096
_KEPT: Final = 30
_GROWN: Final = ROOT / ".cache" / "fuzz"


def main(arguments: list[str]) -> int:
    """Return the exit status; a finding ends the process with its traceback."""
    atheris = None
    if importlib.util.find_spec("atheris") is not None:
        atheris = importlib.import_module("atheris")
        with atheris.instrument_imports(include=["protocols", "gateway_agent", "tomllib"]):
            importlib.import_module("tests.fuzz.targets")
    from .targets import TARGETS  # after it: what was imported before follows no branches

    if len(arguments) < 2 or arguments[0] not in TARGETS:
        sys.stderr.write(f"expected one of {', '.join(TARGETS)}, and seconds\n")
        return 2
    name, seconds = arguments[0], int(arguments[1])
    if "--keep" in arguments:
        keep(name)
        return 0
    if atheris is None:
        by_seed(TARGETS[name], name, seconds)
        return 0
    from .corpus import corpus_of

    grown = _GROWN / name
    grown.mkdir(parents=True, exist_ok=True)
    for index, data in enumerate(corpus_of(name)):
        (grown / f"given-{index}").write_bytes(data)
    options = ["-len_control=0", f"-max_total_time={seconds}", f"-artifact_prefix={name}-"]
    atheris.Setup([sys.argv[0], f"-max_len={_MAX_LEN}", *options, str(grown)], TARGETS[name])
    atheris.Fuzz()
    return 0


def keep(name: str) -> None:
    """Copy the shortest inputs that a run has grown: each reached what no input before it had."""
    from .corpus import FOLDER

    grown = [path for path in (_GROWN / name).iterdir() if not path.name.startswith("given-")]
    grown.sort(key=lambda path: (path.stat().st_size, path.name))
    (FOLDER / name).mkdir(exist_ok=True)
    for path in grown[:_KEPT]:
        (FOLDER / name / path.name[:12]).write_bytes(path.read_bytes())


def by_seed(target: Callable[[bytes], None], name: str, seconds: int) -> None:
    """Run inputs that were damaged by seed."""
    from .corpus import corpus_of, damaged

    end, seed, given = time.monotonic() + seconds, 0, corpus_of(name)
    while time.monotonic() < end:
        target(damaged(given, seed))
        seed += 1
    sys.stdout.write(f"{name}: {seed} inputs by seed, no finding\n")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
