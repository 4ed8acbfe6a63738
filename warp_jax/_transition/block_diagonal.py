"""A as square blocks along the diagonal."""

import equinox as eqx
import jax
import jax.numpy as jnp
from jax.scipy.linalg import block_diag
from jaxtyping import Array, Complex, Float, Int

from .._check import check_integer
from .._types import Weights
from .base import AbstractTransition, check_sizes
from .eigen import bounded_matrix, eigenvalues
from .flow import Flow


class BlockDiagonalTransition(AbstractTransition):
    """Full blocks along the diagonal, starting at the identity, and a full B, starting at
    zero.

    Weights mix within a block of neighbours in theta. Where `block_size` does not divide
    the state, the last block is cut off.
    """

    blocks: Float[Array, "n b b"]
    B: Float[Array, "p c"]
    state_size: int = eqx.field(static=True)
    input_size: int = eqx.field(static=True)
    block_size: int = eqx.field(static=True)

    def __init__(self, state_size: int, input_size: int, block_size: int):
        """**Arguments:**

        - `state_size`, `input_size`: the lengths of the state and of the drive.
        - `block_size`: rows of a block, at most `state_size`.

        **Raises:** `ValueError` for a size outside its range, `TypeError` for one that is
        no whole number.
        """
        self.state_size, self.input_size = check_sizes(
            "BlockDiagonalTransition", state_size, input_size
        )
        call = "BlockDiagonalTransition(state_size, input_size, block_size)"
        self.block_size = check_integer(call, "block_size", block_size, 1)
        if self.block_size > self.state_size:
            raise ValueError(
                f"`{call}` needs `block_size <= state_size`; got block_size={block_size} "
                f"and state_size={state_size}."
            )
        count = -(-self.state_size // self.block_size)
        self.blocks = jnp.tile(jnp.eye(self.block_size), (count, 1, 1))
        self.B = jnp.zeros((self.state_size, self.input_size))

    def apply(self, theta: Weights) -> Weights:
        return self.act(self.gain(), theta)

    def inject(self, dx: Float[Array, " c"]) -> Weights:
        return self.B @ dx

    def poles(self) -> tuple[Complex[Array, " p"], Int[Array, " p"]]:
        *whole, last = self.blocks
        rows = self.state_size - len(whole) * self.block_size
        parts = [eigenvalues(block) for block in (*whole, last[:rows, :rows])]
        return jnp.concatenate(parts), jnp.ones(self.state_size, int)

    def bounded(self, radius: float) -> "BlockDiagonalTransition":
        blocks = jax.vmap(lambda block: bounded_matrix(block, radius))(self.gain())
        return eqx.tree_at(lambda t: t.blocks, self, blocks)

    def gain(self) -> Float[Array, "n b b"]:
        # What the cut took off the last block must not come back in its powers.
        return self._cut(jnp.zeros((self.block_size,) * 2, self.blocks.dtype))

    def _cut(self, outside: Float[Array, "b b"]) -> Float[Array, "n b b"]:
        """Returns the blocks, with the entries of another one in place of those cut off."""
        inside = jnp.arange(len(self.blocks) * self.block_size) < self.state_size
        inside = inside.reshape(-1, self.block_size)
        kept = inside[:, :, None] & inside[:, None, :]
        return jnp.where(kept, self.blocks, outside[None])

    @property
    def divisible(self) -> bool:
        return True

    def flow(self) -> Flow:
        # Zeros would have no logarithm; what is cut off stands still.
        return Flow(self, self._cut(jnp.eye(self.block_size, dtype=self.blocks.dtype)))

    def compose(self, later: Array, earlier: Array) -> Array:
        return jnp.matmul(later, earlier)

    def act(self, gain: Array, theta: Weights) -> Weights:
        padded = jnp.pad(theta, (0, len(gain) * self.block_size - len(theta)))
        padded = padded.reshape(-1, self.block_size)
        return jnp.einsum("nij,nj->ni", gain, padded).ravel()[: self.state_size]

    @property
    def compose_work(self) -> int:
        return self.blocks.size * self.block_size

    def matrix(self) -> Float[Array, "p p"]:
        return block_diag(*self.blocks)[: self.state_size, : self.state_size]

    def input_matrix(self) -> Float[Array, "p c"]:
        return self.B
