"""CelebA: 202 599 photographs of faces, aligned; here 32 x 32 pixels in colour.

Liu, Luo, Wang and Tang 2015, arXiv 1411.7766; https://mmlab.ie.cuhk.edu.hk/projects/CelebA.
For research that is not commercial; the photographs may not be passed on.
"""

import hashlib
import pathlib
import struct
import warnings
from typing import Any

import numpy as np
from jaxtyping import UInt8

from .images import Images, Pictures
from .made import cached


ADDRESS = "https://mmlab.ie.cuhk.edu.hk/projects/CelebA.html"
PHOTOS = "celeba/img_align_celeba", "img_align_celeba", "celeba", "."
LIST = "list_eval_partition.txt"
# The centre that is kept of 178 x 218 pixels, as is usual: a face and little else.
CROP, SIDE = 148, 32
PARTS = "train", "validation", "test"
BROKEN = (
    OSError,
    ValueError,
    SyntaxError,
    EOFError,
    TypeError,
    KeyError,
    IndexError,
    OverflowError,
    MemoryError,
    struct.error,
    Warning,
)


def load_celeba(
    folder: pathlib.Path,
    limit: int | None = None,
    *,
    cache: pathlib.Path | None = None,
) -> Images:
    """Returns faces: of each picture the 148 pixels at the centre both ways, made
    smaller to 32 x 32 by averaging.

    Parts are those of `list_eval_partition.txt`, 162 770, 19 867 and 19 962 pictures. Where
    that is not, they are 80:10:10 in the order of the names, rounded down.

    **Arguments:**

    - `folder`: holds `img_align_celeba` with the `.jpg` files, itself or in its folder
        `celeba`, or holds the files; and `list_eval_partition.txt` in it, or beside them.
    - `limit`: at most so many pictures of each part, the first ones; by default all, which
        take minutes to read and 620 MB to hold.
    - `cache`: keeps the small pictures, so that they are read once; by default a folder in
        the user's cache.

    **Raises:** `ValueError` for pictures that are not there, cannot be read or are too
    small, and for a list that is malformed or not of these pictures.
    """
    if limit is not None and limit < 1:
        raise ValueError(f"`load_celeba(limit={limit})` needs at least 1.")
    place, paths = _find(folder)
    parts = [part[:limit] for part in _parts(place, paths)]
    if empty := [name for name, part in zip(PARTS, parts) if not part]:
        raise ValueError(
            f"`{place}` needs pictures for {' and '.join(empty)}; got none of "
            f"{len(paths)}. Get all from {ADDRESS}."
        )
    chosen = [path for part in parts for path in part]
    about = [(path.name, path.stat().st_size) for path in chosen]
    arrays = cached(
        "celeba",
        lambda: {"pixels": np.stack([_read(path) for path in chosen])},
        cache,
        files=hashlib.sha256(repr(about).encode()).hexdigest(),
        place=str(place.resolve()),
        crop=CROP,
        side=SIDE,
    )
    stops = np.cumsum([len(part) for part in parts])[:-1]
    split = np.split(arrays["pixels"], stops)
    return Images("celeba", *(Pictures(p, np.zeros(len(p), np.int32)) for p in split))


def _find(folder: pathlib.Path) -> tuple[pathlib.Path, list[pathlib.Path]]:
    for name in PHOTOS:
        if paths := sorted((folder / name).glob("*.jpg")):
            return folder / name, paths
    raise ValueError(
        f"`{folder / PHOTOS[0]}` needs .jpg files. Get img_align_celeba.zip and {LIST} "
        f"from {ADDRESS}, unpack them there, or give the folder that has them as "
        "`--data DIR`."
    )


def _parts(place: pathlib.Path, paths: list[pathlib.Path]) -> list[list[pathlib.Path]]:
    """Returns the pictures of each part."""
    for path in (place / LIST, place.parent / LIST):
        if path.is_file():
            part_of = _read_list(path)
            break
    else:
        train, validation = len(paths) * 8 // 10, len(paths) // 10
        stop = train + validation
        return [paths[:train], paths[train:stop], paths[stop:]]
    names = {photo.name for photo in paths}
    for missing, wanted in (
        (set(part_of) - names, path),
        (names - set(part_of), place),
    ):
        if missing:
            raise ValueError(
                f"`{wanted}` has {len(missing)} pictures, as {min(missing)}, that "
                f"{place if wanted is path else path} has not. Get both from {ADDRESS}."
            )
    found: list[list[pathlib.Path]] = [[] for _ in PARTS]
    for photo in paths:
        found[part_of[photo.name]].append(photo)
    return found


def _read_list(path: pathlib.Path) -> dict[str, int]:
    """Returns the number of its part for each name."""
    part_of: dict[str, int] = {}
    text = path.read_text(encoding="utf-8-sig", errors="backslashreplace")
    for number, line in enumerate(text.rstrip().split("\n"), 1):
        name, *rest = line.split() or [""]
        if rest not in (["0"], ["1"], ["2"]) or name in part_of:
            again = " once" if name in part_of else ""
            raise ValueError(
                f"`{path}:{number}` needs a name{again} and 0, 1 or 2, for training, "
                f"validation and test; got {line.strip()[:40]!r}. Get it from {ADDRESS}."
            )
        part_of[name] = int(rest[0])
    return part_of


def _read(path: pathlib.Path) -> UInt8[np.ndarray, "h w 3"]:
    image_module = _pillow()
    try:
        with warnings.catch_warnings(), image_module.open(path) as opened:
            # Of sizes that no photograph of a face has.
            warnings.simplefilter("error")
            if min(opened.size) >= CROP:
                left, top = ((side - CROP) // 2 for side in opened.size)
                face = opened.convert("RGB").crop((left, top, left + CROP, top + CROP))
                small = face.resize((SIDE, SIDE), image_module.Resampling.BOX)
                return np.asarray(small, np.uint8)
            reason = f"has {opened.size[0]} x {opened.size[1]} pixels"
    except (*BROKEN, image_module.DecompressionBombError) as error:
        reason = f"cannot be read: {str(error) or type(error).__name__}"
    raise ValueError(
        f"`{path}` {reason}; needs a picture of at least {CROP} x {CROP} pixels. Get it "
        f"again from {ADDRESS}."
    )


def _pillow() -> Any:
    try:
        from PIL import Image
    except ImportError as error:
        raise ValueError("`load_celeba` needs Pillow: `pip install pillow`.") from error
    return Image
