"""theta_0, dxs -> thetas, in chunks: first where each one starts, then all at once."""

import equinox as eqx
import jax
import jax.lax as lax
import jax.numpy as jnp
from jaxtyping import Array, Float, PyTree

from .._check import check_integer
from .._transition import AbstractTransition
from .._types import Mask, Output, Weights
from .adjoint import states_by_adjoint
from .base import (
    AbstractRoll,
    advance,
    advanced,
    after_a_rest,
    Fresh,
    powers,
    Read,
    refuse_fresh,
)
from .segments import join, scan_in_segments, split


class ChunkedRoll(AbstractRoll):
    """Exact in `time / chunk` steps for the last state, and `chunk` more for all of them.

    What a chunk of drives adds to the state is one product with the kernel `A^s B`, which
    doubling makes once for all sequences; a scan over chunks then steps by `A^chunk`. For
    the last state nothing else is done. For all states each chunk goes from its start
    step by step, all chunks side by side: the same work as a sequential roll, in wide
    products.

    Work is `time / chunk` products with `A^chunk`, and `log2(chunk)` squarings of A: cheap
    for few coefficients or a structured A, and for a dense A worth it on long sequences.
    """

    chunk: int = eqx.field(static=True)
    together: int | None = eqx.field(static=True)

    def __init__(self, chunk: int, *, together: int | None = None):
        """**Arguments:**

        - `chunk`: steps of a chunk, a power of two.
        - `together`: how many chunks go side by side; the rest waits, and in the backward
            pass is made again, which bounds memory. By default all.

        **Raises:** `ValueError` for a `chunk` that is no power of two or a number below 1,
        `TypeError` for one that is not whole.
        """
        call = "ChunkedRoll(chunk, together)"
        self.chunk = check_integer(call, "chunk", chunk, 1)
        if chunk & (chunk - 1):
            raise ValueError(f"`{call}` needs a power of two for `chunk`; got {chunk}.")
        if together is not None:
            together = check_integer(call, "together", together, 1)
        self.together = together

    def __call__(
        self,
        transition: AbstractTransition,
        theta: Weights,
        dxs: Float[Array, "t c"],
        moves: Mask | None,
        read: Read,
        context: PyTree[Array],
        fresh: Fresh | None = None,
    ) -> tuple[Output, Weights]:
        refuse_fresh(self, fresh)
        starts, last = self._starts(transition, theta, dxs, moves)
        drives = split(after_a_rest(dxs, moves), self.chunk, front=True)
        if len(starts) < len(drives[0]):
            starts = jnp.concatenate([theta[None], starts])

        held = transition.held()

        def states(start, drives):
            return states_by_adjoint(advance, transition, held, start, *drives)[1:]

        def part(_, steps):
            start, drives, context = steps
            thetas = jax.vmap(states)(start, drives)
            flat = jax.tree.map(
                lambda array: array.reshape(-1, *array.shape[2:]), context
            )
            outputs = read(thetas.reshape(-1, thetas.shape[-1]), flat)
            return None, split(outputs, self.chunk)

        steps = starts, drives, split(context, self.chunk, front=True)
        _, outputs = scan_in_segments(part, None, steps, self.together)
        return join(outputs, len(dxs) + 1, front=True), last

    def last(
        self,
        transition: AbstractTransition,
        theta: Weights,
        dxs: Float[Array, "t c"],
        moves: Mask | None,
    ) -> Weights:
        return self._starts(transition, theta, dxs, moves)[1]

    def _starts(
        self,
        transition: AbstractTransition,
        theta: Weights,
        dxs: Float[Array, "t c"],
        moves: Mask | None,
    ) -> tuple[Float[Array, "n p"], Weights]:
        """Returns the state before each chunk, and the last one. The first chunk is the
        one that is not full.
        """
        # A B that is not stored, as the identity, knows no precision.
        columns = transition.input_matrix().T.astype(theta.dtype)
        kernel, gains = powers(transition, columns, self.chunk)
        chunks, counts = split(dxs, self.chunk, front=True), None
        if moves is not None:
            counted = split(moves, self.chunk, front=True)
            # Steps that move go last: zeros before them leave a state of zeros alone.
            order = jnp.argsort(counted, axis=1, stable=True)
            chunks = jnp.take_along_axis(chunks, order[:, :, None], axis=1)
            counts = jnp.sum(counted, axis=1)
        size = kernel.shape[-1]
        added = chunks.reshape(len(chunks), -1) @ kernel[::-1].reshape(-1, size)
        if counts is None:
            filled = (len(dxs) - 1) % self.chunk + 1
            first = theta
            for bit, gain in enumerate(gains):
                first = transition.act(gain, first) if filled >> bit & 1 else first
            first = first + added[0]
        else:
            first = advanced(transition, gains, theta, counts[0]) + added[0]

        if len(added) == 1:
            return theta[None], first
        if counts is None:
            hop = lambda gain, theta, added: transition.act(gain, theta) + added  # noqa: E731
            whole = gains[-1]
            held = transition.hold(whole)
            after = states_by_adjoint(hop, whole, held, first, added[1:], None)
            states = jnp.concatenate([theta[None], after])
            return states[:-1], states[-1]

        def jump(state, chunk):
            added, count = chunk
            return advanced(transition, gains, state, count) + added, state

        last, starts = lax.scan(jump, first, (added[1:], counts[1:]))
        return jnp.concatenate([theta[None], starts]), last
