"""report: run folders -> one page to look at, Markdown, the tables of the documentation."""

import dataclasses
import pathlib
import sys
import tomllib
from typing import Annotated

import tyro

from ._config import Flag
from ._folder import write_text
from ._report import bare, fill, joined, markdown, page, picture, read


@dataclasses.dataclass(frozen=True)
class Options:
    """What `report` can be asked for."""

    runs: Annotated[
        tuple[pathlib.Path, ...], tyro.conf.Positional, Flag(metavar="RUN ...")
    ]
    """Run folders, copies of their summary.json, or folders with such in them. Runs that
    differ by seed alone are joined."""
    out: pathlib.Path = pathlib.Path("runs/report")
    """Folder for index.html, which needs no other file, and report.md."""
    markdown: Annotated[tuple[pathlib.Path, ...], Flag(metavar="[FILE ...]")] = ()
    """Instead, make the tables and figures between the markers of these files anew."""
    pictures: Annotated[tuple[pathlib.Path, ...], Flag(metavar="[FILE ...]")] = ()
    """Instead, draw the bars or lines of these .toml files, as .svg beside them."""


def run(config: Options) -> None:
    """Turn runs into a page of tables, curves and figures, or into documentation."""
    records = read(config.runs)
    entries = joined(records)
    for path in config.markdown:
        try:
            text = path.read_text(encoding="utf-8")
        except (OSError, ValueError) as error:
            raise ValueError(
                f"`--markdown {path}` needs a file of text: {error}."
            ) from error
        made = fill(text, entries, str(path))
        if made != text:
            write_text(path, made)
        for complaint in bare(made):
            print(f"{path}: {complaint}", file=sys.stderr)
    for path in config.pictures:
        try:
            keys = tomllib.loads(path.read_text(encoding="utf-8"))
            drawn = picture(keys, entries)
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise ValueError(
                f"`--pictures {path}` needs a file of keys in TOML: {error}."
            ) from error
        write_text(path.with_suffix(".svg"), drawn)
    if not config.markdown and not config.pictures:
        try:
            config.out.mkdir(parents=True, exist_ok=True)
            write_text(config.out / "index.html", page(records, entries))
            write_text(config.out / "report.md", markdown(records, entries))
        except OSError as error:
            raise ValueError(
                f"`--out {config.out}` cannot be written: {error.strerror}. Choose "
                "another folder."
            ) from error
        print(f"Written to {config.out / 'index.html'}", file=sys.stderr)
