"""Run dual test files on MicroPython: ``micropython tests/run_micropython.py [--seed N] FILE...``

Every ``test_*`` function of every FILE is called. One line shows how each ended (``PASS`` or
``FAIL`` with file and name, after a ``RUN`` line that names the test that hangs if one does); a
failure is followed by its traceback, and the last line is ``N passed, N failed``. The exit code
is 0 only if all passed and there was at least one. With a seed the order of the tests is shuffled.

Files are given relative to the repository root or absolute.
"""

import asyncio
import gc
import os
import random
import sys


def _absolute(path: str) -> str:
    return path if path.startswith("/") else os.getcwd() + "/" + path


def _module_name(path: str, root: str) -> str:
    path = _absolute(path)
    if path.startswith(root + "/"):
        path = path[len(root) + 1 :]
    if path.startswith("/") or not path.endswith(".py"):
        raise ValueError("expected a .py file below " + root + ", got " + path)
    return path[:-3].replace("/./", "/").replace("/", ".")


def _print_error(error: BaseException) -> None:
    # CPython has no sys.print_exception; there pytest is the way to run these files.
    printer = getattr(sys, "print_exception", print)
    printer(error)


def _shuffle(names: "list[str]") -> None:
    for last in range(len(names) - 1, 0, -1):
        other = random.randint(0, last)
        names[last], names[other] = names[other], names[last]


def run_file(path: str, root: str, seed: int) -> "tuple[int, int]":
    """Run one file; (passed, failed). A file that cannot be imported counts as one failure."""
    passed = failed = 0
    try:
        name = _module_name(path, root)
        __import__(name)
        module = sys.modules[name]
    except Exception as error:  # noqa: BLE001  # whatever a test file raises is its failure
        print("FAIL " + path + "::import")
        _print_error(error)
        return 0, 1
    tests = sorted(
        name for name in dir(module) if name.startswith("test_") and callable(getattr(module, name))
    )
    if seed >= 0:
        random.seed(seed)
        _shuffle(tests)
    for test in tests:
        # MicroPython has one queue of tasks. One that a test cancels as its last act stays there,
        # and would run in the next test, on that test's time and heap.
        asyncio.new_event_loop()
        gc.collect()
        print("RUN  " + path + "::" + test)
        try:
            getattr(module, test)()
        except (Exception, KeyboardInterrupt, SystemExit) as error:  # noqa: BLE001  # as above
            failed += 1
            print("FAIL " + path + "::" + test)
            _print_error(error)
        else:
            passed += 1
            print("PASS " + path + "::" + test)
    return passed, failed


def main(arguments: "list[str]") -> int:
    """Run the files named on the command line; returns the exit code."""
    here = _absolute(arguments[0]).rsplit("/", 1)[0]
    root = here.rsplit("/", 1)[0]
    # The interpreter puts this script's folder first, where tests/docs would hide docs.
    sys.path[:] = [root] + [entry for entry in sys.path if entry not in ("", "tests", here)]
    files = arguments[1:]
    seed = -1
    if files and files[0] == "--seed":
        seed = int(files[1])
        files = files[2:]
    passed = failed = 0
    for path in files:
        file_passed, file_failed = run_file(path, root, seed)
        passed += file_passed
        failed += file_failed
    print("%d passed, %d failed" % (passed, failed))
    return 0 if passed and not failed else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv))
