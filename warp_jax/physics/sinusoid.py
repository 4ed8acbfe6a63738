"""state, coordinate -> a sine."""

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Float, PyTree

from .._types import State
from .law import AbstractLawDecoder, Parameters
from .parameters import AbstractParameter, as_parameter, Free


class SinusoidDecoder(AbstractLawDecoder):
    r"""$y(\tau) = a \sin(2 \pi f \tau + \varphi)$, with the phase from the auxiliary
    network (WARP-Phys of arXiv 2506.01153).
    """

    law: Parameters
    out_size: int = eqx.field(static=True)

    def __init__(
        self,
        network: PyTree | None,
        frequency: float | AbstractParameter = 1.0,
        *,
        amplitude: float | AbstractParameter = 1.0,
        phase: float | AbstractParameter = Free("rad"),
        at: float | None = 0.0,
    ):
        """**Arguments:**

        - `network`: gives the raw numbers of all parameters that are neither numbers nor
            `Constant`, in the order phase, frequency, amplitude. By default only the phase:
            then it has one output. Or a decoder; or `None` where there are no such
            parameters.
        - `frequency`: cycles in a unit of the times `ts`; by default the number 1.
        - `amplitude`: in the output's unit; by default the number 1.
        - `phase`: at time 0, in radians; by default `Free("rad")`, from the network.
        - `at`: the coordinate at which the network is read, a single number, by default 0;
            so that it cannot bend the law, the parameters are the same whenever the sine is
            read. `None` reads it at the coordinate asked for, as the paper does.

        **Raises:** `ValueError` where the network has another number of outputs,
        `TypeError` for an argument of another kind.
        """
        call = "SinusoidDecoder(network, frequency)"
        given = {"phase": phase, "frequency": frequency, "amplitude": amplitude}
        kinds = {name: as_parameter(call, name, kind) for name, kind in given.items()}
        self.law = Parameters(call, network, kinds, at)
        self.out_size = 1

    def __call__(
        self, state: State, coordinate: Float[Array, " q"]
    ) -> Float[Array, " y"]:
        p = self.law(state, coordinate)
        angle = 2 * jnp.pi * p["frequency"] * coordinate[0] + p["phase"]
        return (p["amplitude"] * jnp.sin(angle))[None]
