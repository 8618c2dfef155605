"""Commands with a small file system of their own, in a mount namespace that ends with them."""

import os
import shlex
import shutil
import subprocess

import pytest

from tests.conftest import not_tested
from tests.paths import ROOT


def run_mounted(mount: str, *command: object) -> subprocess.CompletedProcess[str]:
    """Run ``command`` after the shell command ``mount``.

    Where none is allowed the test is skipped; it fails for root where ``CI=true``.
    """
    unshare = shutil.which("unshare")
    flags = "-m" if os.geteuid() == 0 else "-rm"
    if (
        unshare is None
        or subprocess.run(
            [unshare, flags, "sh", "-c", mount], check=False, capture_output=True, timeout=30
        ).returncode
    ):
        reason = "no mount namespace here"
        if os.geteuid():
            pytest.skip(reason)
        not_tested(reason)
    return subprocess.run(
        [unshare, flags, "sh", "-c", f"{mount} && exec {shlex.join(map(str, command))}"],
        check=False,
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        timeout=50,
    )
