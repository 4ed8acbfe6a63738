"""xs -> features -> ys: models on top of each other."""

from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.nn as jnn
import jax.numpy as jnp
import jax.random as jr
from jaxtyping import Array, Float

from ._abstract_model import AbstractModel, check_model
from ._check import (
    check_array,
    check_finite,
    check_integer,
    check_mask,
    check_next,
)
from ._drive import hold
from ._precision import widened
from ._types import (
    BoolLike,
    Key,
    Mask,
    Observation,
    Observations,
    Output,
    ScalarLike,
    State,
    Times,
)


class StackedLayer(eqx.Module):
    r"""$h + a \odot \sigma(b)$, where $a, b$ are linear in what a model reads of $h$ up to
    now: a recurrence, gated mixing of channels (GLU, Dauphin et al. 2017, arXiv
    1612.08083) and a residual path, as in stacks of state-space models (Smith et al. 2023,
    arXiv 2208.04933). The model sees normalised features.
    """

    norm: eqx.nn.LayerNorm
    model: AbstractModel
    mix: eqx.nn.Linear

    def __init__(self, model: AbstractModel, width: int, *, key: Key):
        """**Arguments:**

        - `model`: the recurrence, with `width` inputs and `width` outputs, as a `WARP`.
        - `width`: how many features there are.
        - `key`: for the initial weights of the mixing.

        **Raises:** `TypeError` for what is no model, or a `width` that is no whole number;
        `ValueError` for one below 1.
        """
        call = "StackedLayer(model, width)"
        self.model = check_model(call, model)
        width = check_integer(call, "width", width, 1)
        self.norm = eqx.nn.LayerNorm(width)
        self.mix = eqx.nn.Linear(width, 2 * width, key=key)

    def add(self, h: Float[Array, " w"], y: Float[Array, " w"]) -> Float[Array, " w"]:
        """Returns the features after the layer, of those before it and the read-out, all of
        shape `(width,)`.

        **Raises:** `ValueError` for a read-out of another shape.
        """
        if getattr(y, "shape", None) != h.shape:
            raise ValueError(
                "`StackedLayer(model, width)` needs a model with as many outputs as "
                f"features, {h.shape[0]}; got {y!r:.80}."
            )
        a, b = jnp.split(self.mix(jnn.gelu(y)), 2)
        return h + a * jnn.sigmoid(b)


