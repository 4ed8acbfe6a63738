"""Markdown, entries -> Markdown whose tables and figures between markers are theirs.

A table stands below a comment that says in TOML what is in it; all below is generated:

    <!-- table
    experiment = "msd"
    columns = [
      {title = "mean", metric = "forecast_mse"},
      {title = "median", metric = "forecast_mse_median"},
    ]
    rows = ["Transformer", {label = "WARP-Phys", model = "WARP-Phys, learnt"}]
    -->
    <!-- end of table -->

A cell is described by the table's keys, the column's, the row's, and those that the row has
for it under `cells`, the later ones first. There are

- `experiment`, `dataset`, `preset`, `task`, `model`: which entry. What is left out must not
  be needed to tell entries apart. `datasets` in place of `dataset`: the mean over several.
  `models` in place of `model`: of each seed the one with the least `validation`.
- `metric`: of the entry; also `parameters`, `state_size`, `steps`, `validation`,
  `learning_rate`, `seconds`. `aside`: another one, in brackets.
- `over`: keys of another cell, by whose mean this one's is divided.
- `show`: "deviation" (by default), "spread" (median; least–most) or "mean".
- `digits`: significant ones, by default 3. `root = true`: of the square root. `scale`: a
  factor.

A table also has `labels`, the titles of the columns of labels, and `best`: "column" (by
default: the best of a task is bold), "row" or "none". A row has a `label`, or several in a
list. Under `cells`, by the title of a column, it has keys, or text that stands as it is.

A figure in a sentence is a cell in the same keys, separated by commas:

    <!-- figure experiment = "msd", model = "GRU", metric = "paper_mse" -->3.3<!-- end of figure -->
"""  # noqa: E501

import re
import tomllib
from collections.abc import Sequence

from .cells import Cell, Table
from .entries import Entry


TABLE = re.compile(r"<!-- table\n(.*?)-->\n(.*?)<!-- end of table -->", re.DOTALL)
FIGURE = re.compile(r"<!-- figure\s(.*?)\s-->(.*?)<!-- end of figure -->", re.DOTALL)
BY_HAND = re.compile(r"<!-- by hand: (.*?) -->", re.DOTALL)
# What is shown as code is no marker.
FENCED = re.compile(r"(^```.*?^```$)", re.DOTALL | re.MULTILINE)
INLINE = re.compile(r"`[^`]*`")
# Comments, the targets of links and addresses claim nothing.
APART = re.compile(r"<!--.*?-->|\]\([^)]*\)|https?://\S+|arXiv \S+", re.DOTALL)
DECIMAL = re.compile(r"(?<![\w.])[-−]?(?:\d+(?: \d{3})*)?(?:\.\d+(?:e-?\d+)?|\de-?\d+)")


def fill(text: str, entries: Sequence[Entry], where: str = "the text") -> str:
    """Returns a Markdown text with what is between its markers made anew.

    - `where`: the text's name, for errors.

    **Raises:** `ValueError` that quotes the marker, where one is malformed or not closed,
    or does not choose one entry.
    """
    pieces, line = FENCED.split(text), 1
    for i, piece in enumerate(pieces):
        # Every other piece is code.
        if not i % 2:
            pieces[i] = _filled(piece, entries, where, line)
        line += piece.count("\n")
    return "".join(pieces)


def _filled(text: str, entries: Sequence[Entry], where: str, first: int) -> str:
    """Returns a piece of the text, which begins in the line `first`, filled."""
    for kind, marker in (("table", TABLE), ("figure", FIGURE)):
        begun = len(re.findall(rf"<!-- {kind}\s", text))
        if begun != len(marker.findall(text)):
            raise ValueError(
                f"{where} has {begun} markers `<!-- {kind}` from line {first} on, and not "
                f"as many closed ones; each needs an `<!-- end of {kind} -->`."
            )

    def made(match: re.Match) -> str:
        begin, inline = match.start(), match.re is FIGURE
        head = match.string[begin : match.start(2)]
        try:
            keys = match.group(1)
            if "<!--" in keys + match.group(2):
                raise ValueError("another marker begins before it ends")
            if inline:
                keys = tomllib.loads(f"it = {{{' '.join(keys.split())}}}")["it"]
                return f"{head}{Cell.of(keys).text(entries)}<!-- end of figure -->"
            lines = Table.of(tomllib.loads(keys)).lines(entries)
            return f"{head}\n{lines}\n\n<!-- end of table -->"
        except (ValueError, KeyError, TypeError) as error:
            line = first + match.string[:begin].count("\n")
            start = head.split("\n")[0]
            raise ValueError(f"{where}, line {line}: {start!r}: {error}.") from error

    # Figures first: they stay in their lines, so that errors of tables name the right one.
    return TABLE.sub(made, FIGURE.sub(made, text))


def bare(text: str) -> list[str]:
    """Returns what is wrong with the decimal figures of a Markdown text: each has to be
    between markers, in code, or listed in a comment `<!-- by hand: .5 2.1e-3 -->`, which
    says that no file of results has it; and what is listed has to be there.
    """
    prose = "".join(FENCED.split(text)[::2])
    prose = INLINE.sub(" ", FIGURE.sub(" ", TABLE.sub(" ", prose)))
    listed = {figure for found in BY_HAND.findall(prose) for figure in found.split()}
    figures = set(DECIMAL.findall(APART.sub(" ", prose)))
    return [
        *(f"{figure} is between no markers" for figure in sorted(figures - listed)),
        *(f"{figure} is listed by hand and not there" for figure in listed - figures),
    ]
