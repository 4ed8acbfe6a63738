"""xs -> the state before a sequence and what drives it, checked: what calls share."""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.lax as lax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, PyTree

from ._check import (
    check_array,
    check_finite,
    check_increasing,
    check_length,
    check_mask,
    check_some_valid,
    check_steps,
)
from ._drive import advancing, hold
from ._precision import matched, widened
from ._roll import AbstractRoll, moved, Read
from ._transition import AbstractTransition, Reduction
from ._types import Mask, Observations, Output, State, Times, Weights


class Begun(NamedTuple):
    """A checked sequence, and the state before it in the form that is rolled."""

    model: Any
    reduction: Reduction | None
    start: Float[Array, " m"]
    memory: PyTree
    ts: Times
    held: tuple[Observations, Times]
    dxs: Float[Array, "s c"]
    moves: Mask | None
    continued: bool
    kept: Callable[[Array], PyTree]

    def theta(self, state: Float[Array, " m"]) -> Weights:
        """Returns the weights of a rolled state."""
        return state if self.reduction is None else self.reduction.span.theta(state)

    def after(self, last: Float[Array, " m"]) -> State:
        """Returns the state after the sequence, of the last rolled state."""
        x, t = self.held[0][-1], self.held[1][-1]
        return State(self.theta(last), x, t, self.memory, self.kept(last))

    def roll(self, read: Read, context: PyTree[Array]) -> tuple[Output, Array]:
        """Returns an output for each step of the sequence, and the last rolled state."""
        if self.continued:
            # The state continued from is read too, and that output dropped.
            context = jax.tree.map(lambda a: jnp.concatenate([a[:1], a]), context)
        if len(self.dxs):
            parts = self.model.transition, self.start, self.dxs, self.moves
            outputs, last = self.model.roll(*parts, read, context)
        else:
            outputs, last = read(self.start[None], context), self.start
        if self.continued:
            outputs = jax.tree.map(lambda a: a[1:], outputs)
        return outputs, last

    def last(self, call: str) -> State:
        """Returns the last state, as the rolled model has it."""
        state = self.start
        if len(self.dxs):
            parts = self.model.transition, state, self.dxs, self.moves
            state = self.model.roll.last(*parts)
        state = self.check(call, state, state)
        return State(state, self.held[0][-1], self.held[1][-1], self.memory)

    def check(self, call: str, outputs: Output, last: Array) -> Output:
        """Returns `outputs`; raises where the last rolled state is not finite."""
        length = len(self.held[0])

        def first_bad(*operands):
            # A state continued from comes before the first step.
            step = _first_bad(*operands) - self.continued
            # Of two rolls one may overflow where the other just does not.
            return jnp.clip(step, 0, length - 1)

        message = (
            f"`{call}` came to a state that is not finite, at {{}}. Lower the learning "
            "rate, give `LowRankTransition` the `length` of the sequences, keep the "
            "spectral radius down with `fit(..., project=RadiusBound(1.0))`, or bound "
            "the weights with `SequentialRoll(limit=...)`."
        )
        # A state that is not finite stays so: the last one tells of all.
        bad = ~jnp.all(jnp.isfinite(last))
        operands = self.model.roll, self.model.transition
        operands = *operands, self.start, self.dxs, self.moves
        return check_steps(outputs, bad, first_bad, operands, length, message)


def begin(model, call: str, xs, ts, mask, state, key) -> Begun:
    """Returns all that a roll needs, checked."""
    xs = check_array(call, "xs", xs, 2, "Use `jax.vmap(model)` for a batch.")
    length = xs.shape[0]
    if length == 0:
        raise ValueError(f"`{call}` needs at least one step; got shape {xs.shape}.")
    model.check_input(call, xs[0])
    if mask is not None:
        mask = check_mask(call, mask, length)
        if state is None:
            mask = check_some_valid(call, mask)
    xs = check_finite(call, "xs", widened(xs), mask)
    model = matched(call, model, "xs", xs)
    if state is not None:
        state = matched(call, state, "xs", xs)
    if ts is None:
        if state is not None:
            raise ValueError(
                f"`{call}` needs `ts` when it continues from a `state`: the default "
                "times would begin again at 0."
            )
        ts = default_times(length, xs.dtype)
    else:
        ts = check_array(call, "ts", ts, 1).astype(xs.dtype)
        check_length(call, "ts", ts, length, "the steps of `xs`")
        ts = check_finite(call, "ts", ts, mask)
        known = hold(ts, mask)
        if state is not None:
            known = jnp.append(state.t, hold(ts, mask, state.t))
        ts = check_increasing(call, ts, known)
    continued = state is not None
    if state is None:
        held = hold(xs, mask), hold(ts, mask)
        state = model.first(held[0][0], held[1][0], key)
    else:
        held = hold(xs, mask, state.x), hold(ts, mask, state.t)
    dxs, memory = model.drive(state, xs, ts, mask)
    moves = None if mask is None else advancing(mask, length, continued)
    if not continued:
        # A sequence begins at its first valid step, so the first one never moves.
        dxs, moves = dxs[1:], None if moves is None else moves[1:]
    if moves is not None:
        # Where a step is padding its drive is arbitrary, and must not reach a gradient.
        dxs = jnp.where(moves[:, None], dxs, 0)
    reduction, rolled = _reduce(call, model, state)
    start = state.theta if reduction is None else reduction.start
    kept = functools.partial(model.transition.kept, state.hidden)
    return Begun(
        rolled, reduction, start, memory, ts, held, dxs, moves, continued, kept
    )


def _reduce(call: str, model, state: State) -> tuple[Reduction | None, Any]:
    """Returns the recurrence in coefficients, if there is one, and the model of it."""
    if not model.roll.reduces:
        if state.hidden is not None:
            raise ValueError(
                f"`{call}` has {model.roll}, which works on the weights, and a "
                f"{type(model.transition).__name__}, which does not. Use `AutoRoll`."
            )
        return None, model
    reduction = model.transition.reduce(state.theta, state.hidden)
    if reduction is None:
        return None, model
    rolled = eqx.tree_at(
        lambda model: (model.transition, model.decoder),
        model,
        (reduction.transition, model.decoder.spanned(reduction.span)),
    )
    return reduction, rolled


def default_times(length: int, dtype) -> Times:
    """Returns times spread evenly over [0, 1], of shape `(length,)`."""
    # Half precision tells no more than some hundred times apart.
    dtype = jnp.promote_types(dtype, jnp.float32)
    return jnp.linspace(0, 1, length, dtype=dtype)


def _first_bad(
    roll: AbstractRoll,
    transition: AbstractTransition,
    start: Array,
    dxs: Array,
    moves: Mask | None,
) -> Int[Array, ""]:
    """Returns how many states are finite in a row, from `start` on."""

    def turn(carry, inputs):
        state, finite, count = carry
        step = lambda state, dx: roll.step(transition, state, None, dx)[0]  # noqa: E731
        state = moved(step, state, *inputs)
        finite &= jnp.all(jnp.isfinite(state))
        return (state, finite, count + finite), None

    finite = jnp.all(jnp.isfinite(start))
    carry = start, finite, finite.astype(int)
    return lax.scan(turn, carry, (dxs, moves))[0][2]
