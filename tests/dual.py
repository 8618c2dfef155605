"""What tests need that run on CPython and on MicroPython: no pytest, plain asserts.

A dual test file holds plain ``test_*`` functions. pytest runs them on CPython;
``tests/run_micropython.py`` runs the same file on MicroPython.
"""

import json

_ROOT = __file__.replace("\\", "/").rsplit("/", 2)[0] if "/" in __file__ else ".."


def raises(error, call, *args, **kwargs):  # types: dual.pyi
    """Return the ``error`` that ``call(*args, **kwargs)`` raises; AssertionError if it does not.

    An error of another class passes through, so its own traceback is seen.
    """
    try:
        result = call(*args, **kwargs)
    except error as caught:
        return caught
    raise AssertionError("expected " + error.__name__ + ", got the result " + repr(result))


def vectors(name):  # types: dual.pyi
    """Return the content of ``protocols/vectors/<name>.json``; OSError if there is none."""
    with open(_ROOT + "/protocols/vectors/" + name + ".json") as file:
        return json.load(file)
