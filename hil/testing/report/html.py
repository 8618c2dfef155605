"""One page about a run: what passed on which engine, and the evidence of each test.

The page needs no other file and no network: pictures of the bus are inline SVG.
"""

from __future__ import annotations

import datetime as dt
from collections import Counter
from collections.abc import Sequence
from html import escape
from pathlib import Path
from typing import Final

from hil.testing.evidence import git_commit
from hil.testing.report.results import FinishedTest, Results

_TAIL_LINES: Final = 30
_LARGEST_PICTURE: Final = 400_000
_BAD: Final = ("failed", "error")

_STYLE: Final = """
:root { color-scheme: light dark; --ink: #1d2733; --dim: #667; --paper: #fff; --edge: #d8dde4;
  --good: #1a7f4b; --bad: #c0322b; --other: #a06a00; --soft: #f4f6f8 }
@media (prefers-color-scheme: dark) { :root { --ink: #e4e8ee; --dim: #9aa5b4; --paper: #14181d;
  --edge: #333b45; --good: #4cc38a; --bad: #ff7a70; --other: #e0ac4f; --soft: #1c222a } }
body { font: 15px/1.5 system-ui, sans-serif; color: var(--ink); background: var(--paper);
  max-width: 76rem; margin: 2rem auto; padding: 0 1rem }
h1 { font-size: 1.5rem; margin: 0 0 .3rem } h2 { font-size: 1.15rem; margin-top: 2rem }
.dim { color: var(--dim) } .passed { color: var(--good) } .failed, .error { color: var(--bad) }
.skipped, .xfailed { color: var(--other) }
.sums { display: flex; flex-wrap: wrap; gap: 1rem; margin: 1rem 0 }
.sums div { border: 1px solid var(--edge); border-radius: .5rem; padding: .4rem .9rem }
.sums b { font-size: 1.4rem; display: block }
details { border: 1px solid var(--edge); border-radius: .5rem; margin: .4rem 0 }
summary { display: flex; gap: .8rem; padding: .45rem .8rem; cursor: pointer; flex-wrap: wrap }
summary .name { flex: 1; min-width: 20rem } details > div { padding: 0 .8rem .8rem }
pre { background: var(--soft); border-radius: .4rem; padding: .7rem; overflow: auto;
  margin: .4rem 0; font: 13px/1.4 ui-monospace, monospace; max-height: 24rem }
.bus { overflow: auto }
"""


def write_report(
    path: Path, results: Results, summary: Sequence[str], seconds: float, code: int = 0
) -> None:
    """Write the page; ``summary`` are lines about the whole run, ``code`` is its exit status."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(page(results, summary, seconds, code), encoding="utf-8")


def page(results: Results, summary: Sequence[str], seconds: float, code: int = 0) -> str:
    """Return the page as text."""
    tests = sorted(results.tests, key=lambda r: (r.outcome not in _BAD, r.id))
    counts = Counter(result.outcome for result in tests)
    sums = "".join(
        f'<div><b class="{escape(outcome)}">{count}</b>{escape(outcome)}</div>'
        for outcome, count in counts.most_common()
    )
    headline, colour = _headline(results, code)
    when = dt.datetime.now(dt.UTC).strftime("%Y-%m-%d %H:%M UTC")
    lines = "".join(f"<div>{escape(line)}</div>" for line in summary)
    body = "".join(_test(result) for result in tests)
    return (
        '<!doctype html><html lang="en"><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width">'
        f"<title>Emulated boards: {headline}</title><style>{_STYLE}</style>"
        f'<h1 class="{colour}">Emulated boards: {headline}</h1>'
        f'<div class="dim">{when}, {seconds:.0f} s, commit {escape(git_commit())}</div>{lines}'
        f'<div class="sums">{sums}</div><h2>Tests</h2>{body}</html>\n'
    )


def _headline(results: Results, code: int) -> tuple[str, str]:
    """Return the result of the run in words, and the class that colours it."""
    counts = Counter(result.outcome for result in results.tests)
    ran, bad = counts.total(), sum(counts[outcome] for outcome in _BAD)
    if not ran:
        return "no test ran", "failed"
    if bad:
        return f"{bad} failed", "failed"
    if ran < results.total:
        return f"only {ran} of {results.total} tests ran", "failed"
    if code:
        return f"pytest ended with status {code}", "failed"
    if ran == counts["skipped"]:
        return "every test was skipped", "skipped"
    return "no failure", "passed"


def _test(result: FinishedTest) -> str:
    first = result.reason.splitlines()[0] if result.reason else ""
    opened = " open" if result.outcome in _BAD else ""
    inside = ""
    if result.text or result.reason:
        inside += f"<pre>{escape(result.text or result.reason)}</pre>"
    if result.repeat:
        inside += f"<div>repeat it (seed {result.seed}):</div><pre>{escape(result.repeat)}</pre>"
    if result.folder is not None:
        inside += _picture(result.folder) + _consoles(result.folder)
        if result.outcome in _BAD:
            inside += f'<div class="dim">evidence: {escape(str(result.folder))}</div>'
    return (
        f'<details{opened}><summary><span class="{escape(result.outcome)}">'
        f'{escape(result.outcome)}</span><span class="name">{escape(result.title)}</span>'
        f'<span class="dim">{escape(first[:160])}</span><span class="dim">seed {result.seed}</span>'
        f"<span>{result.seconds:.1f} s</span></summary><div>{inside}</div></details>"
    )


def _picture(folder: Path) -> str:
    path = folder / "timeline.svg"
    if not path.exists() or path.stat().st_size > _LARGEST_PICTURE:
        return ""
    text = path.read_text(encoding="utf-8")
    return f'<div class="bus">{text}</div>' if text.startswith("<svg") else ""


def _consoles(folder: Path) -> str:
    shown = ""
    for path in sorted(folder.glob("*.log")):
        tail = path.read_text(encoding="utf-8", errors="replace").splitlines()[-_TAIL_LINES:]
        shown += f"<div>{escape(path.stem)}</div><pre>{escape(chr(10).join(tail))}</pre>"
    return shown
