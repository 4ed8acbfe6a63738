"""state, coordinate -> the solution of a linear differential equation."""

import equinox as eqx
import jax.numpy as jnp
import jax.scipy.linalg as jsl
from jaxtyping import Array, Float, PyTree

from .._check import check_integer, check_positive
from .._types import State
from .law import AbstractLawDecoder, check_observation, elapsed, Parameters
from .parameters import AbstractParameter, as_parameter, Free


class LinearODEDecoder(AbstractLawDecoder):
    r"""The exact flow of $\dot x = M x$, from the latest observation to the time asked for:
    $e^{M h} x$. With inputs $\dot x = M (x, u)$, and affine $\dot x = M (x, u, 1)$, where
    the inputs u are the last channels of an observation and stay what they were.
    """

    law: Parameters
    inputs: int = eqx.field(static=True)
    affine: bool = eqx.field(static=True)
    time_scale: float = eqx.field(static=True)
    out_size: int = eqx.field(static=True)

    def __init__(
        self,
        network: PyTree | None,
        size: int,
        *,
        inputs: int = 0,
        affine: bool = False,
        M: AbstractParameter | None = None,
        time_scale: float = 1.0,
        at: float | None = 0.0,
    ):
        """**Arguments:**

        - `network`: gives the raw numbers of M row by row, so that it has
            `size * (size + inputs + affine)` outputs. Or a decoder; or `None` where M is a
            `Constant`.
        - `size`: how many channels x has: what is carried forward, and the output.
        - `inputs`: how many channels after these are inputs that drive x; by default none.
        - `affine`: whether a constant drives x too; by default not.
        - `M`: how the raw numbers make the matrix, with its shape; by default
            `Free("1/time", shape=(size, size + inputs + affine))`.
        - `time_scale`: how many units of M's time are in one of the times `ts`; by default
            1.
        - `at`: the coordinate at which the network is read, a single number, by default 0;
            `None` reads it at the coordinate asked for.

        **Raises:** `ValueError` where the network has another number of outputs, M another
        shape, or a number is outside its range; `TypeError` for an argument of another
        kind. An M that grows by more than about e^80 between two readings overflows in
        single precision.
        """
        call = "LinearODEDecoder(network, size)"
        self.out_size = check_integer(call, "size", size, 1)
        self.inputs = check_integer(call, "inputs", inputs, 0)
        self.affine = bool(affine)
        shape = self.out_size, self.out_size + self.inputs + int(self.affine)
        if M is None:
            M = Free("1/time", shape=shape)
        if as_parameter(call, "M", M).shape != shape:
            raise ValueError(f"`{call}` needs `M` of shape {shape}; got {M.shape}.")
        self.law = Parameters(call, network, {"M": M}, at)
        self.time_scale = check_positive(call, "time_scale", time_scale)

    def __call__(
        self, state: State, coordinate: Float[Array, " q"]
    ) -> Float[Array, " y"]:
        size, channels = self.out_size, f"{self.out_size} and {self.inputs} inputs"
        call = "LinearODEDecoder(network, size)"
        check_observation(call, state.x, channels, size + self.inputs)
        M = self.law(state, coordinate)["M"]
        time = elapsed(state, coordinate, self.time_scale)
        start = state.x
        if self.affine:
            start = jnp.append(start, jnp.ones((), start.dtype))
        return flow(M, time) @ start


def flow(M: Float[Array, "y z"], time: Float[Array, ""]) -> Float[Array, "y z"]:
    """Returns the matrix that takes (x, u) to x after a `time` of `dx/dt = M (x, u)`, u
    being constant: the first rows of a matrix exponential (Van Loan 1978).
    """
    rows, columns = M.shape
    square = jnp.pad(M, ((0, columns - rows), (0, 0)))
    return jsl.expm(square * time)[:rows]
