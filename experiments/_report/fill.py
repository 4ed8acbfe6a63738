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
# Code, comments, the targets of links and addresses claim nothing.
APART = re.compile(
    r"```.*?```|`[^`]*`|<!--.*?-->|\]\([^)]*\)|https?://\S+|arXiv \S+", re.DOTALL
)
DECIMAL = re.compile(r"(?<![\w.])[-−]?(?:\d+(?: \d{3})*)?(?:\.\d+(?:e-?\d+)?|\de-?\d+)")


def fill(text: str, entries: Sequence[Entry], where: str = "the text") -> str:
    """Returns a Markdown text with what is between its markers made anew.

    - `where`: the text's name, for errors.

    **Raises:** `ValueError` that quotes the marker, where one is malformed or not closed,
    or does not choose one entry.
    """

    def table(match: re.Match) -> str:
        head = match.group(0)[: match.start(2) - match.start()]
        made = _made(match, lambda value: Table.of(value).lines(entries))
        return f"{head}\n{made}\n\n<!-- end of table -->"

    def figure(match: re.Match) -> str:
        head = match.group(0)[: match.start(2) - match.start()]
        made = _made(match, lambda value: Cell.of(value["it"]).text(entries))
        return f"{head}{made}<!-- end of figure -->"

    def _made(match: re.Match, make) -> str:
        start = match.group(0).split("\n")[0]
        line = text[: match.start()].count("\n") + 1
        try:
            if "<!--" in match.group(0)[4 : -len("<!-- end of figure -->")]:
                raise ValueError("another marker begins before it ends")
            inline = match.re is FIGURE
            source = " ".join(match.group(1).split()) if inline else match.group(1)
            return make(tomllib.loads(f"it = {{{source}}}" if inline else source))
        except (ValueError, KeyError, TypeError) as error:
            raise ValueError(f"{where}, line {line}: {start!r}: {error}.") from error

    for kind, marker in (("table", TABLE), ("figure", FIGURE)):
        begun = len(re.findall(rf"<!-- {kind}\s", text))
        if begun != len(marker.findall(text)):
            raise ValueError(
                f"{where} has {begun} markers `<!-- {kind}`, and not as many closed ones; "
                f"each needs an `<!-- end of {kind} -->`."
            )
    return FIGURE.sub(figure, TABLE.sub(table, text))


def bare(text: str) -> list[str]:
    """Returns what is wrong with the decimal figures of a Markdown text: each has to be
    between markers, in code, or listed in a comment `<!-- by hand: .5 2.1e-3 -->`, which
    says that no file of results has it; and what is listed has to be there.
    """
    listed = {figure for found in BY_HAND.findall(text) for figure in found.split()}
    prose = APART.sub(" ", FIGURE.sub(" ", TABLE.sub(" ", text)))
    figures = set(DECIMAL.findall(prose))
    return [
        *(f"{figure} is between no markers" for figure in sorted(figures - listed)),
        *(f"{figure} is listed by hand and not there" for figure in listed - figures),
    ]
