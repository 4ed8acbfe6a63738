"""theta_0, dxs -> thetas, by an associative scan."""

import warnings

import jax
import jax.lax as lax
import jax.numpy as jnp
from jaxtyping import Array, Float, PyTree

from .._transition import AbstractTransition
from .._types import Weights
from .base import AbstractParallelRoll, Fresh
from .segments import KEPT


class AssociativeRoll(AbstractParallelRoll):
    """A parallel prefix over pairs of a gain and a state (Blelloch 1990): depth
    logarithmic in time, for devices with much to do at once.

    Every step holds a gain: cheap for a diagonal, complex modes, small blocks or few
    coefficients. A dense A would need time copies of itself, which is warned of.
    """

    def states(
        self,
        transition: AbstractTransition,
        theta: Weights,
        dxs: Float[Array, "t c"],
        fresh: Fresh | None = None,
    ) -> Float[Array, "t p"]:
        length, numbers = len(dxs), transition.gain_size
        if length * numbers > KEPT:
            warnings.warn(
                f"`AssociativeRoll` holds a gain of {numbers:,} numbers for each of "
                f"{length:,} steps of {type(transition).__name__}, and composes them: "
                f"about {2 * length * transition.compose_work:.1e} multiplications. Use "
                "`AutoRoll`, or a transition with a cheaper gain.",
                stacklevel=2,
            )
        if transition.timed:
            gains = jax.vmap(transition.gain_at)(dxs)
        else:
            gains = jax.tree.map(
                lambda leaf: jnp.broadcast_to(leaf, (length, *leaf.shape)),
                transition.gain(),
            )
        added = jax.vmap(transition.inject)(dxs)

        @jax.vmap
        def combine(earlier, later):
            gain, state = earlier
            next_gain, next_state = later
            moved = transition.act(next_gain, state) + next_state
            return transition.compose(next_gain, gain), moved

        if fresh is None:
            gains, states = lax.associative_scan(combine, (gains, added))
            return states + jax.vmap(transition.act, (0, None))(gains, theta)

        def begin_anew(earlier, later):
            # What a later stretch begins anew knows nothing of an earlier one.
            begun = jnp.where(later[0], later[0], earlier[0])
            after = jax.vmap(choose)(later[0], later[1], combine(earlier[1], later[1]))
            return begun, after

        added = jax.vmap(choose)(fresh.begins, fresh.states, added)
        begun, (gains, states) = lax.associative_scan(
            begin_anew, (fresh.begins, (gains, added))
        )
        before = jax.vmap(transition.act, (0, None))(gains, theta)
        return states + jnp.where(begun[:, None], 0, before)


def choose(first: Array, a: PyTree[Array], b: PyTree[Array]) -> PyTree[Array]:
    """Returns `a` where `first` is true, else `b`."""
    return jax.tree.map(lambda a, b: jnp.where(first, a, b), a, b)
