"""``tianfu-gateway check``: check the configuration, and that the polls fit the buses."""

import json
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, NamedTuple

import typer
from msgspec.structs import replace
from rich.table import Table

from gateway_agent.cli.left_out import show_left_out, site_device
from gateway_agent.cli.output import table_console
from gateway_agent.config import GatewayConfig, LinkBus, SerialBus, WebConfig, load
from gateway_agent.field.cuts import CutFile, describe_cuts
from gateway_agent.field.devices import (
    open_all,
    open_links,
)
from gateway_agent.field.planner import BusPlan, JoinRules, plan_bus
from gateway_agent.field.proposal import proposals
from gateway_agent.keys import KeyFileError, check_secret, load_private, load_public
from gateway_agent.store.medium import too_small
from gateway_agent.tables import ConfigError, Problem
from gateway_agent.uplink.exporter_config import SiteDevice
from protocols.exit_status import GOOD, UNUSABLE
from protocols.uplink import key_id


@dataclass(frozen=True, slots=True)
class Checked:
    """Outcome of a check; there are no plans if there are problems."""

    plans: list[BusPlan]
    links: list[LinkBus]  # where nodes push: there is nothing to plan
    problems: list[Problem]
    left_out: dict[str, list[str]]  # by uplink: what it does not get, and why


def check_config(path: Path) -> Checked:
    """Load the configuration and everything it names; nothing on a bus is opened."""
    try:
        config = load(path)
    except ConfigError as error:
        return Checked([], [], list(error.problems), {})
    problems: list[Problem] = []
    _check_files(config, path, problems)
    plans: list[BusPlan] = []
    site: list[SiteDevice] = []
    try:
        cuts = CutFile(config.gateway.state_dir)
        for bus, devices in zip(config.bus, open_all(config.bus), strict=True):
            site += map(site_device, devices)
            own = [cuts.of(item.device.device_id(config.gateway.id)) for item in devices]
            ruled = [
                (item, JoinRules.of(bus, known)) for item, known in zip(devices, own, strict=True)
            ]
            reads = [item.reads(rules) for item, rules in ruled]
            plan = plan_bus(bus, reads, [item.read_periods(rules) for item, rules in ruled])
            known_cuts = (
                f"{item.device.name} refuses one read across {describe_cuts(known)}: it is read"
                f" apart ({cuts.path})"
                for item, known in zip(devices, own, strict=True)
                if known
            )
            plans.append(replace(plan, warnings=(*plan.warnings, *known_cuts)))
    except ConfigError as error:
        problems += error.problems
    try:
        site += (site_device(device) for link in open_links(config.link) for device in link)
    except ConfigError as error:
        problems += error.problems
    if problems:
        return Checked([], [], problems, {})
    left_out = {one.label: list(one.left_out(site)) for one in config.exporters}
    return Checked(_with_shared_devices(plans), list(config.link), [], left_out)


def _with_shared_devices(plans: list[BusPlan]) -> list[BusPlan]:
    """Return the plans with a warning at each bus that shares its TCP device with one before."""
    first: dict[str, str] = {}
    result: list[BusPlan] = []
    for plan in plans:
        other = first.setdefault(plan.bus.where, plan.bus.name)
        if other != plan.bus.name:
            warning = (
                f"bus {other} connects to {plan.bus.where} too: many devices allow one connection "
                "only; put all their devices below one [[bus]]"
            )
            plan = replace(plan, warnings=(*plan.warnings, warning))
        result.append(plan)
    return result


class _NamedFile(NamedTuple):
    """A file that the configuration names."""

    key: str
    path: Path | None
    remedy: str
    load: Callable[[Path], object] | None = None  # raises KeyFileError if it cannot be used


