"""A configuration by signed order: a reload, on probation, which undoes itself if it must."""

from typing import Final

from gateway_agent.reload.reloader import Reloader

from .command import CommandResult

_ROWS: Final = 4  # of the difference in a reply


async def configured(reloader: Reloader | None, text: str, by: str) -> CommandResult:
    """Apply a configuration; who may order at all (`[orders]`) cannot be changed so."""
    if reloader is None:
        why = "the agent does not poll yet, or was started without a file"
        return CommandResult(outcome="refused", text=why)
    plan = await reloader.apply(text, by, "a signed order")
    if plan.problems:
        return CommandResult(outcome="refused", text="; ".join(plan.problems))
    rows = [f"{row.path}: {row.old or 'nothing'} -> {row.new or 'nothing'}" for row in plan.rows]
    more = f" and {len(rows) - _ROWS} more" if len(rows) > _ROWS else ""
    left_ms = reloader.state().probation_ms
    trial = f"; on probation for {left_ms / 1000:.0f} s" if left_ms else ""
    changed = "; ".join(rows[:_ROWS]) or "nothing differs"
    return CommandResult(outcome="done", text=f"{changed}{more}{trial}")
