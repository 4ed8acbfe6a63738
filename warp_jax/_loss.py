"""prediction, target -> loss."""

import math

import equinox as eqx
import jax
import jax.numpy as jnp
from jax.scipy.special import log_ndtr
from jaxtyping import Array, Bool, Float, Integer

from ._check import (
    check_integer,
    check_mask,
    check_some_valid,
    check_values,
    is_concrete,
)
from ._types import Gaussian, Mask, Scalar


def _check_pair(call: str, prediction, target) -> tuple[Array, Array]:
    if not eqx.is_array_like(prediction) or not eqx.is_array_like(target):
        raise TypeError(
            f"`{call}` needs two arrays; got {type(prediction).__name__} and "
            f"{type(target).__name__}. Of a `Gaussian` take the `mean`, or use "
            "`gaussian_nll`."
        )
    prediction, target = jnp.asarray(prediction), jnp.asarray(target)
    if prediction.shape != target.shape:
        raise ValueError(
            f"`{call}` needs arrays of one shape, for nothing is broadcast; got "
            f"{prediction.shape} and {target.shape}."
        )
    return prediction, target


def _check_gaussian(call: str, gaussian, target) -> Array:
    """Returns `target` as an array; raises unless mean and deviation have its shape."""
    if not isinstance(gaussian, Gaussian):
        raise TypeError(
            f"`{call}` needs a `Gaussian`; got {type(gaussian).__name__}. Wrap the "
            "decoder in a `GaussianDecoder`."
        )
    _, target = _check_pair(call, gaussian.mean, target)
    if jnp.shape(gaussian.std) != target.shape:
        raise ValueError(
            f"`{call}` needs arrays of one shape, for nothing is broadcast; got a std of "
            f"shape {jnp.shape(gaussian.std)} for a mean of {target.shape}."
        )
    return target


def _check_mask(call: str, mask, target: Array) -> Array | None:
    """Returns `mask` with as many axes as `target`, if there is one."""
    if mask is None:
        return None
    if target.ndim > 1 and jnp.shape(mask) == target.shape:
        numbers = check_mask(call, jnp.ravel(mask), target.size, "the target's numbers")
        return check_some_valid(call, numbers).reshape(target.shape)
    mask = check_mask(call, mask, target.shape[0], "the target's steps")
    mask = check_some_valid(call, mask)
    return mask.reshape(mask.shape + (1,) * (target.ndim - 1))


def _hide(target: Array, mask: Array | None, instead: Array) -> Array:
    """Keeps padding, which may be NaN, out of the gradient as well as of the value."""
    return target if mask is None else jnp.where(mask, target, instead)


def _mean(values: Array, mask: Array | None) -> Scalar:
    if mask is None:
        return jnp.mean(values)
    count = jnp.sum(jnp.broadcast_to(mask, values.shape))
    return jnp.sum(jnp.where(mask, values, 0)) / count.astype(values.dtype)


def mse(
    prediction: Float[Array, "t *y"],
    target: Float[Array, "t *y"],
    mask: Mask | Bool[Array, "t *y"] | None = None,
) -> Scalar:
    """The mean squared error over all valid entries.

    **Arguments:**

    - `prediction`, `target`: arrays of one shape, time first.
    - `mask`: boolean, `(time,)`, False = padding; or of the target's shape, False where
        it was not seen and may be NaN. By default every step counts.

    **Raises:** `ValueError` for unequal shapes or a mask without a valid step,
    `TypeError` for what is not an array.
    """
    call = "mse(prediction, target, mask)"
    prediction, target = _check_pair(call, prediction, target)
    mask = _check_mask(call, mask, target)
    error = prediction - _hide(target, mask, jax.lax.stop_gradient(prediction))
    return _mean(error**2, mask)


