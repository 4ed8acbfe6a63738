"""keys, entries -> an SVG for the documentation, of whichever kind the keys ask for."""

from collections.abc import Sequence
from typing import Any

from .bars import bars
from .entries import Entry
from .lines import lines


KINDS = {"bars": bars, "lines": lines}


def picture(keys: dict[str, Any], entries: Sequence[Entry]) -> str:
    """Returns the SVG that some keys describe: those of its `kind`, by default bars.

    **Raises:** `ValueError` for a kind that there is not, and as the kind does.
    """
    kind, rest = (
        keys.get("kind", "bars"),
        {k: v for k, v in keys.items() if k != "kind"},
    )
    if kind not in KINDS:
        raise ValueError(f"`kind` is one of {', '.join(KINDS)}; got {kind!r}")
    return KINDS[kind](rest, entries)
