"""xs -> ys: drive, initial state, roll and decoder, joined."""

from collections.abc import Callable
from typing import Any

import jax.numpy as jnp
import jax.random as jr
from jaxtyping import Array, Bool, Float

from ._abstract_model import AbstractModel
from ._begin import begin, Begun
from ._check import (
    check_array,
    check_finite,
    check_flag,
    check_increasing,
    check_next,
    check_seen,
    is_concrete,
)
from ._coordinates import AbstractCoordinates, TimeCoordinate
from ._decoder import AbstractDecoder
from ._drive import AbstractDrive, filled, Increments
from ._initial import AbstractInitial
from ._precision import matched, widened
from ._resets import switch
from ._roll import AbstractRoll, AutoRoll, scan_driven
from ._transition import AbstractTransition
from ._types import (
    BoolLike,
    Key,
    Mask,
    Observation,
    Observations,
    Output,
    Scalar,
    ScalarLike,
    State,
    Times,
)


class WARP(AbstractModel):
    """Weight-space Adaptive Recurrent Prediction (arXiv 2506.01153).

    The state is the flattened weights of an auxiliary network. It moves linearly with what
    drives it, `theta_t = A theta_{t-1} + B dx_t` from `theta_0 = phi(x_0)`, and is read by
    running the network it is: `y_t = f_{theta_t}(tau_t)`.

    One sequence at a time: use `jax.vmap` for a batch. In forecasting the output at step t
    predicts the next observation, read at the next one's coordinate.
    """

    decoder: AbstractDecoder
    transition: AbstractTransition
    initial: AbstractInitial
    drive: AbstractDrive
    coordinates: AbstractCoordinates
    roll: AbstractRoll

    def __init__(
        self,
        *,
        decoder: AbstractDecoder,
        transition: AbstractTransition,
        initial: AbstractInitial,
        drive: AbstractDrive = Increments(),
        coordinates: AbstractCoordinates = TimeCoordinate(),
        roll: AbstractRoll = AutoRoll(),
    ):
        """**Arguments:**

        - `decoder`: reads an output off a state, as `NetworkDecoder(network)`.
        - `transition`: A and B, as `LowRankTransition(decoder.state_size, ...)`.
        - `initial`: phi, as `Hypernetwork` or `LearntInitial`.
        - `drive`: what drives the recurrence; by default increments of the observations.
        - `coordinates`: where the decoder reads; by default the time itself.
        - `roll`: how the recurrence is computed, by default as suits the transition and the
            length; never changes the numbers.

        **Raises:** `ValueError` where the three parts disagree on the size of the state.
        """
        sizes = decoder.state_size, transition.state_size, initial.state_size
        if len(set(sizes)) > 1:
            raise ValueError(
                "`WARP(decoder, transition, initial)` needs one state size; got "
                "{} from the decoder, {} from the transition, {} from the initial "
                "state.".format(*sizes)
            )
        self.decoder = decoder
        self.transition = transition
        self.initial = initial
        self.drive = drive
        self.coordinates = coordinates
        self.roll = roll

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
        """Reads the output after every step.

        **Arguments:**

        - `xs`: observations, of shape `(time, input)`.
        - `ts`: their times, `(time,)`, never decreasing; by default evenly over [0, 1].
        - `queries`: when to read each step's output, `(time,)`; by default `ts`. To
            predict the next observation, read at the next one's time.
        - `mask`: boolean, `(time,)`. Where False the step is padding: it moves nothing,
            may hold NaN, and its output is the latest state's. By default all count.

        Other arguments:

        - `state`: what to continue from, as `final` returned it: then `xs[0]` is the next
            observation after it, and `ts` must be given. By default `xs[0]` begins a new
            sequence.
        - `reset`: boolean, `(time,)`: where True the step's observation is the first of a
            new sequence, as where sequences are packed one after another or an episode
            ends. The reset acts *before* the step: the state there is the initial one,
            `phi(x_t)`. Then `ts` must be given, and may go back there. Rolls by powers of
            A, `ChunkedRoll` and `ConvolutionRoll`, refuse it here.
        - `key`: for parts random in training, as `NoisyInitial` and `ModeDropout`.

        **Returns:** an array of shape `(time, out)`, or a distribution over one.

        **Raises:** `ValueError` or `TypeError` for arrays of a wrong shape or dtype, times
        that decrease, and values that are not finite, a state that overflows among them.
        Inside `jit` what the values alone tell is raised through `equinox.error_if`.
        """
        return self._read(xs, ts, queries, mask, state, reset, key)[0]

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
        outputs, last, begun = self._read(xs, ts, queries, mask, state, reset, key)
        if reset is None:
            return outputs, begun.after(last)
        # What is kept beside the weights is that of the last sequence.
        given = {"mask": mask, "state": state, "reset": reset, "key": key}
        return outputs, self.final(xs, ts, **given)

    def _read(
        self, xs, ts, queries, mask, state, reset, key
    ) -> tuple[Output, Array, Begun]:
        """Returns the outputs, the last rolled state, and what it was rolled from."""
        call = "model(xs, ts, queries, mask)"
        begun = begin(self, call, xs, ts, mask, state, key, reset)
        return *begun.read(call, queries, self.decoder.footprint), begun

    def weights(
        self,
        xs: Observations,
        ts: Times | None = None,
        mask: Mask | None = None,
        *,
        state: State | None = None,
        reset: Mask | None = None,
        key: Key | None = None,
    ) -> Float[Array, "t p"]:
        """Returns the state after every step, of shape `(time, state)`.

        Arguments and errors are those of a call. `weights(xs)[0]` is `initial(xs[0])`.
        """
        call = "model.weights(xs, ts, mask)"
        begun = begin(self, call, xs, ts, mask, state, key, reset)
        thetas, last = begun.roll(begun.thetas.all, begun.segments)
        return begun.check(call, thetas, last)

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
        """Returns the state after the last valid step: to `read`, to `step` on from, or to
        continue a batch call from. Arguments and errors are those of a call, and every
        roll takes `reset`: only the last sequence counts.
        """
        call = "model.final(xs, ts, mask)"
        begun = begin(self, call, xs, ts, mask, state, key, reset, last=True)
        return begun.after(begun.last(call).theta)

    def compact(
        self,
        xs: Observations,
        ts: Times | None = None,
        *,
        mask: Mask | None = None,
        state: State | None = None,
        reset: Mask | None = None,
        key: Key | None = None,
    ) -> tuple[AbstractModel, State]:
        """Returns a model and its state after the last valid step that are cheap to step
        and to read many times, and give the numbers of this model.

        With a transition that moves in a few directions the state is the coefficients of
        these, and the decoder reads them. Arguments and errors are those of a call.
        """
        call = "model.compact(xs, ts, mask)"
        begun = begin(self, call, xs, ts, mask, state, key, reset, last=True)
        return begun.model, begun.last(call)

    def scan(
        self, turn: Callable[[Any, Any, Any], tuple[Any, Any]], state: Any, inputs: Any
    ) -> tuple[Any, Any]:
        return scan_driven(self, turn, state, inputs)

    def init(
        self, x: Observation, t: ScalarLike = 0.0, *, key: Key | None = None
    ) -> State:
        """Returns the state at a first observation, from which to stream.

        **Arguments:**

        - `x`: the first observation, of shape `(input,)`.
        - `t`: its time, a scalar; by default 0.
        - `key`: for parts that are random in training; by default they are not.

        **Raises:** `ValueError` or `TypeError` for an observation or a time of another
        shape, dtype or number of channels, or that is not finite.
        """
        call = "model.init(x, t)"
        x = widened(check_array(call, "x", x, 1))
        seen = self.seen(x)
        x = check_seen(call, "x", x, seen)
        self.check_input(call, x)
        t = check_finite(call, "t", _time(call, "t", t, x))
        model = matched(call, self, "x", x)
        return model.first(filled(x, seen, jnp.zeros_like(x)), t, key)

    def step(
        self,
        state: State,
        x: Observation,
        t: ScalarLike,
        *,
        reset: BoolLike | None = None,
        key: Key | None = None,
    ) -> State:
        """Takes the next observation. Streaming gives the numbers of a batch call.

        **Arguments:**

        - `state`: as `init`, `step` or `final` returned it.
        - `x`: the observation, of shape `(input,)`.
        - `t`: its time, a scalar, not before `state.t` unless it resets.
        - `reset`: whether `x` is the first observation of a new sequence, a boolean: then
            the state is that of `init`. By default it never is.
        - `key`: of a new sequence, for parts that are random in training.

        **Raises:** as `init`; also for a time before `state.t`. What the values alone tell
        is raised where they are at hand, and not inside `jit`: a stream runs in scans.
        """
        call = "model.step(state, x, t)"
        x = widened(check_next(call, x, state.x))
        model = matched(call, self, "x", x)
        state = matched(call, state, "x", x)
        t = _time(call, "t", t, x)
        if reset is not None:
            reset = check_flag(call, "reset", reset)
        # Streams run inside scans, where a check of values would cost more than the step.
        seen = self.seen(x)
        if is_concrete(x, t, state.t):
            x = check_seen(call, "x", x, seen)
            t = check_finite(call, "t", t)
            if reset is None or (is_concrete(reset) and not reset):
                t = check_increasing(call, t, jnp.stack([state.t, t]))
        dx, memory = model.drive.step(state, x, t)
        theta, hidden = model.roll.step(model.transition, state.theta, state.hidden, dx)
        after = State(theta, filled(x, seen, state.x), t, memory, hidden)
        if reset is None:
            return after
        first = model.first(filled(x, seen, jnp.zeros_like(x)), t, key)
        return switch(call, reset, first, after)

    def read(self, state: State, time: ScalarLike) -> Output:
        """Reads the output of a state at any time; `jax.vmap` reads at many.

        **Returns:** an array of shape `(out,)`, or a distribution over one.
        """
        call = "model.read(state, time)"
        time = _time(call, "time", time, state.x)
        model = matched(call, self, "state.x", state.x)
        return model.decoder(state, model.coordinates(time))

    def seen(self, xs: Float[Array, "..."]) -> Bool[Array, "..."] | None:
        return self.drive.seen(xs)

    def first(self, x: Observation, t: Scalar, key: Key | None) -> State:
        """Returns the state at a first observation; checks nothing."""
        start = move = None
        if key is not None:
            start, move = jr.split(key)
        theta = self.initial(x, key=start)
        hidden = self.transition.init(theta, key=move)
        return State(theta, x, t, self.drive.init(x), hidden)

    def check_input(self, call: str, x: Observation) -> None:
        """Raises unless the transition takes the drive of observations like `x`."""
        size = self.drive.size(x.shape[0])
        if size != self.transition.input_size:
            raise ValueError(
                f"`{call}` got observations of {x.shape[0]} channels, a drive of {size} "
                f"by {self.drive}, for a transition with "
                f"input_size={self.transition.input_size}."
            )
        if self.transition.timed and not self.drive.timed:
            raise ValueError(
                f"`{call}` has a transition in `ContinuousTime`, and a drive that does not "
                f"end with the time that passed. Wrap it: `Elapsed({self.drive})`."
            )


def _time(call: str, name: str, value: ScalarLike, like: Array) -> Scalar:
    time = jnp.asarray(value, dtype=like.dtype)
    if time.ndim:
        raise ValueError(f"`{call}` needs a scalar `{name}`; got shape {time.shape}.")
    return time
