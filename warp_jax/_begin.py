"""xs -> the state before a sequence and what drives it, checked: what calls share."""

import dataclasses
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
    check_seen,
    check_some_valid,
    check_steps,
)
from ._drive import advancing, counting, hold, hold_seen
from ._precision import matched, widened
from ._reading import Reader, Thetas
from ._resets import at_last, check_reset, fresh_states, Segments, weights
from ._roll import AbstractRoll, Fresh, moved, Read
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
    driven: Float[Array, "t c"]
    moves: Mask | None
    continued: bool
    kept: Callable[[Array], PyTree]
    fresh: Fresh | None
    segments: Segments | None
    weights: Callable[[Reduction, Segments, Array], Weights]

    @property
    def dxs(self) -> Float[Array, "s c"]:
        """The drive of the steps that are rolled."""
        # A sequence begins at its first valid step, so the first one never moves.
        return self.driven if self.continued else self.driven[1:]

    @property
    def thetas(self) -> Thetas:
        """What makes weights of rolled states."""
        return Thetas(self.reduction, None if self.segments is None else self.weights)

    def after(self, last: Float[Array, " m"]) -> State:
        """Returns the state after the sequence, of the last rolled state."""
        x, t = self.held[0][-1], self.held[1][-1]
        return State(self.thetas(last), x, t, self.memory, self.kept(last))

    def roll(self, read: Read, context: PyTree[Array]) -> tuple[Output, Array]:
        """Returns an output for each step of the sequence, and the last rolled state."""
        if self.continued:
            # The state continued from is read too, and that output dropped.
            context = jax.tree.map(lambda a: jnp.concatenate([a[:1], a]), context)
        if len(self.dxs):
            parts = self.model.transition, self.start, self.dxs, self.moves
            more = () if self.fresh is None else (self.fresh,)
            outputs, last = self.model.roll(*parts, read, context, *more)
        else:
            outputs, last = read(self.start[None], context), self.start
        if self.continued:
            outputs = jax.tree.map(lambda a: a[1:], outputs)
        return outputs, last

    def read(self, call: str, queries, footprint: int) -> tuple[Output, Array]:
        """Returns what the model reads of every step, and the last rolled state.

        - `footprint`: numbers that reading one state of weights holds.
        """
        held_xs, held_ts = self.held
        if queries is None:
            # Padding may have no time: it is read at the latest one known.
            queries = jnp.where(jnp.isfinite(self.ts), self.ts, held_ts)
        else:
            queries = check_array(call, "queries", queries, 1).astype(self.ts.dtype)
            check_length(call, "queries", queries, len(held_ts), "the steps of `xs`")
            queries = check_finite(call, "queries", queries)
        decoder, coordinates = self.model.decoder, self.model.coordinates
        whole = self.reduction is None or self.segments is not None
        if not whole:
            footprint = decoder.footprint
        thetas = None if self.segments is None else self.thetas
        reader = Reader(decoder, coordinates, thetas, footprint, whole)
        outputs, last = self.roll(reader, (held_xs, held_ts, queries, self.segments))
        return self.check(call, outputs, last), last

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
        length, continued = len(self.held[0]), self.continued

        def first_bad(*operands):
            # A state continued from comes before the first step.
            step = _first_bad(not continued, *operands) - continued
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
        # Not `dxs`, which would be a second copy of the drive.
        operands = *operands, self.start, self.driven, self.moves, self.fresh
        return check_steps(outputs, bad, first_bad, operands, length, message)