def gaussian_nll(
    gaussian: Gaussian,
    target: Float[Array, "t *y"],
    mask: Mask | Bool[Array, "t *y"] | None = None,
) -> Scalar:
    r"""The mean negative log-likelihood in nats,
    $\log \sigma + \frac12 ((y - \mu)/\sigma)^2 + \frac12 \log 2\pi$.

    The constant, which the paper's loss (arXiv 2506.01153) leaves out, makes it the
    likelihood of a density; gradients are the same.

    **Arguments:**

    - `gaussian`: `mean` and `std`, each of the target's shape.
    - `target`: of shape `(time, out)`.
    - `mask`: boolean, `(time,)`, False = padding; or of the target's shape, False where
        it was not seen and may be NaN. By default every step counts.

    **Raises:** `ValueError` for unequal shapes or a mask without a valid step,
    `TypeError` for what is no `Gaussian` or no array.
    """
    call = "gaussian_nll(gaussian, target, mask)"
    target = _check_gaussian(call, gaussian, target)
    mask = _check_mask(call, mask, target)
    target = _hide(target, mask, jax.lax.stop_gradient(gaussian.mean))
    error = (target - gaussian.mean) / gaussian.std
    nll = jnp.log(gaussian.std) + error**2 / 2 + math.log(2 * math.pi) / 2
    return _mean(nll, mask)


def bits_per_dim(
    gaussian: Gaussian,
    target: Float[Array, "*y"],
    bins: int = 256,
    low: float = -1.0,
    high: float = 1.0,
) -> Scalar:
    """The mean code length in bits of discrete values under a discretised Gaussian.

    The values are `bins` evenly spaced levels from `low` to `high`. A level's probability
    is the Gaussian's mass nearer to it than to any other level, and the two outer levels
    take the tails: the probabilities sum to one, so the figure is never negative. So do
    Salimans et al. 2017 (arXiv 1701.05517), with logistic distributions.

    **Arguments:**

    - `gaussian`: `mean` and `std`, each of the target's shape.
    - `target`: values between `low` and `high`; each counts as the nearest level.
    - `bins`, `low`, `high`: the levels; by default bytes scaled to [-1, 1].

    **Raises:** `ValueError` for unequal shapes, `bins < 2`, `low >= high`, or a target
    outside the levels; `TypeError` for what is no `Gaussian`, no array, or no whole number.
    """
    call = "bits_per_dim(gaussian, target, bins, low, high)"
    target = _check_gaussian(call, gaussian, target)
    bins = check_integer(call, "bins", bins, 2)
    if not low < high:
        raise ValueError(f"`{call}` needs `low < high`; got low={low}, high={high}.")
    width = (high - low) / (bins - 1)
    level = jnp.round((target - low) / width)
    outside = jnp.any((level < 0) | (level > bins - 1))
    message = f"`{call}` got a target outside [low, high] = [{low}, {high}]."
    level = check_values(level, outside, message)
    centre = low + level * width
    below = (centre - width / 2 - gaussian.mean) / gaussian.std
    above = (centre + width / 2 - gaussian.mean) / gaussian.std
    # The mass is taken on the side of the mean where the tail is not rounded away.
    flip = below + above > 0
    below, above = jnp.where(flip, -above, below), jnp.where(flip, -below, above)
    first, last = level == 0, level == bins - 1
    open_below = jnp.where(flip, last, first)
    open_above = jnp.where(flip, first, last)
    log_above = jnp.where(open_above, 0, log_ndtr(above))
    difference = jnp.where(open_below, -1, log_ndtr(below) - log_above)
    log_mass = log_above + jnp.where(open_below, 0, jnp.log(-jnp.expm1(difference)))
    return -jnp.mean(log_mass) / math.log(2)


def cross_entropy(logits: Float[Array, " y"], label: Integer[Array, ""]) -> Scalar:
    """The negative log-probability in nats of `label` under `softmax(logits)`.

    **Arguments:**

    - `logits`: one for each class, of shape `(classes,)`.
    - `label`: the true class, an integer scalar.

    **Raises:** `TypeError` for a label that is not an integer, `ValueError` for one
    outside the classes or for logits that are not a vector.
    """
    call = "cross_entropy(logits, label)"
    logits, label = jnp.asarray(logits), jnp.asarray(label)
    if not jnp.issubdtype(label.dtype, jnp.integer):
        raise TypeError(f"`{call}` needs an integer label; got dtype {label.dtype}.")
    if logits.ndim != 1 or label.ndim != 0:
        raise ValueError(
            f"`{call}` needs logits of shape (classes,) and one label; got shapes "
            f"{logits.shape} and {label.shape}. Use `jax.vmap` for a batch."
        )
    bad = (label < 0) | (label >= logits.shape[0])
    given = f"label={label}" if is_concrete(label) else "another"
    message = f"`{call}` needs 0 <= label < {logits.shape[0]}; got {given}."
    label = check_values(label, bad, message)
    return -jax.nn.log_softmax(logits)[label]
