"""observations -> inputs and targets of a regression, and its solution -> y."""

import abc
from collections.abc import Callable

import equinox as eqx
import jax
import jax.lax as lax
import jax.numpy as jnp
from jaxtyping import Array, Float

from .._check import check_integer, check_positive
from .._drive import AbstractPairs
from .._transition import log_one_plus
from .._types import Observation, Scalar, State
from .law import check_observation, Values
from .linear_ode import flow


class AbstractFeatures(AbstractPairs):
    """A law that is linear in its parameters: which regression identifies it, and what
    follows from the solution.
    """

    @abc.abstractmethod
    def first(self, x: Observation) -> tuple[Float[Array, " n"], Float[Array, " m"]]:
        """Returns the inputs and targets that a first observation makes, zero for none."""

    @abc.abstractmethod
    def read(
        self,
        solution: Float[Array, "n m"],
        state: State,
        coordinate: Float[Array, " q"],
    ) -> Float[Array, " m"]:
        """Returns the output of the law with the parameters `solution`."""

    @abc.abstractmethod
    def parameters(self, solution: Float[Array, "n m"]) -> Values:
        """Returns what was identified, by name."""


class Steps(AbstractFeatures):
    r"""$x_{t+1} - x_t = P^\top \phi(x_t, u_t)$: the next observation from this one.

    With $\phi$ as it is by default, $(x, u)$ or $(x, u, 1)$, that is any linear
    differential equation sampled at even times, with inputs u that are constant between
    two samples.
    """

    lift: Callable | None
    in_size: int = eqx.field(static=True)
    out_size: int = eqx.field(static=True)
    inputs: int = eqx.field(static=True)
    affine: bool = eqx.field(static=True)
    dt: float | None = eqx.field(static=True)

    def __init__(
        self,
        size: int,
        *,
        inputs: int = 0,
        affine: bool = False,
        dt: float | None = None,
        lift: Callable | None = None,
    ):
        r"""**Arguments:**

        - `size`: how many channels x has: what is predicted.
        - `inputs`: how many channels after these are inputs u; by default none.
        - `affine`: whether a constant is among the features; by default not.
        - `dt`: the time between two samples, in the unit of `ts`. Given, any time can be
            read: $e^{M h}$ with $e^{M dt} = I + P^\top$. That needs more than four samples
            in a period of the fastest oscillation. By default every reading is one step
            ahead, whatever the time asked for.
        - `lift`: another $\phi$, `(size + inputs,) -> (n,)`, as `lambda x: jnp.stack([x[0],
            x[1], x[0] * x[1]])`; every reading is then one step ahead. By default none.

        **Raises:** `ValueError` for a `lift` beside `affine` or `dt`, which have no meaning
        there, for one that gives no vector, and for a number outside its range; `TypeError`
        for what is no number.
        """
        call = "Steps(size)"
        self.out_size = check_integer(call, "size", size, 1)
        self.inputs = check_integer(call, "inputs", inputs, 0)
        self.affine = bool(affine)
        self.dt = dt if dt is None else check_positive(call, "dt", dt)
        if lift is not None and (affine or dt is not None):
            raise ValueError(
                f"`{call}` takes a `lift` instead of `affine` and `dt`; got "
                f"affine={affine} and dt={dt}. Let the lift return a one for a constant; "
                "to look further ahead, `forecast`."
            )
        self.lift = lift
        channels = self.out_size + self.inputs
        self.in_size = _lifted(call, lift, channels, channels + int(self.affine))

    def __call__(
        self, before: Float[Array, " c"], now: Float[Array, " c"]
    ) -> tuple[Float[Array, " n"], Float[Array, " m"]]:
        size = self.out_size
        return self.features(before), now[:size] - before[:size]

    def first(self, x: Observation) -> tuple[Float[Array, " n"], Float[Array, " m"]]:
        return jnp.zeros(self.in_size, x.dtype), jnp.zeros(self.out_size, x.dtype)

    def features(self, x: Observation) -> Float[Array, " n"]:
        r"""Returns $\phi$ of an observation, of shape `(in_size,)`."""
        channels = f"{self.out_size} and {self.inputs} inputs"
        check_observation("Steps(size)", x, channels, self.out_size + self.inputs)
        if self.lift is not None:
            return self.lift(x)
        return jnp.append(x, jnp.ones((), x.dtype)) if self.affine else x

    def read(
        self,
        solution: Float[Array, "n m"],
        state: State,
        coordinate: Float[Array, " q"],
    ) -> Float[Array, " m"]:
        features = self.features(state.x)
        ahead = state.x[: self.out_size] + features @ solution
        if self.dt is None:
            return ahead
        steps = _whole(coordinate[0], state.t, self.dt)
        there = flow(self._generator(solution), steps) @ features
        # One step needs no logarithm, whose rounding a long forecast would add up.
        return there + lax.stop_gradient(jnp.where(steps == 1, ahead - there, 0))

    def parameters(self, solution: Float[Array, "n m"]) -> Values:
        """Returns the `step`, `(size, n)`, of the increment; and with `dt` known the matrix
        `M`, `(size, n)`, of the differential equation.
        """
        if self.dt is None:
            return {"step": solution.T}
        return {"step": solution.T, "M": self._generator(solution) / self.dt}

    def _generator(self, solution: Float[Array, "n m"]) -> Float[Array, "m n"]:
        missing = self.in_size - self.out_size
        return log_one_plus(jnp.pad(solution.T, ((0, missing), (0, 0))))[
            : self.out_size
        ]