def _check_files(config: GatewayConfig, path: Path, problems: list[Problem]) -> None:
    """Check what `run` will read and where it will write, without writing anything."""
    uplink, state = config.uplink, config.gateway.state_dir
    if not _can_be_written(state):
        remedy = "choose another one, or give this user the right to write there"
        wanted = "a directory that this user can make or write"
        problems.append(Problem(str(path), "gateway.state_dir", f'"{state}"', wanted, remedy))
    problems += too_small(state, path)
    files = [
        _NamedFile(
            "gateway.key",
            config.gateway.key,
            "make it with `tianfu-gateway keygen`",
            load_private,
        ),
        _NamedFile(
            "uplink.collector_key",
            uplink.collector_key,
            "copy it from the collector",
            load_public if uplink.receipt == "signed" else None,
        ),
        _NamedFile(
            "uplink.password_file",
            uplink.password_file,
            "write the password into it, mode 0600",
            check_secret,
        ),
    ]
    if uplink.tls is not None:
        remedy = "copy the file there"
        files += [
            _NamedFile("uplink.tls.ca", uplink.tls.ca, remedy),
            _NamedFile("uplink.tls.cert", uplink.tls.cert, remedy),
            _NamedFile("uplink.tls.key", uplink.tls.key, remedy, check_secret),
        ]
    remedy = "write the secret into it, mode 0600"
    files += [
        _NamedFile(f"uplink {exporter.label}", file, remedy, check_secret)
        for exporter in config.exporters
        for file in exporter.secret_files
    ]
    remedy = "copy the public half of the operator's key there"
    keys = () if config.orders is None else config.orders.keys
    files += [_NamedFile("orders.keys", file, remedy, load_public) for file in keys]
    if config.web is not None:
        files += _web_files(config.web)
    for file in files:
        problem = _file_problem(file, path)
        if problem is not None:
            problems.append(problem)
    if not problems and uplink.receipt_key is not None:
        own = load_private(config.gateway.key).public_key()
        if key_id(load_public(uplink.receipt_key)) == key_id(own):
            name = f'"{uplink.collector_key}"'
            wanted, remedy = "the collector's key, not this gateway's", "copy it from the collector"
            problems.append(Problem(str(path), "uplink.collector_key", name, wanted, remedy))


def _web_files(web: WebConfig) -> list[_NamedFile]:
    from gateway_agent.web.certificate import tls_context
    from gateway_agent.web.users import need_users

    def pair(_: Path) -> object:
        assert web.certificate is not None
        assert web.key is not None
        return tls_context(web.certificate, web.key)

    made = "make it with `tianfu-gateway web user add`"
    return [
        _NamedFile("web.certificate", web.certificate, "copy the file there", pair),
        _NamedFile("web.key", web.key, "copy the file there", check_secret),
        _NamedFile("web.users", web.users, made, need_users),
    ]


def _file_problem(file: _NamedFile, config: Path) -> Problem | None:
    if file.path is None:
        return None
    wanted, remedy = "an existing file", file.remedy
    if file.path.is_file():
        if file.load is None:
            return None
        try:
            file.load(file.path)
        except KeyFileError as error:
            wanted, remedy = "a key file that can be used", str(error)
        else:
            return None
    return Problem(str(config), file.key, f'"{file.path}"', wanted, remedy)


def _can_be_written(directory: Path) -> bool:
    """Return whether we may write to the directory, or make it where it does not exist."""
    while not os.path.lexists(directory) and directory != directory.parent:
        directory = directory.parent
    return directory.is_dir() and os.access(directory, os.W_OK | os.X_OK)


def _plan_dict(plan: BusPlan) -> dict[str, object]:
    return {
        "bus": plan.bus.name,
        "type": plan.bus.type,
        "port": plan.bus.where,
        "cycle_ms": round(plan.cycle_ms, 2),
        "share": round(plan.share, 4),
        "warnings": list(plan.warnings),
        "proposals": list(proposals(plan)),
        "devices": [
            {
                "name": item.device.name,
                "unit": item.device.unit,
                "kind": item.device.kind,
                "period_ms": item.device.period_ms,
                "poll_ms": round(item.poll_ms, 2),
                "share": round(item.share, 4),
                "reads": [read._asdict() for read in item.reads],
            }
            for item in plan.devices
        ],
    }


