"""The model of a medium that loses its power, on a log as strace writes it."""

import random
from pathlib import Path

from .medium import Medium, calls_of

FOLDER = Path("/site/state")
LOG = r"""
11 openat(AT_FDCWD</>, "/site/state/a.db", O_RDWR|O_CREAT|O_CLOEXEC, 0600) = 8</site/state/a.db>
11 pwrite64(8</site/state/a.db>, "one\0\1\"", 6, 0) = 6
11 fdatasync(8</site/state/a.db>) = 0
12 pwrite64(8</site/state/a.db>, "two", 3, 6 <unfinished ...>
11 openat(AT_FDCWD</>, "/site/state", O_RDONLY|O_DIRECTORY) = 9</site/state>
11 fsync(9</site/state>)                = 0
12 <... pwrite64 resumed>)              = 3
12 pwrite64(8</site/state/a.db>, "never", 5, 0) = -1 EIO (Input/output error) (INJECTED)
12 openat(AT_FDCWD</>, "/site/state/a.tmp", O_WRONLY|O_CREAT|O_TRUNC, 0600) = 10</site/state/a.tmp>
12 write(10</site/state/a.tmp>, "he", 2) = 2
12 write(10</site/state/a.tmp>, "ad", 2) = 2
12 fsync(10</site/state/a.tmp>) = 0
12 rename("/site/state/a.tmp", "/site/state/a.head") = 0
12 pwrite64(8</site/state/a.db>, "killed", 6, 0) = ?
"""


def followed(log: str) -> Medium:
    medium = Medium(FOLDER, {"a.head": b"old"})
    for call in calls_of(log):
        medium.apply(call)
    return medium


def left(log: str) -> set[tuple[tuple[str, bytes], ...]]:
    """Everything that a power cut can leave."""
    medium = followed(log)
    cuts = (medium.after_power_cut(random.Random(seed)) for seed in range(200))  # it must repeat
    return {tuple(sorted(files.items())) for files in cuts}


def test_while_the_power_is_on_everything_is_there() -> None:
    assert followed(LOG).now() == {"a.db": b'one\0\1"two', "a.head": b"head"}


def test_what_was_synced_is_always_there_and_the_rest_in_part() -> None:
    whole, synced = b'one\0\1"two', b'one\0\1"'
    assert left(LOG) == {
        (("a.db", content), ("a.head", head))
        for content in (whole, synced)
        for head in (b"head", b"old")  # the rename was not synced
    }


def test_a_directory_that_is_synced_has_its_names() -> None:
    log = LOG + "12 fsync(9</site/state>) = 0\n12 fdatasync(8</site/state/a.db>) = 0\n"
    assert left(log) == {(("a.db", b'one\0\1"two'), ("a.head", b"head"))}
