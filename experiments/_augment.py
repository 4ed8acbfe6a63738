"""batch, key -> the series as they might have been: what is changed in training alone."""

import abc
from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
from jaxtyping import Array, Bool, Float

import warp_jax as wj

from ._data import Split


class AbstractAugmentation(eqx.Module):
    """A random change of a series that leaves alone what it is a series of.

    It keeps the length, the mask, and whatever lies in padding; of a strength of zero it
    is the identity, to the last bit.
    """

    @abc.abstractmethod
    def change(
        self, xs: Float[Array, "t d"], mask: Bool[Array, " t"], key: Any
    ) -> Float[Array, "t d"]:
        """Returns the series changed, arbitrary where the `mask` is False."""

    def __call__(
        self, xs: Float[Array, "t d"], mask: Bool[Array, " t"] | None, key: Any
    ) -> Float[Array, "t d"]:
        """Returns one series changed.

        - `mask`: `(time,)`, False where it is padded; `None` where it is nowhere.
        """
        if mask is None:
            return self.change(xs, jnp.ones(len(xs), bool), key)
        return jnp.where(mask[:, None], self.change(xs, mask, key), xs)


def _strength(name: str, strength: float) -> float:
    if not 0 <= strength < float("inf"):
        raise ValueError(
            f"`{name}(strength)` needs a finite strength of 0 or more; got {strength!r}."
        )
    return float(strength)


class TimeWarp(AbstractAugmentation):
    """Runs through a series at a speed that changes on the way, from its first valid step
    to its last; between steps it is linear.

    The logarithm of the speed is linear between `knots`, at each of which it is normal
    with deviation `strength`.
    """

    strength: float = eqx.field(static=True)
    knots: int = eqx.field(static=True)

    def __init__(self, strength: float, knots: int = 4):
        """**Arguments:**

        - `strength`: of .2 the speed is within about a fifth of its mean.
        - `knots`: at least 2, evenly over the valid steps, the ends among them.
        """
        self.strength = _strength("TimeWarp", strength)
        if knots < 2:
            raise ValueError(
                f"`TimeWarp(strength, knots)` needs 2 knots; got {knots!r}."
            )
        self.knots = knots

    def change(self, xs, mask, key):
        logarithms = self.strength * jr.normal(key, (self.knots,), xs.dtype)
        rank = jnp.cumsum(mask) - 1
        last = jnp.maximum(rank[-1], 1).astype(xs.dtype)
        # The speed of the way to each of the valid steps but the first.
        steps = jnp.arange(1, len(xs) + 1, dtype=xs.dtype)
        places = (steps - 0.5) / last * (self.knots - 1)
        speeds = jnp.exp(
            jnp.interp(places, jnp.arange(self.knots, dtype=xs.dtype), logarithms)
        )
        way = jnp.concatenate([jnp.zeros(1, xs.dtype), jnp.cumsum(speeds)])
        reached = jnp.clip(last * way[rank] / way[rank[-1].clip(1)], 0, last)
        packed = xs[jnp.argsort(~mask, stable=True)]
        before = jnp.minimum(jnp.floor(reached).astype(int), rank[-1])
        after = jnp.minimum(before + 1, rank[-1])
        share = (reached - before)[:, None]
        return (1 - share) * packed[before] + share * packed[after]


class Scale(AbstractAugmentation):
    """Multiplies each channel of a series, all of it, by a log-normal number.

    **Arguments:**

    - `strength`: the deviation of its logarithm.
    """

    strength: float = eqx.field(static=True)

    def __init__(self, strength: float):
        self.strength = _strength("Scale", strength)

    def change(self, xs, mask, key):
        return (
            xs * jnp.exp(self.strength * jr.normal(key, xs.shape[1:], xs.dtype))[None]
        )


class Jitter(AbstractAugmentation):
    """Adds noise to each number of a series.

    **Arguments:**

    - `strength`: the deviation of the noise, in the units of the series.
    """

    strength: float = eqx.field(static=True)

    def __init__(self, strength: float):
        self.strength = _strength("Jitter", strength)

    def change(self, xs, mask, key):
        return xs + self.strength * jr.normal(key, xs.shape, xs.dtype)


class Shift(AbstractAugmentation):
    """Moves a picture, which is a series of pixels row by row, by whole pixels; the pixels
    of its edge go on where it comes from.

    How far it goes down and how far to the right is uniform over what is allowed.

    **Arguments:**

    - `shape`: rows and columns of the picture.
    - `strength`: pixels that it moves at most, each way.
    """

    shape: tuple[int, int] = eqx.field(static=True)
    strength: int = eqx.field(static=True)

    def __init__(self, shape: tuple[int, int], strength: float):
        if strength < 0 or not float(strength).is_integer():
            raise ValueError(
                f"`Shift(shape, strength)` needs whole pixels, 0 or more; got {strength!r}."
            )
        self.shape = shape
        self.strength = int(strength)

    def change(self, xs, mask, key):
        rows, columns = self.shape
        if len(xs) != rows * columns:
            raise ValueError(
                f"`Shift({self.shape}, ...)` needs series of {rows * columns} pixels; got "
                f"{len(xs)} steps. Is `shape` that of the pictures?"
            )
        down, right = jr.randint(key, (2,), -self.strength, self.strength + 1)
        picture = xs.reshape(rows, columns, -1)
        picture = picture[jnp.clip(jnp.arange(rows) - down, 0, rows - 1)]
        picture = picture[:, jnp.clip(jnp.arange(columns) - right, 0, columns - 1)]
        return picture.reshape(xs.shape)


class Chain(AbstractAugmentation):
    """Several changes, one after another, each with a key of its own.

    **Arguments:** the changes, the first one first; none is the identity.
    """

    changes: tuple[AbstractAugmentation, ...]

    def __init__(self, *changes: AbstractAugmentation):
        self.changes = changes

    def change(self, xs, mask, key):
        for change, own in zip(self.changes, jr.split(key, len(self.changes) + 1)):
            xs = change(xs, mask, own)
        return xs


def augmented(augmentation: AbstractAugmentation, batch: Split, key: Any) -> Split:
    """Returns a batch in which each series is changed by itself; pure, for `jit`."""
    xs, mask = jax.tree.map(jnp.asarray, (batch.xs, batch.mask))
    changed = jax.vmap(augmentation)(xs, mask, jr.split(key, len(xs)))
    return batch._replace(xs=changed)


class Augmented(eqx.Module):
    """A task whose training batches are augmented; what chooses and tests is as it is.

    - `task`: as a `Classification`.
    """

    task: Any
    augmentation: AbstractAugmentation

    def loss(self, model: wj.AbstractModel, batch: Split, key: Any) -> Float[Array, ""]:
        own, key = jr.split(key)
        return self.task.loss(model, augmented(self.augmentation, batch, own), key)

    def validate(self, split: Split) -> Callable[[wj.AbstractModel], float]:
        return self.task.validate(split)

    def test(self, split: Split) -> Callable[[wj.AbstractModel], dict[str, float]]:
        return self.task.test(split)
