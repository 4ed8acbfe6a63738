"""trajectories of oscillators -> their constants, and what noise leaves of them."""

import functools
from collections.abc import Mapping
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.scipy.linalg as jsl
import numpy as np
import optimistix as optx
from jaxtyping import Array, Float

import warp_jax as wj

from . import _figures as figures
from ._data import Dataset, Split
from ._data.msd import constants_of, RANGES, SCALE
from ._mapped import batched
from .baselines import Model


# Standard deviation of the noise by that of the training data, channel by channel.
NOISE = 0.01


def double(data: Dataset) -> Dataset:
    """Returns the same data in double precision."""
    parts = {
        name: part._replace(xs=part.xs.astype(np.float64))
        for name, part in data.named.items()
    }
    return data._replace(**parts)


def ratios(constants: Float[np.ndarray, "n 3"]) -> Float[np.ndarray, "n 2"]:
    """Returns k/m and c/m of mass, stiffness and damping."""
    m, k, c = constants.T
    return np.stack([k / m, c / m], axis=-1)


@eqx.filter_jit
def told(model: Any, xs: Float[Array, "n t 2"]) -> Float[Array, "n 2"]:
    """Returns k/m and c/m, in the units of the data before normalisation, that the model
    has found after each of `xs`.
    """

    def one(xs):
        # A context's times are those of its first steps, whatever their unit.
        found = model.decoder.parameters(model.final(xs))
        if "M" in found:
            pair = wj.physics.oscillator_constants(found["M"])
            return jnp.stack([pair["k/m"], pair["c/m"]])
        rate = SCALE[1] / SCALE[0]
        return jnp.stack([rate**2 * found["k"], rate * found["c"]]) / found["m"]

    return jax.vmap(one)(xs)


def constants_figure(models: Mapping[str, Model], data: Dataset, context: int):
    """Draws the constants that models found in each context of the test set against the
    true ones, with the range of the training set.
    """
    true = ratios(constants_of("test", len(data.test.xs)))
    (m, k, c) = RANGES
    names = ("k/m", "c/m")
    trained = ((k[0] / m[1], k[1] / m[0]), (c[0] / m[1], c[1] / m[0]))
    grid_figure, grid = figures.axes(len(models), 2)
    for row, (name, model) in zip(grid, models.items()):
        found = np.asarray(told(model, jnp.asarray(data.test.xs[:, :context])))
        for ax, title, x, y, span in zip(row, names, true.T, found.T, trained):
            ends = [x.min(), x.max()]
            ax.axvspan(*span, color="gray", alpha=0.15, linewidth=0)
            ax.plot(ends, ends, color="black", linewidth=0.8)
            # What a logarithm cannot show lies on the lower edge.
            ax.plot(x, np.maximum(y, ends[0] / 2), ".", markersize=2.5)
            ax.set(xscale="log", yscale="log", title=f"{title}: {name}")
            ax.set(xlabel="true", ylabel="found", ylim=(ends[0] / 2.2, 2 * ends[1]))
    return grid_figure


def noisy(data: Dataset, part: Split) -> Float[np.ndarray, "n t 2"]:
    """Returns a part's observations with measurement noise, always the same."""
    noise = np.random.default_rng((2, 0)).standard_normal(part.xs.shape)
    return part.xs + (_deviation(data) * noise).astype(part.xs.dtype)


