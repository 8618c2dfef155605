"""The command line of the bench: what it prints, its reports and its errors."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest
from typer.testing import CliRunner

from hil.benchfile import EXAMPLE, BenchFileError, parse_bench
from hil.bus.fault import FaultKind
from hil.cli import app
from hil.cli import doctor as doctor_module
from hil.cli.doctor import diagnose, tool_check
from hil.engines.registry import KINDS, EngineKind, Probe
from hil.testing.report.html import page
from hil.testing.report.results import FinishedTest, Results, read_results
from hil.tools import Tool

RUNNER = CliRunner()


def test_version_is_a_version() -> None:
    done = RUNNER.invoke(app, ["--version"])
    assert done.exit_code == 0
    assert re.fullmatch(r"\d+\.\d+\S*\n", done.output)


def test_boards_shows_every_engine_as_table_and_json() -> None:
    shown = RUNNER.invoke(app, ["boards"])
    assert shown.exit_code == 0
    assert "flash-writes" in shown.output
    plain = json.loads(RUNNER.invoke(app, ["boards", "--json"]).output)
    assert set(plain) == set(KINDS)
    assert "flash-writes" in plain["unix"]["capabilities"]


def test_doctor_starts_the_engine_that_is_there_and_names_the_remedy_for_the_rest(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    gone = EngineKind(
        "gone",
        "an engine",
        "unix",
        "hil.engines.unix:UnixEngine",
        lambda: Probe(None, problem="no program", remedy="sudo apt-get install gone"),
    )
    monkeypatch.setattr(doctor_module, "KINDS", {"gone": gone, "unix": KINDS["unix"]})
    done = RUNNER.invoke(app, ["doctor", "--json"])
    assert done.exit_code == 0, done.output
    engines = json.loads(done.stdout)["engines"]
    assert engines["unix"]["works"]
    assert '"boot_epoch": 1' in engines["unix"]["said"]
    assert not engines["gone"]["works"]
    assert engines["gone"]["problem"] == "program: no program"
    assert engines["gone"]["checks"][0]["remedy"] == "sudo apt-get install gone"
    text = RUNNER.invoke(app, ["doctor"])
    assert "unix  works" in text.output
    assert "sudo apt-get install gone" in text.output


def test_doctor_fails_where_nothing_works(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor_module, "KINDS", {})
    assert RUNNER.invoke(app, ["doctor"]).exit_code == 1


def test_an_engine_that_cannot_be_imported_is_a_problem_not_a_crash() -> None:
    kind = EngineKind("none", "none", "unix", "hil.engines.none:None", lambda: Probe(None))
    assert "hil.engines.none" in diagnose(kind).problem
    assert kind.capabilities == frozenset()


def test_a_program_that_ends_at_once_is_a_problem_not_a_crash(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    program = Path("/bin/false")
    monkeypatch.setattr("hil.engines.unix.find_micropython", lambda: program)
    diagnosis = diagnose(replace(KINDS["unix"], probe=lambda: Probe(program, "1.25")))
    assert not diagnosis.works
    assert diagnosis.checks[0].found == "/bin/false 1.25"
    assert diagnosis.problem.startswith("start: ")
    assert "ended" in diagnosis.problem


def test_an_engine_whose_image_cannot_be_built_is_not_started(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    kind = replace(KINDS["qemu"], probe=lambda: Probe(Path("/qemu"), "7.2"))
    absent = Tool("no-such-compiler", "building the image", "install it")
    monkeypatch.setattr(doctor_module, "BUILD_TOOLS", (absent,))
    diagnosis = diagnose(kind)
    assert [check.name for check in diagnosis.checks] == ["program", "no-such-compiler"]
    assert diagnosis.problem == "no-such-compiler: not found; needed for building the image"
    # The tools are thought to be there, but nothing is in PATH.
    monkeypatch.setattr(doctor_module, "BUILD_TOOLS", ())
    monkeypatch.setenv("PATH", "")
    diagnosis = diagnose(kind)
    assert diagnosis.problem.startswith(f"image: image of {kind.board} cannot be built: ")
    assert diagnosis.checks[-1].remedy == f"tianfu-node build {kind.board}"


def test_a_missing_tool_shows_what_needs_it() -> None:
    check = tool_check(Tool("no-such-tool", "nothing", "make it"))
    assert check.problem == "not found; needed for nothing"
    assert check.remedy == "make it"


def test_the_example_of_a_bench_is_one() -> None:
    assert RUNNER.invoke(app, ["bench", "--example"]).output == EXAMPLE
    plan = parse_bench(EXAMPLE, "example")
    assert [(p.name, p.role, p.unit) for p in plan.places] == [
        ("hall", "air", 1),
        ("basin", "water", 2),
    ]
    assert plan.places[0].settings == {"warmup_limit_s": 2}
    commented = EXAMPLE.replace("# [[fault]]", "[[fault]]").replace("# kind", "kind")
    commented = commented.replace("# rate", "rate").replace("# times", "times")
    (fault,) = parse_bench(commented, "example").faults
    assert (fault.kind, fault.rate, fault.times) == (FaultKind.BYTE_FLIP, 0.01, None)


def test_a_fault_is_of_the_line_or_of_the_link_of_one_node() -> None:
    text = """
        roles = ["air", "water"]
        [settings]
        link_baud_div_100 = 1152
        [[fault]]
        kind = "drop"
        [[fault]]
        link = "water"
        kind = "byte-flip"
        times = "unlimited"
        rate = 0.02
    """
    plan = parse_bench(text, "f.toml")
    assert [fault.kind for fault in plan.faults] == [FaultKind.DROP]
    ((name, (fault,)),) = plan.link_faults.items()
    assert (name, fault.kind, fault.rate) == ("water", FaultKind.BYTE_FLIP, 0.02)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("engine = 'simh'", "f.toml: engine: expected one of qemu, renode, unix, got 'simh'"),
        ("engin = 'unix'", "f.toml: key: expected one of engine, seed"),
        ("roles = ['fire']", "f.toml: roles: expected one of air, water, camera, got 'fire'"),
        ("roles = ['air', 'air']", "f.toml: roles: expected a list of different roles"),
        ("baud = 5", "f.toml: baud: expected an integer from 1200 to 115200, got 5"),
        ("[settings]\nunit = 1", "f.toml: settings: expected one of unit_id"),
        (
            "[settings]\nsample_period_ds = 0",
            "f.toml: settings.sample_period_ds: expected an integer from 1 to 36000, got 0",
        ),
        ("roles = ['air']\n[parts.air]\npms5003 = 'sad'", "parts.air.pms5003: expected one of"),
        ("seed = 1\n[[fault]]\nkind = 'gremlin'", "f.toml: fault 1: kind: expected one of"),
        (
            "roles = ['air']\n[[fault]]\nkind = 'drop'\nlink = 'air'",
            "f.toml: fault 1: link: no node has a serial link, got 'air': give it a speed",
        ),
        ("[[fault]]\nkind = 'drop'\n[[fault]]\nkind = 'drip'", "f.toml: fault 2: kind: expected"),
        ("seed = ", "f.toml: expected TOML: "),
        ("[[node]]\nname = 'a b'\nrole = 'air'", "f.toml: node 1: name: expected letters"),
        ("[[node]]\nname = 'gateway'\nrole = 'air'", "'gateway' is the line's own endpoint"),
        (
            "[[node]]\nname = 'a'\nrole = 'air'\n[[node]]\nname = 'a'\nrole = 'air'",
            "every name once",
        ),
        (
            "[[node]]\nname = 'a'\nrole = 'air'\nunit = 300",
            "node 1: unit: expected an integer from 1",
        ),
        ("roles = ['air']\n[[node]]\nname = 'a'\nrole = 'air'", "no roles beside them"),
    ],
)
def test_wrong_bench_files_are_explained(text: str, problem: str) -> None:
    with pytest.raises(BenchFileError) as caught:
        parse_bench(text, "f.toml")
    assert problem in str(caught.value)


def test_a_bench_comes_up_shows_how_to_connect_and_ends(tmp_path: Path) -> None:
    file = tmp_path / "b.toml"
    node = '[[node]]\nname = "%s"\nrole = "water"\nunit = %d\nsettings = {sample_period_ds = %d}\n'
    file.write_text('engine = "unix"\n' + node % ("north", 7, 10) + node % ("south", 9, 50))
    done = RUNNER.invoke(app, ["bench", str(file), "--seconds", "0.1"])
    assert done.exit_code == 0, done.output
    assert "line: /dev/pts/" in done.output
    assert "node south: role water, address 9" in done.output
    assert "mbpoll -m rtu -b 9600 -P none -a 7 " in done.output
    assert done.output.endswith("bench ended\n")


def test_a_bench_shows_its_faults(tmp_path: Path) -> None:
    file = tmp_path / "b.toml"
    fault = '[[fault]]\nkind = "byte-flip"\nrate = 0.5\n'
    of_link = f'{fault}link = "air"\n[settings]\nlink_baud_div_100 = 1152\n'
    parts = '[parts.air]\npms5003 = "silent"\n'
    file.write_text(f'engine = "unix"\nroles = ["air"]\n{fault}{of_link}{parts}')
    done = RUNNER.invoke(app, ["bench", str(file), "--seconds", "0.1"])
    assert done.exit_code == 0, done.output
    assert "part    pms5003: silent\n" in done.output
    assert re.search(r"link    /dev/pts/\d+  \(115200 8N1\)\n", done.output)


def test_a_fault_of_a_part_that_the_node_has_not(tmp_path: Path) -> None:
    file = tmp_path / "b.toml"
    file.write_text('engine = "unix"\nroles = ["air"]\n[parts.air]\nvc0706 = "silent"\n')
    done = RUNNER.invoke(app, ["bench", str(file)])
    assert done.exit_code == 1
    assert "did not come up: parts.air: expected one of pms5003, mhz19b" in done.output
    assert "got 'vc0706'" in done.output


def test_a_bench_that_is_not_there_names_the_remedy(tmp_path: Path) -> None:
    done = RUNNER.invoke(app, ["bench", str(tmp_path / "none.toml")])
    assert done.exit_code == 2
    assert "tianfu-hil bench --example" in done.output


@pytest.mark.timeout(180)
def test_run_shows_tests_and_writes_both_reports(tmp_path: Path) -> None:
    suite = tmp_path / "test_small.py"
    suite.write_text(
        "import pytest\n"
        "@pytest.mark.asyncio\n"
        "async def test_runs(node_bench): assert node_bench.nodes['air'].is_running()\n"
        "def test_breaks(engine): raise ValueError('<broken>')\n"
    )
    out, html, junit = tmp_path / "out", tmp_path / "r.html", tmp_path / "j.xml"
    done = RUNNER.invoke(
        app,
        [
            *("run", str(suite), "--engine", "unix", "--out", str(out), "--seed", "3"),
            *("--html", str(html), "--junit", str(junit)),
        ],
    )
    assert done.exit_code == 1, done.output
    assert "ok" in done.output
    assert "small: runs [unix]" in done.output
    assert "FAILED" in done.output
    assert "engines: unix" in done.output
    assert "repeat:   python -m pytest" in done.output
    text = html.read_text()
    assert "1 failed" in text
    assert "&lt;broken&gt;" in text
    assert "<svg" in text
    assert "<script" not in text
    assert "http://" not in text.replace("http://www.w3.org/2000/svg", "")
    assert 'name="seed" value="3"' in junit.read_text()
    # The passing test's folder is in the page; only the failing one's stays.
    assert [p.name for p in out.iterdir() if p.is_dir()] == ["tmp"] or [
        p for p in out.iterdir() if p.is_dir() and "test_breaks" in p.name
    ]
    assert not [p for p in out.iterdir() if "test_runs" in p.name]


@pytest.mark.parametrize("text", ["", "import no_such_module\n"])
def test_a_run_without_a_test_is_red_everywhere(tmp_path: Path, text: str) -> None:
    suite, html, junit = (tmp_path / name for name in ("test_none.py", "r.html", "j.xml"))
    suite.write_text(text)
    junit.write_text("<testsuites/>")  # of an earlier run
    words = ["--engine", "unix", "--out", str(tmp_path / "out")]
    done = RUNNER.invoke(
        app, ["run", str(suite), *words, "--html", str(html), "--junit", str(junit)]
    )
    assert done.exit_code == 1, done.output
    assert "no test ran" in done.output
    assert '<h1 class="failed">Emulated boards: no test ran</h1>' in html.read_text()
    (wrong,) = ET.parse(junit).getroot().iter("error")  # noqa: S314 - our own file
    assert wrong.attrib["message"].startswith("no test ran")


def test_a_run_that_is_killed_is_red_and_names_no_file_it_did_not_write(tmp_path: Path) -> None:
    """pytest ends between two tests: it writes no JUnit file, and an old one does not stand in."""
    suite, html, junit = (tmp_path / name for name in ("test_killed.py", "r.html", "j.xml"))
    suite.write_text(
        "import os, signal, pytest\n"
        "@pytest.mark.parametrize('number', range(2))\n"
        "def test_ends(number, done=[]):\n"
        "    done.append(number)\n"
        "    if len(done) == 2: os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    junit.write_text("<testsuites/>")
    words = ["--engine", "unix", "--out", str(tmp_path / "out")]
    done = RUNNER.invoke(
        app, ["run", str(suite), *words, "--html", str(html), "--junit", str(junit)]
    )
    assert done.exit_code == 1, done.output
    assert f"JUnit XML: {junit}" not in done.output
    assert "JUnit XML: not written" in done.output
    assert '<h1 class="failed">Emulated boards: only 1 of 2 tests ran</h1>' in html.read_text()


def test_a_test_outside_of_the_project_is_named_by_its_file(tmp_path: Path) -> None:
    """pytest's own id of it has no file where its root directory is another one."""
    project, out = tmp_path / "project", tmp_path / "project" / "out"
    project.mkdir()
    (project / "pyproject.toml").write_text("[tool.pytest.ini_options]\n", "utf-8")
    test = tmp_path / "mine" / "test_mine.py"
    test.parent.mkdir()
    test.write_text("def test_silent_co2(engine_name: str) -> None:\n    assert False\n", "utf-8")
    done = RUNNER.invoke(app, ["run", str(test), "--engine", "unix", "--out", str(out)])
    assert done.exit_code == 1
    assert f"'{test}::test_silent_co2[unix]'" in done.output
    assert "mine: silent co2 [unix]" in done.output


def test_a_suite_that_does_not_exist_names_those_that_do() -> None:
    done = RUNNER.invoke(app, ["run", "boat"])
    assert done.exit_code == 2
    assert "boot" in done.output


def test_results_that_are_not_whole_yet_wait(tmp_path: Path) -> None:
    path = tmp_path / "r.jsonl"
    path.write_text('{"total": 2}\n{"id": "a.py::test_b[unix]", "outco')
    assert read_results(path) == Results(total=2)


def test_the_page_of_a_run_without_failures() -> None:
    result = FinishedTest(
        "s/test_boot.py::test_first_answer[unix]", "passed", "", 1.0, "unix", 1, "r"
    )
    text = page(Results(1, [result]), ["engines: unix ran 1"], 3.0)
    assert "no failure" in text
    assert "boot: first answer [unix]" in text
    lacking = page(Results(1, [result]), ["FAILED: CI=true, and engine qemu did not run"], 3.0, 1)
    assert "Emulated boards: pytest ended with status 1</h1>" in lacking
    skipped = page(Results(1, [replace(result, outcome="skipped")]), [], 3.0)
    assert "every test was skipped" in skipped
    assert "no failure" not in skipped
