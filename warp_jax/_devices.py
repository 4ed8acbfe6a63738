"""Whether what is traced now runs on several devices."""

import contextlib
import contextvars
from collections.abc import Iterator


_several = contextvars.ContextVar("_several", default=False)


@contextlib.contextmanager
def on_several_devices() -> Iterator[None]:
    """Says so of what is traced meanwhile."""
    token = _several.set(True)
    try:
        yield
    finally:
        _several.reset(token)


def several_devices() -> bool:
    """Whether it was said."""
    return _several.get()
