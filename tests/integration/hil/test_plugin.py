"""The pytest plugin: what is skipped, what is expected to fail, what a failing test leaves."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from hil.engines import fidelity
from hil.engines.fidelity import Defect
from hil.engines.registry import Probe
from hil.errors import BringUpFailed, FidelityError
from hil.testing import options
from hil.testing.evidence import Evidence, folder_name
from hil.testing.first_failure import FirstFailure
from hil.testing.repeat import derived_seed
from hil.tools import TOOLS, Tool

pytest_plugins = ["pytester"]
pytestmark = pytest.mark.timeout(180)

HEAD = """
import pytest
from hil.engines.abilities import Capability
from hil.bus.fault import Fault, FaultKind
from hil.site.polls import PollCounts, Target, poll_many
"""


@pytest.fixture
def inner(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> pytest.Pytester:
    """A run of pytest inside this one, with the plugin and the unix engine."""
    monkeypatch.delenv("CI", raising=False)
    pytester.makeini(
        "[pytest]\nasyncio_mode = strict\nasyncio_default_fixture_loop_scope = function\n"
    )
    return pytester


def run(
    inner: pytest.Pytester, *options: str, engine: str = "unix", inprocess: bool = False
) -> pytest.RunResult:
    # Nothing in this process may depend on what a run inside it has left; only what a test has
    # replaced here needs one.
    here = inner.runpytest_inprocess if inprocess else inner.runpytest_subprocess
    return here(
        *("-p", "hil.plugin", "-p", "no:randomly", "-p", "no:cacheprovider", "-rxs"),
        *((f"--engine={engine}",) if engine else ()),
        *options,
    )


def test_a_failing_test_leaves_everything_and_a_passing_one_nothing(
    inner: pytest.Pytester,
) -> None:
    inner.makepyfile(
        HEAD
        + """
@pytest.mark.asyncio
async def test_bad(node_bench, make_master, seed):
    master = make_master(node_bench)
    counts = await poll_many(master, [Target.of(node_bench.nodes["air"].spec)], 3)
    assert not counts.wrong
    assert counts.proved == 99, f"seed {seed}"

@pytest.mark.asyncio
async def test_good(node_bench):
    assert node_bench.nodes["air"].is_running()
"""
    )
    result = run(inner, "--seed=7")
    result.assert_outcomes(passed=1, failed=1)
    (folder,) = (inner.path / "hil-out").iterdir()
    names = {path.name for path in folder.iterdir()}
    assert names >= {
        "bus.pcapng",
        "bus.txt",
        "console-air.log",
        "failure.txt",
        "master.json",
        "repeat.txt",
        "seed.txt",
        "timeline.svg",
        "versions.json",
    }
    command = (folder / "repeat.txt").read_text()
    assert "::test_bad[unix]'" in command
    assert command.endswith("--engine unix --seed 7\n")
    assert (folder / "seed.txt").read_text() == "7\n"
    assert '"boot_epoch": 1' in (folder / "console-air.log").read_text()
    assert "read input registers" in (folder / "bus.txt").read_text().lower()
    assert (folder / "bus.pcapng").read_bytes()[:4] == b"\x0a\x0d\x0d\x0a"
    assert (folder / "timeline.svg").read_text().startswith("<svg")
    versions = json.loads((folder / "versions.json").read_text())
    assert (versions["engine"], versions["image"]) == ("unix", None)
    assert versions["commit"]
    result.stdout.fnmatch_lines(["*engines: unix * ran 2; qemu did not: not asked for; *"])


def test_what_an_engine_lacks_is_a_skip_with_the_reason(inner: pytest.Pytester) -> None:
    inner.makepyfile(
        HEAD
        + """
@pytest.mark.needs(Capability.PAUSE)
def test_pauses(engine): raise AssertionError
"""
    )
    result = run(inner)
    result.assert_outcomes(skipped=1)
    result.stdout.fnmatch_lines(["*engine unix has no pause:*"])
    assert not (inner.path / "hil-out").exists()


def test_boards_with_a_clock_of_their_own_have_more_time(
    inner: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    renode = inner.makefile(".sh", renode="#!/bin/sh\necho Renode v1.16.1.0\n")
    renode.chmod(0o755)
    monkeypatch.setenv("RENODE", str(renode))
    inner.makepyfile(
        HEAD
        + """
def limit(request): return request.node.get_closest_marker("timeout")

@pytest.mark.timeout(50)
def test_marked(engine_name, request):
    assert limit(request).args == ((200,) if engine_name == "renode" else (50,))

