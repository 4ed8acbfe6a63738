"""A run folder: whole files or none, one process at a time, nothing left over."""

import os
import pathlib
import socket
import sys
from typing import ClassVar, IO, Self


try:
    import fcntl
except ImportError:
    # Windows has none: there two processes on one folder are not told apart.
    fcntl = None


# What ends the name of a file that is being written.
UNFINISHED = ".new"


def write(path: pathlib.Path, data: bytes) -> None:
    """Replaces a file in one move, so that a kill leaves the old one or the new one.

    **Raises:** `OSError`, naming the file and its size, where it cannot be written; the old
    one is then intact, and nothing is left of the new one.
    """
    temporary = path.with_name(f".{path.name}{UNFINISHED}")
    try:
        with temporary.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException as error:
        try:
            temporary.unlink(missing_ok=True)
        except OSError:
            pass
        if not isinstance(error, OSError):
            raise
        raise OSError(
            error.errno,
            f"could not write {len(data):,} bytes: {error.strerror}",
            str(path),
        ) from error


def write_text(path: pathlib.Path, text: str) -> None:
    """Replaces a file by a text, as `write` does."""
    write(path, text.encode())


def sweep(folder: pathlib.Path) -> None:
    """Removes what a kill left unfinished in a run folder."""
    for pattern in (f".*{UNFINISHED}", f"*/.*{UNFINISHED}"):
        for path in folder.glob(pattern):
            path.unlink(missing_ok=True)


class Lock:
    """A folder for one process alone, until `release` or the end of the process, whatever
    ends it: the system holds the lock, and the file `.lock` only says who has it.

    **Raises:** `ValueError` where another process has the folder.
    """

    # By device and inode, for one process may open a folder again after an error.
    _mine: ClassVar[dict[tuple[int, int], Self]] = {}

    def __init__(self, folder: pathlib.Path):
        self._file: IO[str] | None = None
        if fcntl is None:
            return
        file = (folder / ".lock").open("a+")
        self._place = self._of(file)
        if self._place in Lock._mine:
            file.close()
            return
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            file.seek(0)
            owner = file.read(200).strip() or "unknown"
            file.close()
            raise ValueError(
                f"`{folder}` is in use by another process, {owner}. Wait until it ends, "
                "end it, or choose another folder with `--out`."
            ) from error
        except OSError as error:
            # Some network file systems have no locks; a run is worth more than one.
            print(f"{folder} cannot be locked: {error.strerror}", file=sys.stderr)
        file.truncate(0)
        file.write(f"{os.getpid()} on {socket.gethostname()}\n")
        file.flush()
        self._file = file
        Lock._mine[self._place] = self

    def release(self) -> None:
        """Lets others have the folder."""
        if self._file is not None:
            del Lock._mine[self._place]
            self._file.close()
            self._file = None

    @staticmethod
    def _of(file: IO[str]) -> tuple[int, int]:
        status = os.fstat(file.fileno())
        return status.st_dev, status.st_ino
