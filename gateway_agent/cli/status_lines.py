"""Lines of ``status`` about the configuration in force and the use of buses."""

from typing import Final

from rich.text import Text

from gateway_agent.status import BusStatus, ConfigurationStatus

MAX_BUSES: Final = 8  # the busiest; --json has more
_BUSY: Final = 0.9  # of a bus's time: little is left for retries


def configuration_lines(configuration: ConfigurationStatus | None) -> list[Text]:
    """Return which configuration is in force, or on probation, and what became of a reload."""
    if configuration is None:
        return []
    text = f"configuration: {configuration.digest[:12]} from {configuration.origin}"
    if configuration.by:
        text += f", by {configuration.by}"
    style = ""
    if configuration.probation_ms:
        text += f", on probation for {-(-configuration.probation_ms // 1000)} s more"
        style = "yellow"
    elif configuration.outcome:
        text += f"; {configuration.outcome}"
        style = "" if "proved itself" in configuration.outcome else "red"
    return [Text(text, style=style)]


def bus_lines(buses: list[BusStatus]) -> list[Text]:
    """Return what the busiest buses really do, with what is predicted in brackets."""
    lines = []
    for bus in buses[:MAX_BUSES]:
        text = (
            f"bus {bus.name}: {bus.share:.0%} in use ({bus.predicted_share:.0%}), a round"
            f" {bus.cycle_ms:.0f} ms ({bus.predicted_cycle_ms:.0f} ms)"
        )
        if bus.errors:
            text += ", failed: " + ", ".join(f"{name} {n}" for name, n in bus.errors.items())
        lines.append(Text(text, style="yellow" if bus.share >= _BUSY else ""))
    if len(buses) > MAX_BUSES:
        lines.append(Text(f"and {len(buses) - MAX_BUSES} more buses, with less use"))
    return lines
