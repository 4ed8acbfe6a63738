"""xs -> ys, by whatever model: the interface that forecasts and baselines share."""

import abc
from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax.lax as lax
from jaxtyping import Array, Bool, Float

from ._types import (
    Key,
    Mask,
    Observation,
    Observations,
    Output,
    ScalarLike,
    State,
    Times,
)


class AbstractModel(eqx.Module):
    """What `forecast`, `unroll` and the experiments ask of a sequence model.

    `WARP` is one; a recurrent baseline that gives these methods is another. The state may
    be any PyTree.
    """

    @abc.abstractmethod
    def __call__(
        self,
        xs: Observations,
        ts: Times | None = None,
        queries: Times | None = None,
        mask: Mask | None = None,
        *,
        state: State | None = None,
        key: Key | None = None,
    ) -> Output:
        """Reads the output after every step, with a leading axis of time."""

    @abc.abstractmethod
    def final(
        self,
        xs: Observations,
        ts: Times | None = None,
        *,
        mask: Mask | None = None,
        state: State | None = None,
        key: Key | None = None,
    ) -> State:
        """Returns the state after the last valid step."""

    def run(
        self,
        xs: Observations,
        ts: Times | None = None,
        queries: Times | None = None,
        mask: Mask | None = None,
        *,
        state: State | None = None,
        key: Key | None = None,
    ) -> tuple[Output, State]:
        """Reads the output after every step, and goes on from where it is given a `state`:
        what training on a stream needs, window after window.

        **Arguments:** those of a call.

        **Returns:** what a call does, and what `final` does, from one pass.
        """
        outputs = self(xs, ts, queries, mask, state=state, key=key)
        return outputs, self.final(xs, ts, mask=mask, state=state, key=key)

    def last(
        self,
        xs: Observations,
        ts: Times | None = None,
        query: ScalarLike | None = None,
        mask: Mask | None = None,
        *,
        state: State | None = None,
        key: Key | None = None,
        **given: Any,
    ) -> Output:
        """Reads the output after the last valid step, and computes no other output.

        **Arguments:** those of a call, but for

        - `query`: when to read, a scalar; by default the time of the last valid step.
        - `given`: what else the model's `final` takes, as the `reset` of a `WARP`.

        **Returns:** an array of shape `(out,)`, or a distribution over one.
        """
        final = self.final(xs, ts, mask=mask, state=state, key=key, **given)
        return self.read(final, final.t if query is None else query)

    def compact(
        self,
        xs: Observations,
        ts: Times | None = None,
        *,
        mask: Mask | None = None,
        state: State | None = None,
        key: Key | None = None,
    ) -> tuple["AbstractModel", State]:
        """Returns a model and its state after the last valid step that are cheap to step
        and to read many times; by default this model, and what `final` returns.
        """
        return self, self.final(xs, ts, mask=mask, state=state, key=key)

    def seen(self, xs: Float[Array, "..."]) -> Bool[Array, "..."] | None:
        """Returns which numbers of observations were seen, of the same shape, or `None`,
        the default, for a model that takes no gaps: see `Gaps`.
        """
        return None

    def scan(
        self, turn: Callable[[Any, Any, Any], tuple[Any, Any]], state: Any, inputs: Any
    ) -> tuple[Any, Any]:
        """Scans a roll-out; a model whose steps allow it makes the backward pass cheaper.

        **Arguments:**

        - `turn`: `(model, state, inputs) -> state, output`; calls `model.step` once, and
            closes over nothing that is differentiated.
        - `state`, `inputs`: the state to begin at; arrays with a leading axis of time.

        **Returns:** the last state, and the outputs with a leading axis of time.
        """
        return lax.scan(lambda *turn_inputs: turn(self, *turn_inputs), state, inputs)

    @abc.abstractmethod
    def init(
        self, x: Observation, t: ScalarLike = 0.0, *, key: Key | None = None
    ) -> State:
        """Returns the state at a first observation `x`, `(input,)`, at time `t`."""

    @abc.abstractmethod
    def step(self, state: State, x: Observation, t: ScalarLike) -> State:
        """Takes the next observation `x`, `(input,)`, at time `t`."""

    @abc.abstractmethod
    def read(self, state: State, time: ScalarLike) -> Output:
        """Reads the output of a state at a time, of shape `(out,)`."""


def check_model(call: str, model) -> AbstractModel:
    """Returns `model`; raises unless it is one."""
    if not isinstance(model, AbstractModel):
        raise TypeError(
            f"`{call}` needs a model, as a `WARP`; got {type(model).__name__}."
        )
    return model
