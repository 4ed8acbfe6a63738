"""python -m experiments NAME: the command line."""

import sys

import tyro

from . import (
    ablations,
    adaptation,
    cheetah,
    classification,
    completion,
    digits,
    forecasting,
    gradients,
    in_context,
    lorenz,
    lotka_volterra,
    msd,
    msd_zero,
    report,
    silverbox,
    sine,
    speed,
    spirals,
)
from ._signals import SIGNALS


EXPERIMENTS = {
    "ablations": ablations.run,
    "adaptation": adaptation.run,
    "cheetah": cheetah.run,
    "classification": classification.run,
    "completion": completion.run,
    "digits": digits.run,
    "forecasting": forecasting.run,
    "gradients": gradients.run,
    "in_context": in_context.run,
    "lorenz": lorenz.run,
    "lotka_volterra": lotka_volterra.run,
    "msd": msd.run,
    "msd_zero": msd_zero.run,
    "report": report.run,
    "silverbox": silverbox.run,
    "sine": sine.run,
    "speed": speed.run,
    "spirals": spirals.run,
}


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
        with SIGNALS.heeded():
            command()
    except (ValueError, FloatingPointError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        if isinstance(error, OSError) and SIGNALS.command:
            print(f"Once that is mended, `{SIGNALS.command}`.", file=sys.stderr)
        raise SystemExit(2) from error


def _command(run):
    """Returns the subcommand of an experiment: its options are those that `run` takes."""

    def command(config):
        return lambda: run(config)

    options = run.__annotations__["config"]
    command.__annotations__ = {"config": tyro.conf.OmitArgPrefixes[options]}
    command.__doc__ = run.__doc__
    return command


if __name__ == "__main__":
    main()
