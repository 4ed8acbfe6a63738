"""xs -> y, by whatever looks at a sequence whole: the interface."""

import abc

import equinox as eqx
import jax.numpy as jnp

from .._begin import default_times
from .._check import check_array, check_length, check_mask, check_some_valid
from .._types import Gaussian, Key, Mask, Observations, Output, ScalarLike, Times


class AbstractReadout(eqx.Module):
    """One output for a whole sequence, in place of a model's `last`.

    It has no state to go on from, so it cannot be stepped, and `forecast` and `unroll`
    refuse it.
    """

    @abc.abstractmethod
    def last(
        self,
        xs: Observations,
        ts: Times | None = None,
        query: ScalarLike | None = None,
        mask: Mask | None = None,
        *,
        key: Key | None = None,
    ) -> Output:
        """Returns the output of a sequence; arguments as a model's `last` takes them."""

    def __call__(
        self,
        xs: Observations,
        ts: Times | None = None,
        query: ScalarLike | None = None,
        mask: Mask | None = None,
        *,
        key: Key | None = None,
    ) -> Output:
        """Returns the output of a sequence. The same as `last`."""
        return self.last(xs, ts, query, mask, key=key)


def check_sequence(call: str, xs, ts, mask) -> tuple[Observations, Times, Mask | None]:
    """Returns a sequence with its times, and its mask if there is one, checked."""
    xs = check_array(call, "xs", xs, 2, "Use `jax.vmap` for a batch.")
    length = len(xs)
    if length == 0:
        raise ValueError(f"`{call}` needs at least one step; got shape {xs.shape}.")
    if ts is None:
        ts = default_times(length, xs.dtype)
    ts = check_array(call, "ts", ts, 1)
    check_length(call, "ts", ts, length, "the steps of `xs`")
    if mask is not None:
        mask = check_some_valid(call, check_mask(call, mask, length))
    return xs, ts, mask


def mean(outputs: Output) -> Output:
    """Averages over the leading axis; of Gaussians, mean and variance of their mixture."""
    if isinstance(outputs, Gaussian):
        average = jnp.mean(outputs.mean, axis=0)
        spread = outputs.std**2 + (outputs.mean - average[None]) ** 2
        return Gaussian(average, jnp.sqrt(jnp.mean(spread, axis=0)))
    return jnp.mean(outputs, axis=0)
