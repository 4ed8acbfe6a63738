"""python -m experiments NAME: the command line."""

import inspect
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
    polynomials,
    report,
    silverbox,
    sine,
    speed,
    spirals,
)
from ._signals import SIGNALS


PROGRAM = "python -m experiments"
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
    "polynomials": polynomials.run,
    "report": report.run,
    "silverbox": silverbox.run,
    "sine": sine.run,
    "speed": speed.run,
    "spirals": spirals.run,
}


def main(arguments: list[str] | None = None) -> None:
    """Runs what the command line asks for; errors of the user's print as one line."""
    given = sys.argv[1:] if arguments is None else arguments
    name, *options = given or ["--help"]
    if name not in EXPERIMENTS:
        # Lists them all, or refuses the name: nothing comes back.
        tyro.extras.subcommand_cli_from_dict(
            EXPERIMENTS, prog=PROGRAM, description=__doc__, args=[name, *options]
        )
    run = EXPERIMENTS[name]
    config = tyro.cli(
        run.__annotations__["config"],
        prog=f"{PROGRAM} {name}",
        description=inspect.cleandoc(run.__doc__ or ""),
        args=options,
    )
    try:
        with SIGNALS.heeded():
            run(config)
    except (ValueError, FloatingPointError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        if isinstance(error, OSError) and SIGNALS.command:
            print(f"Once that is mended, `{SIGNALS.command}`.", file=sys.stderr)
        raise SystemExit(2) from error


if __name__ == "__main__":
    main()