def _link_dict(link: LinkBus) -> dict[str, object]:
    return {
        "bus": link.name,
        "type": link.type,
        "port": link.where,
        "auth": link.auth,
        "warnings": link.warnings,
        "devices": [
            {"name": node.name, "kind": node.kind, "role": node.role, "uid": node.uid}
            for node in link.device
        ],
    }


def _link_table(link: LinkBus) -> Table:
    way = "nodes call in on" if link.way is None else "on"
    line = f", {link.way.line}" if isinstance(link.way, SerialBus) else ""
    table = Table(
        title=f"bus {link.name}: {link.type}, {way} {link.where}{line}", title_justify="left",
        caption="nodes push what they measure, with the period of their own setting",
        caption_justify="left",
    )  # fmt: skip
    for name in ("device", "kind", "unique id", "proved by"):
        table.add_column(name)
    for node in link.device:
        proof = "nothing" if node.key is None else node.key.name
        table.add_row(node.name, f"{node.kind} {node.role}", node.uid, proof)
    return table


def _table(plan: BusPlan) -> Table:
    bus = plan.bus
    line = f", {bus.line}" if bus.line else ""
    table = Table(
        title=f"bus {bus.name}: {bus.type} on {bus.where}{line}", title_justify="left",
        caption=f"one round {plan.cycle_ms:.1f} ms, {plan.share:.1%} of the bus's time",
        caption_justify="left",
    )  # fmt: skip
    for name in ("device", "unit", "kind", "reads (function: first + registers)"):
        table.add_column(name)
    for name in ("period", "one poll", "share"):
        table.add_column(name, justify="right")
    for item in plan.devices:
        device = item.device
        reads = ", ".join(f"{r.function}: {r.address} + {r.words}" for r in item.reads)
        table.add_row(
            device.name,
            str(device.unit),
            f"{device.kind} {device.role}",
            reads,
            f"{device.period_ms} ms",
            f"{item.poll_ms:.1f} ms",
            f"{item.share:.1%}",
        )
    return table


def check(
    config: Annotated[Path, typer.Option("--config", "-c", help="The configuration file.")],
    json_output: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
    diff: Annotated[
        bool, typer.Option("--diff", help="Show what differs from the running agent's.")
    ] = False,
) -> None:
    """Check a configuration and show the planned bus schedule. Opens no port.

    Example: tianfu-gateway check --config gateway.toml

    Exit status 0: usable (warnings may be shown), 2: it is not, as `run` would end.
    """
    checked = check_config(config)
    if json_output:
        result = {
            "ok": not checked.problems,
            "problems": [
                {
                    "file": item.file,
                    "key": item.key,
                    "value": item.value,
                    "expected": item.expected,
                    "remedy": item.remedy,
                }
                for item in checked.problems
            ],
            "buses": [_plan_dict(plan) for plan in checked.plans],
            "links": [_link_dict(link) for link in checked.links],
            "uplinks": [
                {"name": name, "left_out": lines} for name, lines in checked.left_out.items()
            ],
        }
        typer.echo(json.dumps(result))
    else:
        console = table_console()
        for plan in checked.plans:
            console.print(_table(plan))
            for warning in plan.warnings:
                console.print(f"warning: {warning}", style="yellow", markup=False)
            for proposal in proposals(plan):
                console.print(f"it would fit with {proposal}", style="yellow", markup=False)
        for link in checked.links:
            console.print(_link_table(link))
            for warning in link.warnings:
                console.print(f"warning: {warning}", style="yellow", markup=False)
        show_left_out(console, checked.left_out)
        if checked.problems:
            typer.echo(str(ConfigError(checked.problems)), err=True)
        else:
            typer.echo(f"{config}: good")
    if diff and not checked.problems:
        from .reload import show_difference

        show_difference(config, json_output)
    raise typer.Exit(UNUSABLE if checked.problems else GOOD)
