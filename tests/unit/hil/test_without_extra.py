"""An installation without the extra ``hil``: commands name what is missing, without a traceback."""

import subprocess
import sys

import pytest

EXTRA = ("amqtt", "mqtt5", "pytest", "pytest_asyncio", "xdist")


def run(module: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """The command line of ``module`` where no package of the extra can be imported."""
    missing = "".join(f"sys.modules[{name!r}] = None; " for name in EXTRA)
    program = f"import sys; {missing}from {module} import app; app()"
    return subprocess.run(
        [sys.executable, "-c", program, *arguments], capture_output=True, text=True, check=False
    )


def test_the_demo_names_the_extra() -> None:
    done = run("gateway_agent.cli", "demo", "--duration", "5")
    assert done.returncode == 1
    assert "pip install 'tianfu-edge[hil]'" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("arguments", [["--help"], ["boards"], ["bench", "--example"]])
def test_what_needs_no_extra_works(arguments: list[str]) -> None:
    done = run("hil.cli", *arguments)
    assert done.returncode == 0, done.stderr
    assert done.stdout
