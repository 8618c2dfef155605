"""Wall clocks that are stepped while gateway and collector run.

The clock of a machine cannot be set for one process. So the steps are made where the processes read
it, in Python's ``time``; what the kernel states about its clock is made up there too.
"""

from pathlib import Path
from typing import Final

from .site import passed
from .trial import Row, Trial

_STEPPED: Final = """
import time
from pathlib import Path
from gateway_agent import clock
_file, _time_ns = Path({file!r}), time.time_ns
def _stepped():
    return _time_ns() + int(_file.read_text()) * 1_000_000
time.time_ns = _stepped
time.time = lambda: _stepped() / 1e9
clock._kernel_discipline = lambda: {error_ms}
"""
_HOUR_MS: Final = 3_600_000
_STEPS_MS: Final = (-9000 * _HOUR_MS, -_HOUR_MS, -700, 700, _HOUR_MS, 9000 * _HOUR_MS)


async def stepped(trial: Trial) -> None:
    """Step the clocks of both, whether or not the kernel vouches for them; kill in between."""
    site, choose = trial.site, trial.random
    files: list[Path] = []
    for program in (site.gateway, site.collector):
        file = site.root / f"{program.name}.step"
        file.write_text("0")
        files.append(file)
        error_ms = choose.choice((None, 20))
        program.patch(_STEPPED.format(file=str(file), error_ms=error_ms))
    await trial.begin()
    for _ in range(trial.rounds(4, 12)):
        await passed(choose.uniform(300, 1200))
        _replace(choose.choice(files), str(choose.choice(_STEPS_MS)))
        trial.faults += 1
        if choose.random() < 0.3:
            program = choose.choice((site.gateway, site.collector))
            await program.kill()
            await passed(choose.uniform(0, 1000))
            await program.start()


def _replace(path: Path, text: str) -> None:
    new = path.with_suffix(".new")
    new.write_text(text)
    new.replace(path)


ROWS = (
    Row(
        "clocks stepped",
        "the wall clocks of gateway and collector jump by seconds to a year, back and forth",
        stepped,
    ),
)
