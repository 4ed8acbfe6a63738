"""numbers -> text: significant digits, and a mean with its spread."""

import math

from .entries import Sample


def number(value: float, digits: int) -> str:
    """Returns a number with so many significant digits, without a leading zero, and with an
    exponent below 1e-3: `.964`, `-.56`, `12.3`, `55 400`, `2.1e-14`.
    """
    if not math.isfinite(value):
        return str(float(value))
    return _placed(value, *_place(value, digits))


def integer(value: float) -> str:
    """Returns a whole number, its thousands apart."""
    return f"{round(value):,}".replace(",", " ")


def mean(sample: Sample, digits: int) -> str:
    """Returns `mean ± standard deviation`, or the mean alone where nothing varies."""
    said = number(sample.mean, digits)
    if sample.deviation is None or not sample.varies or not math.isfinite(sample.mean):
        return said
    decimals, exponent = _place(sample.mean, digits)
    if round(sample.deviation / 10.0**exponent, decimals) == 0:
        decimals, exponent = _place(sample.deviation, 1)
    return f"{said} ± {_placed(sample.deviation, decimals, exponent)}"


def spread(sample: Sample, digits: int) -> str:
    """Returns `mean (median; least–most)`, or the mean alone where nothing varies."""
    said = number(sample.mean, digits)
    if not sample.varies:
        return said
    low, high = number(sample.least, digits), number(sample.most, digits)
    return f"{said} ({number(sample.median, digits)}; {low}–{high})"


def _place(value: float, digits: int) -> tuple[int, int]:
    """Returns how many decimals show the digits of a value, and the exponent of ten that is
    written, zero for none.
    """
    if value == 0:
        return 0, 0
    # Rounding can carry into a further digit, so the exponent is that of what is shown.
    exponent = int(f"{value:.{digits - 1}e}".split("e")[1])
    if exponent < -3:
        return digits - 1, exponent
    return digits - 1 - exponent, 0


def _placed(value: float, decimals: int, exponent: int) -> str:
    scaled = round(value / 10.0**exponent, decimals)
    text = f"{scaled:,.{max(0, decimals)}f}".replace(",", " ")
    text = text.replace("0.", ".", 1) if text.startswith(("0.", "-0.")) else text
    return f"{text}e{exponent}" if exponent else text