def noise_bound(
    data: Dataset, constants: Float[np.ndarray, "n 3"], starts, context: int
) -> dict[str, float]:
    r"""Returns the least forecast errors that noise allows, by the name of the metric: of
    unbiased estimates of k/m, c/m, position and velocity from a noisy context.

    It is the Cramér-Rao bound: an error's variance is that of `J_f p`, with `p` of
    covariance $(J_c^\top J_c)^{-1}$, where the rows of `J_c` are the derivatives of what is
    observed by what is estimated, by the noise's deviation, and those of `J_f` of what is
    forecast.

    - `starts`: position and velocity at time 0 as in the data, `(n, 2)`.
    """
    assert data.scale is not None
    ts = np.linspace(0, 1, data.train.xs.shape[1])
    with jax.enable_x64(True):
        unknowns = np.concatenate([ratios(constants), starts], axis=1)
        bound = functools.partial(_bound, context, _deviation(data), data.scale)
        each = np.asarray(
            jax.jit(jax.vmap(bound, (None, 0)))(jnp.asarray(ts), jnp.asarray(unknowns))
        )
    return {
        "forecast_mse": float(np.mean(each)),
        "forecast_mse_median": float(np.median(each)),
    }


def most_likely(
    data: Dataset,
    model: Model,
    seen: Float[np.ndarray, "n t 2"],
    context: int,
) -> Float[np.ndarray, "n s 2"]:
    """Returns the motions, at all steps but the first, that make each noisy context most
    likely, in double precision: by Levenberg and Marquardt's method over k/m, c/m and the
    start, from what the model has found.

    It sees the context again and again, which a recurrence does not.
    """
    ts = np.linspace(0, 1, data.train.xs.shape[1])
    found = told(model, jnp.asarray(seen[:, :context]))
    arrays = seen[:, :context], np.asarray(found)
    with jax.enable_x64(True):
        fit = functools.partial(_most_likely, _deviation(data))
        fit = functools.partial(jax.jit(jax.vmap(fit, (None, 0, 0))), jnp.asarray(ts))
        return batched(fit, *(a.astype(float) for a in arrays))


def _most_likely(deviation, ts, xs, found):
    # Far beyond all ranges, and where a motion is finite: a fit stays within.
    low, high = jnp.log(jnp.array([1.0, 1e-2])), jnp.log(jnp.array([1e4, 1e3]))
    rates = jnp.log(jnp.maximum(jnp.nan_to_num(found), 1e-30))

    def unknowns(place):
        return jnp.concatenate([jnp.exp(jnp.clip(place[:2], low, high)), place[2:]])

    def residuals(place, _):
        return (_motion(ts[: len(xs)], unknowns(place)) - xs) / deviation

    solver = optx.LevenbergMarquardt(rtol=1e-8, atol=1e-8)
    start = jnp.concatenate([jnp.clip(rates, low, high), xs[0]])
    # A fit that has not settled after so many steps is scored as it is, and one that left
    # the finite numbers as it began.
    fit = optx.least_squares(residuals, solver, start, max_steps=128, throw=False)
    place = jnp.where(jnp.all(jnp.isfinite(fit.value)), fit.value, start)
    return _motion(ts, unknowns(place))[1:]


def _motion(ts, unknowns):
    """Returns the motion of k/m, c/m and a start, `(time, 2)`."""
    rate = SCALE[1] / SCALE[0]
    stiffness, damping = unknowns[0] / rate, unknowns[1]
    zero = jnp.zeros(())
    M = jnp.stack([zero, zero + rate, -stiffness, -damping]).reshape(2, 2)
    return jax.vmap(lambda t: jsl.expm(M * t, max_squarings=32) @ unknowns[2:])(ts)


def _bound(context: int, deviation, scale, ts, unknowns):
    slopes = jax.jacfwd(functools.partial(_motion, ts))(unknowns)
    within = (slopes[:context] / deviation[None, :, None]).reshape(-1, len(unknowns))
    ahead = slopes[context:] * scale[None, :, None]
    # In units in which each column is of the order of one.
    unit = jnp.linalg.norm(within, axis=0)
    within, ahead = within / unit[None], ahead / unit[None, None]
    covariance = jnp.linalg.inv(within.T @ within)
    return jnp.mean(jnp.einsum("tyi,ij,tyj->ty", ahead, covariance, ahead))


def _deviation(data: Dataset) -> Float[np.ndarray, " d"]:
    return NOISE * data.train.xs.std((0, 1), dtype=np.float64)