def test_configured(engine_name, request):
    assert (limit(request) is not None) == (engine_name == "renode")
"""
    )
    run(inner, "--engine=renode", "-o", "timeout=60").assert_outcomes(passed=4)


def test_a_known_defect_is_an_expected_failure_and_its_repair_fails(
    inner: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    defect = Defect("unix-example", "unix", "counts to six", "do not count", "here")
    monkeypatch.setattr(fidelity, "table", lambda: {"unix-example": defect})
    inner.makepyfile(
        HEAD
        + """
@pytest.mark.fidelity("unix-example")
def test_seven(engine): assert 6 == 7

@pytest.mark.fidelity("unix-example")
def test_six(engine): assert 6 == 6
"""
    )
    result = run(inner, inprocess=True)
    result.assert_outcomes(xfailed=1, failed=1)
    result.stdout.fnmatch_lines(["*XPASS(strict)* unix-example: counts to six*"])


def test_an_unknown_defect_is_wrong_usage(inner: pytest.Pytester) -> None:
    inner.makepyfile(HEAD + '@pytest.mark.fidelity("no-such")\ndef test_it(engine): pass\n')
    result = run(inner)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    assert "no entry 'no-such'" in "\n".join(result.errlines + result.outlines)


def test_one_seed_gives_the_same_faults_twice_and_another_one_others(
    inner: pytest.Pytester,
) -> None:
    inner.makepyfile(
        HEAD
        + """
@pytest.mark.asyncio
async def test_noise(node_bench, seed):
    line = node_bench.line
    for _ in range(3):
        line.noise(20)
    with open("bytes", "a") as file:
        # Not burst by burst: a pause of this process makes two of one.
        file.write("".join(b.heard.hex() for b in line.trace.bursts) + "\\n")
"""
    )
    for seed in (("--seed=1",), ("--seed=1",), ("--seed=2",)):
        run(inner, *seed).assert_outcomes(passed=1)
    first, again, other = (inner.path / "bytes").read_text().splitlines()
    assert first == again
    assert first != other


def test_repetitions_count_their_seeds_up(inner: pytest.Pytester) -> None:
    inner.makepyfile("def test_it(engine, seed): raise AssertionError(seed)\n")
    run(inner, "--hil-repeat=2", "--seed=5").assert_outcomes(failed=2)
    commands = sorted(p.read_text() for p in (inner.path / "hil-out").glob("*/repeat.txt"))
    assert [c.rpartition(" ")[2] for c in commands] == ["5\n", "6\n"]
    assert all("test_it[unix]" in c for c in commands)


@pytest.mark.parametrize(("name", "fails"), [("qemu", True), ("renode", False)])
def test_what_ci_must_have(
    name: str, fails: bool, inner: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    def probe(kind: object) -> Probe:
        found = getattr(kind, "name", "") != name
        return Probe(Path("x"), "1.0") if found else Probe(None, problem="no executable")

    monkeypatch.setattr(options, "available", probe)
    monkeypatch.setenv("CI", "true")
    inner.makepyfile("def test_it(engine_name): pass\n")
    result = run(inner, engine="", inprocess=True)
    result.assert_outcomes(passed=2)
    assert (result.ret != 0) == fails
    result.stdout.fnmatch_lines([f"*{name} did not: no executable*"])


def test_an_engine_that_is_asked_for_and_not_there_is_an_error(
    inner: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        options, "available", lambda _: Probe(None, problem="gone", remedy="get it")
    )
    inner.makepyfile("def test_it(engine): pass\n")
    assert "--engine unix: gone. get it" in "\n".join(run(inner, inprocess=True).errlines)
    assert "expected qemu, renode, unix" in "\n".join(
        run(inner, engine="simh", inprocess=True).errlines
    )


def test_workers_beside_each_other(inner: pytest.Pytester) -> None:
    inner.makepyfile(
        HEAD
        + """
@pytest.mark.asyncio
@pytest.mark.parametrize("number", range(4))
async def test_it(number, node_bench):
    assert node_bench.nodes["air"].is_running()
