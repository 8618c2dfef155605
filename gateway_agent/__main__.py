"""The program ``tianfu-gateway``: starts the agent at once, all else through the command line.

A supervisor always starts a gateway in the same way, and it runs for months: what reads options and
paints help texts would take a sixth of its memory all that time, and a third of its start.
"""

import sys
from pathlib import Path


def main() -> None:
    """Do what the command line says."""
    match sys.argv[1:]:
        case ["run", "--config" | "-c", path]:
            _run(Path(path))
        case _:
            from gateway_agent.cli import app

            app()


def _run(config: Path) -> None:
    from gateway_agent.process import end_of, set_up

    try:
        set_up()
        from gateway_agent.service import run

        run(config)
    except Exception as error:
        end = end_of(error)
        if end is None:
            raise
        text, status = end
        sys.stderr.write(f"{text}\n")
        sys.exit(status)


if __name__ == "__main__":
    main()
