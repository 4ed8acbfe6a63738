"""theta_0, dxs -> thetas: the interface."""

import abc
from collections.abc import Callable
from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, PyTree

from .._transition import AbstractTransition
from .._types import Mask, Output, Weights


# (states, context) of some steps -> their outputs, each with a leading axis of time.
Read = Callable[[Float[Array, "t p"], PyTree[Array]], Output]


class Fresh(NamedTuple):
    """Where new sequences begin among the steps of a roll, and at which states.

    - `begins`: boolean, `(time,)`; such a step also moves.
    - `states`: of shape `(time, state)`; those of other steps are not used.
    """

    begins: Mask
    states: Float[Array, "t p"]


class AbstractRoll(eqx.Module):
    """Takes a transition through a sequence. All rolls give the same numbers.

    What is wanted of each state is handed in as a function, so a roll need never hold the
    states of all steps at once. Where a transition can be reduced to a few coefficients,
    the model rolls those, and the states below are coefficients.
    """

    @property
    def reduces(self) -> bool:
        """Whether coefficients may be rolled in place of the weights."""
        return True

    @abc.abstractmethod
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
        """Reads something off the first state, and off the state after every step.

        **Arguments:**

        - `transition`: the recurrence.
        - `theta`: the state before the first step, of shape `(state,)`.
        - `dxs`: the drive of each step, of shape `(time, drive)`, zero where none moves.
        - `moves`: boolean, `(time,)`; where False the state stays as it is. `None` says
            that every step moves, which is cheaper.
        - `read`: `(states, context) -> outputs`, all with a leading axis of time; called
            with some of the states or with all. A pytree, if arrays that it holds are to
            be handed on to other devices.
        - `context`: what else `read` needs, arrays with a leading axis of `time + 1`.
        - `fresh`: the steps after which the state is a new sequence's first one, whatever
            it was before. By default none.

        **Returns:** the outputs, with a leading axis of `time + 1`, and the last state.

        **Raises:** `ValueError` for `fresh` in a roll that goes by powers of one A.
        """

    @abc.abstractmethod
    def last(
        self,
        transition: AbstractTransition,
        theta: Weights,
        dxs: Float[Array, "t c"],
        moves: Mask | None,
    ) -> Weights:
        """Returns the last state alone, of shape `(state,)`; arguments as above."""

    def step(
        self,
        transition: AbstractTransition,
        theta: Weights,
        hidden: PyTree,
        dx: Float[Array, " c"],
    ) -> tuple[Weights, PyTree]:
        """Takes a single step, for streaming, of the weights themselves.

        **Arguments:** the state, `(state,)`; what the transition keeps beside it; the
        drive, `(drive,)`.

        **Returns:** the state and what is kept, after the step.
        """
        return transition.advance(theta, hidden, dx)


class AbstractParallelRoll(AbstractRoll):
    """A roll that makes the states of all steps at once, and holds them."""

    @abc.abstractmethod
    def states(
        self,
        transition: AbstractTransition,
        theta: Weights,
        dxs: Float[Array, "t c"],
        fresh: Fresh | None = None,
    ) -> Float[Array, "t p"]:
        """Returns the state after each step, of shape `(time, state)`; all move."""

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
        seen = None
        if moves is not None:
            # With the steps that move in front, time does not vary for the rest.
            order = jnp.argsort(~moves, stable=True)
            dxs, fresh = jax.tree.map(lambda array: array[order], (dxs, fresh))
            seen = jnp.concatenate([jnp.zeros(1, int), jnp.cumsum(moves)])
        after = self.states(transition, theta, dxs, fresh)
        states = jnp.concatenate([theta[None], after])
        if seen is not None:
            states = states[seen]
        return read(states, context), states[-1]

    def last(
        self,
        transition: AbstractTransition,
        theta: Weights,
        dxs: Float[Array, "t c"],
        moves: Mask | None,
    ) -> Weights:
        return self(transition, theta, dxs, moves, lambda states, _: (), ())[1]


def advance(
    transition: AbstractTransition, theta: Weights, dx: Float[Array, " c"]
) -> Weights:
    """Takes a step of a transition, as a function of its parameters."""
    return transition.step(theta, dx)


def moved(
    step: Callable[[Weights, Array], Weights],
    theta: Weights,
    inputs: Array,
    moves,
    fresh: Fresh | None = None,
) -> Weights:
    """Returns `step(theta, inputs)`, or `theta` where the step does not move, or a state
    that is `fresh`.
    """
    after = step(theta, inputs)
    if fresh is not None:
        after = jnp.where(fresh.begins, fresh.states, after)
    return after if moves is None else jnp.where(moves, after, theta)


def after_a_rest(
    dxs: Float[Array, "t c"], moves: Mask | None, fresh: Fresh | None = None
) -> tuple[Float[Array, "s c"], Bool[Array, " s"], Fresh | None]:
    """Puts a step that does not move before the others: after it the first state is read
    like any other.
    """
    moves = jnp.ones(len(dxs), bool) if moves is None else moves
    return jax.tree.map(
        lambda array: jnp.concatenate([jnp.zeros_like(array[:1]), array]),
        (dxs, moves, fresh),
    )


def refuse_fresh(roll: AbstractRoll, fresh: Fresh | None) -> None:
    """Raises where a sequence begins anew, in a roll that goes by powers of one A."""
    if fresh is not None:
        raise ValueError(
            f"`{roll}` goes by powers of one A, and cannot begin anew at a `reset`. Use "
            "`AutoRoll`, `SequentialRoll` or `AssociativeRoll`; `last` and `final` can "
            "with every roll."
        )


def powers(
    transition: AbstractTransition, columns: Float[Array, "n p"], count: int
) -> tuple[Float[Array, "s n p"], list[PyTree[Array]]]:
    """Returns `A^s column` for s below `count`, a power of two, by doubling; and the gains
    of 1, 2, 4, ... `count` steps.
    """
    gains = doubled(transition, count)
    act = jax.vmap(transition.act, (None, 0))
    columns = columns[None]
    for gain in gains[:-1]:
        rows = columns.reshape(-1, columns.shape[-1])
        later = act(gain, rows).reshape(columns.shape)
        columns = jnp.concatenate([columns, later])
    return columns, gains


def doubled(transition: AbstractTransition, most: int) -> list[PyTree[Array]]:
    """Returns the gains of 1, 2, 4, ... steps, up to `most`."""
    if transition.timed:
        raise ValueError(
            "A roll by powers of one A cannot go in `ContinuousTime`, where each step has "
            "a power of its own. Use `AutoRoll`, `SequentialRoll` or `AssociativeRoll`."
        )
    gains = [transition.gain()]
    while 2 ** len(gains) <= most:
        gains.append(transition.compose(gains[-1], gains[-1]))
    return gains


def advanced(
    transition: AbstractTransition, gains: list[PyTree[Array]], theta: Weights, count
) -> Weights:
    """Returns the state after `count` steps without a drive, known only when they are
    taken. The gains are those of `doubled`.
    """
    for bit, gain in enumerate(gains):
        after = transition.act(gain, theta)
        theta = jnp.where(count >> bit & 1, after, theta)
    return theta
