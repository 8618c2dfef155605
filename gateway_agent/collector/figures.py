"""The figures of a collector's database, for summaries and for people."""

from contextlib import closing
from pathlib import Path

from .database import open_readonly
from .receiver import READINGS, VERDICTS


def read_figures(path: Path) -> dict[str, int | dict[str, int]]:
    """Return the counters of a collector's database.

    ``readings_stored`` and ``gaps_by_cause`` are counted over the rows, the rest are the counters.
    """
    with closing(open_readonly(path)) as connection:
        figures: dict[str, int | dict[str, int]] = dict.fromkeys((*VERDICTS, READINGS), 0)
        figures.update(connection.execute("SELECT name, value FROM counters").fetchall())
        (figures["readings_stored"],) = connection.execute(
            "SELECT count(*) FROM readings"
        ).fetchone()
        figures["gaps_by_cause"] = dict(
            connection.execute("SELECT cause, count(*) FROM gaps GROUP BY cause").fetchall()
        )
        return figures