class Tokens(AbstractFeatures):
    r"""$y_i = W^\top \phi(x_i)$: a regression in context, of observations $(x_i, y_i)$
    (Garg et al. 2022, arXiv 2208.01066).
    """

    lift: Callable | None
    in_size: int = eqx.field(static=True)
    out_size: int = eqx.field(static=True)
    keys: int = eqx.field(static=True)

    def __init__(self, keys: int, values: int = 1, *, lift: Callable | None = None):
        r"""**Arguments:**

        - `keys`: how many of an observation's channels are x: the first ones.
        - `values`: how many are y: those that follow; by default 1.
        - `lift`: $\phi$, `(keys,) -> (n,)`; by default x itself.

        **Raises:** `ValueError` for a number below 1 or a `lift` that gives no vector,
        `TypeError` for a number that is not whole.
        """
        call = "Tokens(keys, values)"
        self.keys = check_integer(call, "keys", keys, 1)
        self.out_size = check_integer(call, "values", values, 1)
        self.lift = lift
        self.in_size = _lifted(call, lift, self.keys, self.keys)

    def __call__(
        self, before: Float[Array, " c"], now: Float[Array, " c"]
    ) -> tuple[Float[Array, " n"], Float[Array, " m"]]:
        return self.first(now)

    def first(self, x: Observation) -> tuple[Float[Array, " n"], Float[Array, " m"]]:
        channels = f"{self.keys} keys and {self.out_size} values"
        check_observation(
            "Tokens(keys, values)", x, channels, self.keys + self.out_size
        )
        return self.features(x[: self.keys]), x[self.keys :]

    def features(self, key: Float[Array, " k"]) -> Float[Array, " n"]:
        r"""Returns $\phi$ of a key, of shape `(in_size,)`."""
        return key if self.lift is None else self.lift(key)

    def read(
        self,
        solution: Float[Array, "n m"],
        state: State,
        coordinate: Float[Array, " q"],
    ) -> Float[Array, " m"]:
        """Returns the value at the latest key. At any other one it is
        `LeastSquaresDecoder.predict`.
        """
        return self.features(state.x[: self.keys]) @ solution

    def parameters(self, solution: Float[Array, "n m"]) -> Values:
        """Returns the `weights`, `(n, values)`."""
        return {"weights": solution}


def _whole(time: Scalar, start: Scalar, dt: float) -> Scalar:
    """Returns how many steps lie between two times: a whole number where only the times'
    own rounding says otherwise.
    """
    steps = (time - start) / dt
    error = 4 * jnp.finfo(time.dtype).eps * (jnp.abs(time) + jnp.abs(start)) / dt
    whole = jnp.where(
        jnp.abs(steps - jnp.round(steps)) < error, jnp.round(steps), steps
    )
    # The slope is that of the steps as they are.
    return steps + lax.stop_gradient(whole - steps)


def _lifted(call: str, lift: Callable | None, channels: int, plain: int) -> int:
    if lift is None:
        return plain
    out = eqx.filter_eval_shape(
        lift, jax.ShapeDtypeStruct((channels,), jnp.result_type(float))
    )
    if getattr(out, "ndim", None) != 1:
        raise ValueError(
            f"`{call}` needs a `lift` from ({channels},) to a vector; got {out}."
        )
    return out.shape[0]