class Stacked(AbstractModel):
    """Layers of models, each reading the features that the one below makes of every step,
    and a model on top that gives the outputs.

    Each layer keeps a state of its own; `init`, `step` and `read` take an observation
    through all of them, so a stack streams and forecasts as one model does. A `State` has
    the top's `theta`, and the states of all layers, the top's last, as `hidden`.
    """

    embed: Callable
    layers: tuple[StackedLayer, ...]
    model: AbstractModel

    def __init__(
        self,
        embed: Callable,
        layers: tuple[StackedLayer, ...] | list[StackedLayer],
        model: AbstractModel,
    ):
        """**Arguments:**

        - `embed`: `(input,) -> (width,)`, the features of one observation, as an
            `equinox.nn.Linear`; trained.
        - `layers`: the lower layers, the first one first, at least one.
        - `model`: the top, which reads the features and gives the outputs, as a `WARP`.

        **Raises:** `ValueError` for no layer at all, `TypeError` for a part of another
        kind.
        """
        call = "Stacked(embed, layers, model)"
        if not callable(embed):
            raise TypeError(
                f"`{call}` needs a function for `embed`; got {embed!r:.80}."
            )
        if not layers:
            raise ValueError(f"`{call}` needs at least one layer; got none.")
        for layer in layers:
            if not isinstance(layer, StackedLayer):
                raise TypeError(
                    f"`{call}` needs `StackedLayer`s; got {type(layer).__name__}."
                )
        self.embed, self.layers = embed, tuple(layers)
        self.model = check_model(call, model)

    def __call__(
        self,
        xs: Observations,
        ts: Times | None = None,
        queries: Times | None = None,
        mask: Mask | None = None,
        *,
        state: State | None = None,
        reset: Mask | None = None,
        key: Key | None = None,
    ) -> Output:
        """Reads the output after every step. Arguments and errors are those of a call of
        a `WARP`; the lower layers are read at the times of the observations.
        """
        given = {"state": state, "reset": reset, "key": key}
        return self.run(xs, ts, queries, mask, **given)[0]

    def run(
        self,
        xs: Observations,
        ts: Times | None = None,
        queries: Times | None = None,
        mask: Mask | None = None,
        *,
        state: State | None = None,
        reset: Mask | None = None,
        key: Key | None = None,
    ) -> tuple[Output, State]:
        call = "stacked(xs, ts, queries, mask)"
        keys = self._keys(key)
        more = _resets(reset)
        features, states = self._features(call, xs, ts, mask, state, keys, more)
        before = None if state is None else state.hidden[-1]
        given = {"state": before, "key": keys[-1]} | more
        outputs, top = self.model.run(features, ts, queries, mask, **given)
        return outputs, _state([*states, top], _latest(xs, mask, state))

    def final(
        self,
        xs: Observations,
        ts: Times | None = None,
        *,
        mask: Mask | None = None,
        state: State | None = None,
        reset: Mask | None = None,
        key: Key | None = None,
    ) -> State:
        """Returns the states after the last valid step. Arguments are those of a call."""
        call = "stacked.final(xs, ts, mask)"
        keys = self._keys(key)
        more = _resets(reset)
        features, states = self._features(call, xs, ts, mask, state, keys, more)
        before = None if state is None else state.hidden[-1]
        given = {"state": before, "key": keys[-1]} | more
        top = self.model.final(features, ts, mask=mask, **given)
        return _state([*states, top], _latest(xs, mask, state))

    def init(
        self, x: Observation, t: ScalarLike = 0.0, *, key: Key | None = None
    ) -> State:
        """Returns the states at a first observation. Arguments and errors are those of a
        `WARP`.
        """
        call = "stacked.init(x, t)"
        x = widened(check_array(call, "x", x, 1))
        self._check_input(call, x)
        h, states, keys = self.embed(x), [], self._keys(key)
        for layer, own in zip(self.layers, keys):
            state = layer.model.init(layer.norm(h), t, key=own)
            h = layer.add(h, layer.model.read(state, state.t))
            states.append(state)
        states.append(self.model.init(h, t, key=keys[-1]))
        return _state(states, x)

    def step(
        self,
        state: State,
        x: Observation,
        t: ScalarLike,
        *,
        reset: BoolLike | None = None,
        key: Key | None = None,
    ) -> State:
        """Takes the next observation through all layers. Arguments and errors are those of
        a `WARP`.
        """
        x = widened(check_next("stacked.step(state, x, t)", x, state.x))
        h, states = self.embed(x), []
        begun = [
            {} if reset is None else {"reset": reset, "key": own}
            for own in self._keys(key)
        ]
        for layer, own, more in zip(self.layers, state.hidden, begun):
            after = layer.model.step(own, layer.norm(h), t, **more)
            h = layer.add(h, layer.model.read(after, after.t))
            states.append(after)
        states.append(self.model.step(state.hidden[-1], h, t, **begun[-1]))
        return _state(states, x)

    def read(self, state: State, time: ScalarLike) -> Output:
        """Reads the output of the top layer at any time."""
        return self.model.read(state.hidden[-1], time)

    def _check_input(self, call: str, x) -> None:
        """Raises unless there are features of observations like `x`."""
        try:
            eqx.filter_eval_shape(lambda embed, x: embed(x), self.embed, x)
        except (TypeError, ValueError) as error:
            raise ValueError(
                f"`{call}` got observations of {x.shape[0]} channels, which `embed` does "
                f"not take: {error}"
            ) from error

    def _keys(self, key: Key | None) -> list[Key | None]:
        count = len(self.layers) + 1
        return [None] * count if key is None else list(jr.split(key, count))

    def _features(self, call: str, xs, ts, mask, state, keys, more):
        """Returns the features that the top sees, and the last states below it, of layers
        that are given `more`.
        """
        xs = check_array(call, "xs", xs, 2, "Use `jax.vmap` for a batch.")
        if mask is not None:
            mask = check_mask(call, mask, len(xs))
        xs = check_finite(call, "xs", widened(xs), mask)
        self._check_input(call, jax.ShapeDtypeStruct(xs.shape[1:], xs.dtype))
        # Padding may hold NaN, which not even a gradient of zero may pass.
        xs = hold(xs, mask, None if state is None else state.x)
        hs, states = jax.vmap(self.embed)(xs), []
        for i, (layer, own) in enumerate(zip(self.layers, keys)):
            before = None if state is None else state.hidden[i]
            seen = jax.vmap(layer.norm)(hs)
            given = {"mask": mask, "state": before, "key": own} | more
            read, after = layer.model.run(seen, ts, **given)
            hs = jax.vmap(layer.add)(hs, read)
            states.append(after)
        return hs, states


def _latest(xs, mask: Mask | None, state: State | None) -> Observation:
    """Returns the latest valid observation."""
    return widened(hold(xs, mask, None if state is None else state.x)[-1])


def _state(states: list[State], x: Observation) -> State:
    top = states[-1]
    return State(top.theta, x, top.t, hidden=tuple(states))


def _resets(reset: Mask | None) -> dict[str, Any]:
    """Returns what models are given of resets; not all of them know such."""
    return {} if reset is None else {"reset": reset}
