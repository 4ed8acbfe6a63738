"""A as a multiple of the identity plus a product of two thin matrices."""

import equinox as eqx
import jax.numpy as jnp
import jax.random as jr
from jaxtyping import Array, Float

from .._check import check_integer
from .._types import Key, Weights
from .base import AbstractTransition, check_sizes


class LowRankTransition(AbstractTransition):
    r"""`A = a I + U Vᵀ` and a full B: memory and work linear in the state.

    With A at the identity alone the state would only hold `x_t - x_0`: what is remembered
    of the path between lies in the low-rank part. So `a` starts at one and B at zero, as
    in the paper, but `U Vᵀ` at random with eigenvalues of the order of `10 / length`: over
    a sequence the state then turns over a few times, whatever its length, and does not
    overflow.
    """

    a: Float[Array, ""]
    U: Float[Array, "p r"]
    V: Float[Array, "p r"]
    B: Float[Array, "p c"]
    state_size: int = eqx.field(static=True)
    input_size: int = eqx.field(static=True)
    rank: int = eqx.field(static=True)

    def __init__(
        self,
        state_size: int,
        input_size: int,
        rank: int,
        *,
        key: Key,
        length: int | None = None,
    ):
        """**Arguments:**

        - `state_size`, `input_size`: the lengths of the state and of the drive.
        - `rank`: columns of `U` and `V`, at most `state_size`.
        - `key`: for the initial `U` and `V`.
        - `length`: how many steps the sequences have, roughly; 100 where it is not known.
        """
        self.state_size, self.input_size = check_sizes(
            "LowRankTransition", state_size, input_size
        )
        call = "LowRankTransition(state_size, input_size, rank, length)"
        self.rank = check_integer(call, "rank", rank, 1)
        if self.rank > self.state_size:
            raise ValueError(
                f"`{call}` needs `rank <= state_size`; got rank={rank} and "
                f"state_size={state_size}."
            )
        length = 100 if length is None else check_integer(call, "length", length, 1)
        # VᵀU / (10 / length) has entries of variance 1 / rank: eigenvalues in a unit disc.
        scale = (self.rank * self.state_size) ** -0.25
        u_key, v_key = jr.split(key)
        shape = (self.state_size, self.rank)
        self.a = jnp.ones(())
        self.U = scale * jr.normal(u_key, shape)
        self.V = scale * (10 / length) * jr.normal(v_key, shape)
        self.B = jnp.zeros((self.state_size, self.input_size))

    def apply(self, theta: Weights) -> Weights:
        return self.a * theta + self.U @ (self.V.T @ theta)

    def inject(self, dx: Float[Array, " c"]) -> Weights:
        return self.B @ dx

    def matrix(self) -> Float[Array, "p p"]:
        return self.a * jnp.eye(self.state_size) + self.U @ self.V.T

    def input_matrix(self) -> Float[Array, "p c"]:
        return self.B
