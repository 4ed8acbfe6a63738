"""reset flags -> where each of the packed sequences begins, and at which state."""

from typing import Any, NamedTuple

import jax
import jax.lax as lax
import jax.numpy as jnp
import jax.random as jr
from jaxtyping import Array, Float, Int

from ._check import check_mask
from ._roll import Fresh, read_in_turns
from ._transition import Reduction
from ._types import Key, Mask, Observations, State, Times, Weights


class Segments(NamedTuple):
    """For each step the first one of the sequence that it belongs to.

    - `begins`: whether that was begun by a reset, `(time,)`.
    - `at`: the index of its step, `(time,)`.
    - `x`, `t`: its observation, `(time, input)`, and its time, `(time,)`.
    """

    begins: Mask
    at: Int[Array, " t"]
    x: Observations
    t: Times

    @classmethod
    def of(cls, reset: Mask, xs: Observations, ts: Times) -> "Segments":
        """Returns those of a sequence without padding or gaps."""
        latest = lax.cummax(jnp.where(reset, jnp.arange(len(reset)), -1))
        at = jnp.maximum(latest, 0)
        return cls(latest >= 0, at, xs[at], ts[at])

    def first(self, model: Any, key: Key | None) -> State:
        """Returns the state at the first step, of one step's entries."""
        if key is not None:
            # Each sequence makes random choices of its own.
            key = jnp.where(self.begins, jr.fold_in(key, self.at), key)
        return model.first(self.x, self.t, key)


def check_reset(call: str, reset, length: int, ts) -> Mask:
    """Returns `reset` as booleans of `length` steps, or raises."""
    reset = check_mask(call, reset, length, name="reset")
    if ts is None:
        raise ValueError(
            f"`{call}` needs `ts` where it resets: each sequence has times of its own."
        )
    return reset


def at_last(
    call: str,
    model: Any,
    segments: Segments,
    state: State | None,
    mask: Mask,
    key: Key | None,
) -> tuple[State | None, Mask, Key | None]:
    """Returns what the last sequence begins at, and the mask of its steps alone."""
    last = jax.tree.map(lambda a: a[-1], segments)
    steps = jnp.arange(len(mask))
    if state is None:
        # A sequence begins at its first valid step.
        if key is not None:
            key = jnp.where(last.begins, jr.fold_in(key, last.at), key)
        return None, mask & (~last.begins | (steps >= last.at)), key
    fresh = last.first(model, key)
    state = switch(call, last.begins, fresh, state)
    return state, mask & (~last.begins | (steps > last.at)), key


def switch(call: str, begins, fresh: State, state: State) -> State:
    """Returns `fresh` where a new sequence begins, else `state`."""
    if jax.tree.structure(fresh) != jax.tree.structure(state):
        raise ValueError(
            f"`{call}` resets a state that was begun with a `key`, or without. Give a "
            "`key` as the state was given one."
        )
    if fresh.theta.shape != state.theta.shape:
        raise ValueError(
            f"`{call}` cannot reset a state of `compact`, which holds the coefficients "
            "of one sequence. Use a state of `final` or `init`."
        )
    return jax.tree.map(lambda a, b: jnp.where(begins, a, b), fresh, state)


def fresh_states(model: Any, steps: Segments, key: Key | None, reduces: bool) -> Fresh:
    """Returns the states, in the form that is rolled, of sequences that begin at steps."""

    def start(segment: Segments) -> Float[Array, " m"]:
        first = segment.first(model, key)
        reduction = renewed(model, first) if reduces else None
        return first.theta if reduction is None else reduction.start

    start = jax.checkpoint(start)
    footprint = model.transition.state_size
    return Fresh(steps.begins, read_in_turns(start, steps, footprint))


def renewed(model: Any, first: State) -> Reduction | None:
    """Returns the recurrence in coefficients of a sequence that begins at `first`."""
    return model.transition.reduce(first.theta, first.hidden)


def weights(
    model: Any,
    key: Key | None,
    reduction: Reduction,
    segment: Segments,
    coefficients: Float[Array, " m"],
) -> Weights:
    """Returns the weights of coefficients in the sequence that they belong to."""
    own = renewed(model, segment.first(model, key))
    assert own is not None
    return reduction.span.switched(segment.begins, own.span).theta(coefficients)
