"""An address and checksums -> files, by https alone."""

import pathlib
import urllib.parse
from collections.abc import Mapping
from typing import Any

import pooch


SAFE = "https://"


class Fetcher:
    """Downloads files into a folder, each whole or not at all.

    - `url`: what stands before the names of the files.
    - `registry`: the checksum of each file, as `pooch` writes it; `None` where what is in
        the file is checked later.

    **Raises:** `ValueError` for an address that is not https, be it the first one or one
    that its server sends on to, and for another checksum; `OSError` for what cannot be had.
    """

    def __init__(
        self, folder: pathlib.Path, url: str, registry: Mapping[str, str | None]
    ):
        _check(url)
        self._pooch = pooch.create(
            folder, url, registry=dict(registry), retry_if_failed=1
        )
        self._download = pooch.HTTPDownloader(hooks={"response": _follow})

    def fetch(self, name: str) -> pathlib.Path:
        """Returns the path of the file, downloaded where it is not there yet."""
        # The names of its arguments are others than those of the protocol.
        download: Any = self._download
        return pathlib.Path(self._pooch.fetch(name, downloader=download))


def _check(url: str) -> None:
    if not url.lower().startswith(SAFE):
        raise ValueError(f"downloads need an address of {SAFE}; got {url}")


def _follow(response, *_, **__) -> None:
    if response.is_redirect:
        # Before anything is asked of that address.
        target = urllib.parse.urljoin(response.url, response.headers["location"])
        _check(target)
