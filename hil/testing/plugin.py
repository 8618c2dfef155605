"""pytest plugin: the same tests on every engine that is there.

    pytest hil/ --engine qemu --seed 7

Each subject has a module of its own: options, selection of tests, what a failing test leaves, the
end of the run, and the fixtures.
"""

pytest_plugins = [
    "hil.testing.options",
    "hil.testing.selection",
    "hil.testing.failures",
    "hil.testing.summary",
    "hil.testing.fixtures",
]
