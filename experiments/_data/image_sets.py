"""What `--dataset` of pictures names -> a data set of them."""

import pathlib
from collections.abc import Callable

from .celeba import load_celeba
from .images import Images
from .mnist import load_fashion_mnist, load_mnist


IMAGES: dict[str, Callable[[pathlib.Path], Images]] = {
    "mnist": load_mnist,
    "fashion-mnist": load_fashion_mnist,
    "celeba": load_celeba,
}


def load_images(name: str, folder: pathlib.Path) -> Images:
    """Returns the data set of this name.

    - `name`: one of `IMAGES`.
    - `folder`: where data sets lie.

    **Raises:** `ValueError` for another name, or files that cannot be had.
    """
    if name not in IMAGES:
        raise ValueError(f"`--dataset {name}` needs one of {', '.join(IMAGES)}.")
    return IMAGES[name](folder)
