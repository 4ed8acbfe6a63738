"""python -m experiments NAME: the command line."""

import sys

import tyro

from . import digits, sine, spirals
from ._config import Config


EXPERIMENTS = {"digits": digits.run, "sine": sine.run, "spirals": spirals.run}


def main(arguments: list[str] | None = None) -> None:
    """Runs what the command line asks for; errors of the user's print as one line."""
    commands = {name: _command(run) for name, run in EXPERIMENTS.items()}
    command = tyro.extras.subcommand_cli_from_dict(
        commands,
        prog="python -m experiments",
        description=__doc__,
        args=arguments,
    )
    try:
        command()
    except (ValueError, FloatingPointError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        raise SystemExit(2) from error


def _command(run):
    def command(config: tyro.conf.OmitArgPrefixes[Config]):
        return lambda: run(config)

    command.__doc__ = run.__doc__
    return command


if __name__ == "__main__":
    main()
