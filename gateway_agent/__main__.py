"""The program ``tianfu-gateway``: starts agent and collector at once, all else by the command line.

A supervisor always starts them in the same way, and they run for months: what reads options and
paints help texts would take a sixth of their memory all that time, and a third of their start.
"""

import sys
from pathlib import Path


def main() -> None:
    """Do what the command line says."""
    match sys.argv[1:]:
        case ["run" | "collect" as command, "--config" | "-c", path]:
            _run(command, Path(path))
        case _:
            from gateway_agent.cli import app

            app()


def _run(command: str, config: Path) -> None:
    import faulthandler
    import logging

    from gateway_agent.journal import for_stderr
    from gateway_agent.process import end_of, set_up

    # The watchdog of a service manager ends a process that hangs with SIGABRT: this shows where.
    faulthandler.enable()

    try:
        set_up()
        if command == "run":
            from gateway_agent.service import run
        else:
            from gateway_agent.collector.process import run

        run(config)
    except Exception as error:
        end = end_of(error)
        if end is None:
            raise
        text, status = end
        sys.stderr.write(f"{for_stderr(text, logging.CRITICAL)}\n")
        sys.exit(status)


if __name__ == "__main__":
    main()
