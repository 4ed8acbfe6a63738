"""notebooks of docs/gallery -> pages: text, code, what it printed, figures.

`python docs/pages.py [NAME ...]` runs the notebooks, from the root of the repository, and
writes `NAME.md` and `NAME-1.png`, ... beside them, so that the site builds without running
anything. Notebooks are Python files with cells in the percent format of jupytext.
"""

import contextlib
import io
import pathlib
import re
import sys
from collections.abc import Iterator
from typing import NamedTuple


FOLDER = pathlib.Path(__file__).parent / "gallery"
MARKER = re.compile(r"^# %%(.*)\n", re.MULTILINE)
OUTPUT = re.compile(
    r"\n```text\n.*?^```\n|\n!\[[^\]]*\]\(\S*\.png\)\n", re.DOTALL | re.M
)
DPI = 90


class Cell(NamedTuple):
    """- `code`: whether it is code, else Markdown.
    - `text`: without comment signs where it is Markdown.
    """

    code: bool
    text: str


def cells(text: str) -> list[Cell]:
    """Returns the cells of a notebook."""
    _, *parts = MARKER.split(text)
    found = []
    for kind, body in zip(parts[::2], parts[1::2]):
        body = body.strip("\n")
        if kind.strip() == "[markdown]":
            body = re.sub(r"^# ?", "", body, flags=re.MULTILINE)
        found.append(Cell(kind.strip() == "", body))
    return found


def pieces(name: str, notebook: list[Cell]) -> Iterator[str]:
    """Yields the page of a notebook but for what running it adds."""
    yield f"<!-- Made from {name}.py by docs/pages.py -->\n"
    for cell in notebook:
        yield f"\n```python\n{cell.text}\n```\n" if cell.code else f"\n{cell.text}\n"
    yield f"\nThe notebook: [{name}.py]({name}.py).\n"


def bare(page: str) -> str:
    """Returns a page without what running its notebook has added."""
    return OUTPUT.sub("", page)


def make(name: str, folder: pathlib.Path = FOLDER) -> None:
    """Runs a notebook and writes its page and figures."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    notebook = cells((folder / f"{name}.py").read_text(encoding="utf-8"))
    names: dict = {}
    page, figures = [], []
    first, *rest = pieces(name, notebook)
    for cell, piece in zip(notebook, rest):
        page.append(piece)
        if not cell.code:
            continue
        said = io.StringIO()
        with contextlib.redirect_stdout(said):
            exec(compile(cell.text, f"{name}.py", "exec"), names)
        if said.getvalue():
            page.append(f"\n```text\n{said.getvalue().rstrip()}\n```\n")
        for number in plt.get_fignums():
            figure, drawn = plt.figure(number), io.BytesIO()
            figure.savefig(drawn, format="png", dpi=DPI)
            figures.append(drawn.getvalue())
            alt = "; ".join(filter(None, (axes.get_title() for axes in figure.axes)))
            page.append(f"\n![{alt}]({name}-{len(figures)}.png)\n")
        plt.close("all")
    # Only now, so that a notebook that fails leaves its page as it was.
    for old in folder.glob(f"{name}-*.png"):
        old.unlink()
    for i, drawn in enumerate(figures, 1):
        (folder / f"{name}-{i}.png").write_bytes(drawn)
    text = "".join([first, *page, rest[-1]])
    (folder / f"{name}.md").write_text(text, encoding="utf-8")


if __name__ == "__main__":
    every = sorted(path.stem for path in FOLDER.glob("*.py"))
    for chosen in sys.argv[1:] or every:
        make(chosen)
