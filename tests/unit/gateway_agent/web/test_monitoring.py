"""The alarm rules and the dashboard name metrics that exist; promtool takes the rules."""

import json
import re
import subprocess
from pathlib import Path

import pytest

from hil.tools import TOOLS

from .help import fetch, running

FOLDER = Path(__file__).resolve().parents[4] / "docs" / "monitoring"


async def test_rules_and_dashboard_name_only_metrics_that_exist(tmp_path: Path) -> None:
    async with running(tmp_path) as agent:
        text = (await fetch(agent.web_port, "/metrics")).body.decode()
    known = set(re.findall(r"^# TYPE (\S+) ", text, re.MULTILINE)) | {"up"}
    dashboard = json.loads((FOLDER / "dashboard.json").read_text())
    queries = [
        target["expr"] for panel in dashboard["panels"] for target in panel["targets"]
    ] + re.findall(r"expr: (.*)", (FOLDER / "alerts.yml").read_text())
    assert len(queries) > 15
    for query in queries:
        named = set(re.findall(r"\b(?:tianfu|process)_\w+", query))
        assert named <= known, query
        assert named or "up{" in query, query


@pytest.mark.tool("promtool")
def test_promtool_takes_the_rules() -> None:
    promtool = TOOLS["promtool"].find()
    done = subprocess.run(
        [str(promtool), "check", "rules", str(FOLDER / "alerts.yml")],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "7 rules found" in done.stdout
