"""Run one target for a while: ``python -m tests.fuzz sl651 120``; without arguments, name them all.

With atheris installed the bytes follow the branches that they reach, and a finding is a file where
the run began; it is no dependency of the project, so otherwise the corpus is damaged by seed. What
a run has grown stays in .cache/fuzz; ``python -m tests.fuzz NAME 0 --keep`` puts into the corpus
what of it reaches more than the inputs that are there.
"""

import importlib
import importlib.util
import sys
import time
from collections.abc import Callable

from tests.paths import ROOT

_MAX_LEN = 4096


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
    if atheris is None:
        by_seed(TARGETS[name], name, seconds)
        return 0
    from .corpus import FOLDER, corpus_of

    grown, kept = ROOT / ".cache" / "fuzz" / name, FOLDER / name
    grown.mkdir(parents=True, exist_ok=True)
    for index, data in enumerate(corpus_of(name)):
        (grown / f"given-{index}").write_bytes(data)
    options = [f"-max_len={_MAX_LEN}", "-len_control=0", f"-artifact_prefix={name}-"]
    if "--keep" in arguments:
        kept.mkdir(exist_ok=True)
        options += ["-merge=1", str(kept)]
    else:
        options += [f"-max_total_time={seconds}"]
    atheris.Setup([sys.argv[0], *options, str(grown)], TARGETS[name])
    atheris.Fuzz()
    return 0


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