"""
    )
    result = inner.runpytest_subprocess(
        *("-p", "hil.plugin", "-p", "no:randomly", "--engine=unix", "-n2")
    )
    result.assert_outcomes(passed=4)
    result.stdout.fnmatch_lines(["*engines: unix * ran 4;*"])


def test_a_slow_host_is_a_skip(inner: pytest.Pytester) -> None:
    inner.makepyfile(
        "from hil.errors import HostTooSlow\ndef test_it(engine): raise HostTooSlow('10 s for 1')\n"
    )
    result = run(inner)
    result.assert_outcomes(skipped=1)
    result.stdout.fnmatch_lines(["*host too slow: 10 s for 1*"])


def test_a_host_that_was_too_slow_is_named_beside_what_the_test_found(
    inner: pytest.Pytester,
) -> None:
    inner.makepyfile(
        "import pytest\n"
        "from hil.errors import HostTooSlow\n"
        "@pytest.fixture\n"
        "def late():\n"
        "    yield\n"
        "    raise HostTooSlow('node air counted 1 s in 9 s')\n"
        "def test_it(engine, late): pass\n"
    )
    result = run(inner, "--hil-results=results.jsonl")
    result.assert_outcomes(passed=1, skipped=1)
    result.stdout.fnmatch_lines(["*host too slow: node air counted 1 s in 9 s*"])
    assert '"outcome": "passed"' in (inner.path / "results.jsonl").read_text()


def test_the_first_failure_is_remembered() -> None:
    failures = FirstFailure()
    calls = []

    def fail() -> int:
        calls.append(1)
        raise OSError("no flash")

    with pytest.raises(OSError, match="no flash"):
        failures.once("image x", "test_a", fail)
    with pytest.raises(BringUpFailed, match="image x failed first in test_a: no flash") as later:
        failures.once("image x", "test_b", fail)
    assert isinstance(later.value.__cause__, OSError)
    assert len(calls) == 1
    assert failures.once("image y", "test_a", lambda: 7) == 7


def test_a_board_that_did_not_come_up_is_not_waited_for_again(inner: pytest.Pytester) -> None:
    inner.makepyfile(
        HEAD
        + """
import pytest
from hil.errors import EngineError
from hil.engines.unix import UnixNode

CALLS = []

@pytest.fixture(autouse=True)
def silent(monkeypatch):
    async def start(self, limit_s=1.0):
        CALLS.append(self.spec.name)
        raise EngineError("printed nothing")
    monkeypatch.setattr(UnixNode, "start", start)

@pytest.mark.asyncio
async def test_first(node_bench): raise AssertionError

@pytest.mark.asyncio
async def test_second(node_bench): raise AssertionError

@pytest.mark.asyncio
async def test_other_roles_have_their_own_try(make_bench):
    with pytest.raises(EngineError):
        await make_bench(("water",))
    assert CALLS == ["air", "water"]
"""
    )
    result = run(inner)
    result.assert_outcomes(errors=2, passed=1)
    result.stdout.fnmatch_lines(
        ["*power-on of air on unix*failed first in *test_first*printed nothing*"]
    )


@pytest.mark.parametrize(("ci", "outcome"), [("true", {"errors": 1}), ("", {"skipped": 1})])
def test_a_missing_program_is_a_failure_in_ci_and_a_skip_elsewhere(
    ci: str, outcome: dict[str, int], inner: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Tool, "find", lambda _: None)
    monkeypatch.setenv("CI", ci)
    inner.makepyfile("def test_it(mbpoll, engine): raise AssertionError\n")
    result = run(inner, inprocess=True)
    result.assert_outcomes(**outcome)
    result.stdout.fnmatch_lines([f"*mbpoll is not installed: {TOOLS['mbpoll'].remedy}*"])


def test_a_source_that_fails_does_not_hide_the_others(tmp_path: Path) -> None:
    evidence = Evidence(tmp_path / "t")
    evidence.add("a.txt", lambda: str(1 // 0))
    evidence.add("b.txt", lambda: "good")
    folder = evidence.write()
    assert "ZeroDivisionError" in (folder / "a.txt").read_text()
    assert (folder / "b.txt").read_text() == "good"


def test_names_of_folders_are_short_and_differ() -> None:
    long = "hil/scenarios/test_x.py::test_y[" + "z" * 300
    assert len(folder_name(long + "1]")) < 140
    assert folder_name(long + "1]") != folder_name(long + "2]")
    assert folder_name("hil/test_x.py::test_y[qemu]") == "hil.test_x.py.test_y-qemu"


def test_seeds_differ_by_test_and_not_by_run() -> None:
    assert derived_seed(1, "a") == derived_seed(1, "a")
    assert len({derived_seed(1, "a"), derived_seed(2, "a"), derived_seed(1, "b")}) == 3


def test_the_fidelity_table_is_checked(tmp_path: Path) -> None:
    assert fidelity.read(fidelity.TABLE)
    path = tmp_path / "fidelity.toml"
    path.write_text('[[defect]]\nid = "x"\n')
    with pytest.raises(FidelityError, match=r"fidelity.toml: .*missing required field"):
        fidelity.read(path)