def begin(
    model, call: str, xs, ts, mask, state, key, reset=None, *, last: bool = False
) -> Begun:
    """Returns all that a roll needs, checked; of the `last` state alone where only that is
    wanted.
    """
    xs = check_array(call, "xs", xs, 2, "Use `jax.vmap(model)` for a batch.")
    length = xs.shape[0]
    if length == 0:
        raise ValueError(f"`{call}` needs at least one step; got shape {xs.shape}.")
    model.check_input(call, xs[0])
    if mask is not None:
        mask = check_mask(call, mask, length)
        if state is None:
            mask = check_some_valid(call, mask)
    xs = widened(xs)
    model = matched(call, model, "xs", xs)
    if state is not None:
        state = matched(call, state, "xs", xs)
    if reset is not None:
        reset = check_reset(call, reset, length, ts)
        # The first step of all begins a sequence in any case.
        reset = reset & advancing(mask, length, state is not None)
    seen = model.seen(xs)
    counts = mask if seen is None else counting(mask, seen)
    xs = check_seen(call, "xs", xs, seen, counts)
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
        passed = hold(ts, mask)
        if state is not None:
            passed = jnp.append(state.t, hold(ts, mask, state.t))
        ts = check_increasing(call, ts, passed, reset)
    continued = state is not None
    known = xs
    if seen is not None:
        before = jnp.zeros_like(xs[0]) if state is None else state.x
        known = hold_seen(xs, counting(mask, seen), before, reset)
    if reset is not None and last:
        # What was before the last reset leaves no trace in the last state.
        mask = jnp.ones(length, bool) if mask is None else mask
        starts = (None, None) if state is None else (state.x, state.t)
        steps = hold(known, mask, starts[0]), hold(ts, mask, starts[1])
        segments = Segments.of(reset, *steps)
        state, mask, key = at_last(call, model, segments, state, mask, key)
        reset = None
    if state is None:
        held = hold(known, mask), hold(ts, mask)
        state = model.first(held[0][0], held[1][0], key)
    else:
        held = hold(known, mask, state.x), hold(ts, mask, state.t)
    more = () if reset is None else (reset,)
    driven, memory = model.drive(state, xs, ts, mask, *more)
    moves = None if mask is None else advancing(mask, length, continued)
    if moves is not None:
        # Where a step is padding its drive is arbitrary, and must not reach a gradient.
        driven = jnp.where(moves[:, None], driven, 0)
        moves = moves if continued else moves[1:]
    shared = model.initial.shared and not continued
    reduction, rolled = _reduce(call, model, state, shared)
    fresh = segments = None
    if reset is not None:
        segments = Segments.of(reset, *held)
        # Each sequence has a span of its own, so that the weights are formed and read.
        rolled = eqx.tree_at(lambda m: m.decoder, rolled, model.decoder)
        steps = Segments(reset, jnp.arange(length), *held)
        if not continued:
            steps = jax.tree.map(lambda array: array[1:], steps)
        fresh = fresh_states(model, steps, key, reduction is not None)
    start = state.theta if reduction is None else reduction.start
    kept = functools.partial(model.transition.kept, state.hidden)
    return Begun(
        rolled,
        reduction,
        start,
        memory,
        ts,
        held,
        driven,
        moves,
        continued,
        kept,
        fresh,
        segments,
        eqx.Partial(weights, model, key),
    )


def _reduce(
    call: str, model, state: State, shared: bool
) -> tuple[Reduction | None, Any]:
    """Returns the recurrence in coefficients, if there is one, and the model of it, of a
    state that is `shared` by all sequences or not.
    """
    if not model.roll.reduces:
        if state.hidden is not None:
            raise ValueError(
                f"`{call}` has {model.roll}, which works on the weights, and a "
                f"{type(model.transition).__name__}, which does not. Use `AutoRoll`."
            )
        return None, _prepared(model)
    reduction = model.transition.reduce(state.theta, state.hidden)
    if reduction is None:
        return None, _prepared(model)
    span = dataclasses.replace(reduction.span, shared=shared)
    reduction = dataclasses.replace(reduction, span=span)
    rolled = eqx.tree_at(
        lambda model: (model.transition, model.decoder),
        model,
        (reduction.transition.prepared(), model.decoder.spanned(span)),
    )
    return reduction, rolled


def _prepared(model):
    """Returns the model with what all steps of its transition share made once."""
    transition = model.transition.prepared()
    if transition is model.transition:
        return model
    return eqx.tree_at(lambda model: model.transition, model, transition)


def default_times(length: int, dtype) -> Times:
    """Returns times spread evenly over [0, 1], of shape `(length,)`."""
    # Half precision tells no more than some hundred times apart.
    dtype = jnp.promote_types(dtype, jnp.float32)
    return jnp.linspace(0, 1, length, dtype=dtype)


def _first_bad(
    skip: int,
    roll: AbstractRoll,
    transition: AbstractTransition,
    start: Array,
    driven: Array,
    moves: Mask | None,
    fresh: Fresh | None,
) -> Int[Array, ""]:
    """Returns how many states are finite in a row, from `start` on; the first `skip` of
    what is `driven` move nothing.
    """

    def turn(i, carry):
        state, finite, count = carry
        # Taken from where they lie: a scan would put a copy of them in another order.
        at = lambda array, i: lax.dynamic_index_in_dim(array, i, keepdims=False)  # noqa: E731
        others = jax.tree.map(lambda array: at(array, i), (moves, fresh))
        inputs = at(driven, skip + i), *others
        step = lambda state, dx: roll.step(transition, state, None, dx)[0]  # noqa: E731
        state = moved(step, state, *inputs)
        finite &= jnp.all(jnp.isfinite(state))
        return state, finite, count + finite

    finite, steps = jnp.all(jnp.isfinite(start)), len(driven) - skip
    carry = start, finite, finite.astype(int)
    # The loop's body could not be traced where there is no step.
    return lax.fori_loop(0, steps, turn, carry)[2] if steps else carry[2]
