"""The JUnit file of a run in which no test ran: pytest writes none, or one that looks green."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from xml.etree import ElementTree as ET


def write_no_test(path: Path, message: str, output: Sequence[str]) -> None:
    """Write a file with one error: its message, and the last lines that pytest has printed."""
    suites = ET.Element("testsuites")
    counts = {"tests": "1", "errors": "1", "failures": "0", "skipped": "0"}
    suite = ET.SubElement(suites, "testsuite", {"name": "tianfu-hil", **counts})
    case = ET.SubElement(suite, "testcase", {"classname": "tianfu-hil", "name": "a test runs"})
    ET.SubElement(case, "error", {"message": message}).text = "\n".join(
        "".join(char for char in line if char.isprintable()) for line in output
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    ET.ElementTree(suites).write(path, encoding="utf-8", xml_declaration=True)
