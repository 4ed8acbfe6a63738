"""context -> future: roll-outs in which a model feeds on its own predictions."""

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
from jaxtyping import Array, Bool, Float, Int

from ._abstract_model import AbstractModel
from ._begin import default_times
from ._check import (
    check_array,
    check_finite,
    check_increasing,
    check_integer,
    check_length,
    check_seen,
    check_steps,
    check_values,
    is_concrete,
)
from ._precision import widened
from ._roll import scan_in_segments, segment_for
from ._types import draw, Key, Observations, Output, point, ScalarLike, Times


def forecast(
    model: AbstractModel,
    xs: Observations,
    horizon: int,
    ts: Float[Array, " s"] | None = None,
    key: Key | None = None,
    *,
    known: Float[Array, "h e"] | None = None,
) -> Output:
    """Predicts what follows a context, each prediction being the next observation
    (arXiv 2506.01153, recurrent mode).

    **Arguments:**

    - `model`: predicts observations: as many outputs as inputs, but for those known.
    - `xs`: the context, of shape `(time, input)`.
    - `horizon`: how many steps to predict, at least 1.
    - `ts`: the times of context and horizon, `(time + horizon,)`; by default evenly over
        [0, 1].
    - `key`: given, a distribution is sampled and the sample fed back, which makes one
        path out of many. By default its mean is fed back.
    - `known`: inputs whose future is known, `(horizon, known)`: the last channels of an
        observation, which are never predicted. `known[i]` belongs to the time of
        prediction i and is fed together with it, so that predictions after it may use it.
        By default none are known.

    **Returns:** without `key`, the outputs of the horizon, an array of shape `(horizon,
    out)` or a distribution over one; with `key`, the path, an array of that shape.

    **Raises:** as a call of the model; `ValueError` for `horizon < 1`, for a model whose
    outputs cannot be its inputs, or for a state or an output that overflows; `TypeError`
    for a model that cannot be stepped.
    """
    call = "forecast(model, xs, horizon, ts)"
    _check_steppable(call, model)
    horizon = check_integer(call, "horizon", horizon, 1)
    xs = widened(check_array(call, "xs", xs, 2, "Use `jax.vmap` for a batch."))
    ts = _times(call, ts, len(xs) + horizon, xs)
    model, state = model.compact(xs, ts[: len(xs)])
    if known is not None:
        known = widened(check_array(call, "known", known, 2))
        known = check_seen(call, "known", known, model.seen(known))
        check_length(call, "known", known, horizon, "the predictions")
    _check_feedback(call, model, state, xs[0], 0 if known is None else known.shape[1])

    def turn(model, state, inputs):
        t, known, key = inputs
        output = model.read(state, t)
        if key is not None:
            output = draw(output, key)
        x = point(output)
        if known is not None:
            x = jnp.concatenate([x, known])
        return model.step(state, x, t), output

    keys = None if key is None else jr.split(key, horizon)
    state, outputs = _scan(model, turn, state, (ts[len(xs) :], known, keys))
    return _check_rolled(call, outputs, state)


def unroll(
    model: AbstractModel,
    xs: Observations,
    ts: Times | None = None,
    forcing: ScalarLike | Bool[Array, " s"] = 0.25,
    key: Key | None = None,
    *,
    sample: bool = False,
    known: int = 0,
) -> Output:
    """Predicts each observation from those before it, for training (scheduled sampling,
    Bengio et al. 2015, arXiv 1506.03099; arXiv 2506.01153, recurrent mode).

    The output after step t predicts `xs[t + 1]`. What the model is then fed is the true
    `xs[t + 1]` where the step is forced, else its own prediction.

    **Arguments:**

    - `model`: predicts observations: as many outputs as inputs, but for those known.
    - `xs`: the sequence, of shape `(time, input)`, at least two steps.
    - `ts`: its times, `(time,)`; by default evenly over [0, 1].
    - `forcing`: the probability that a step is forced, by default 0.25; 1 is teacher
        forcing, 0 a free run. Or booleans of shape `(time - 1,)`: entry t says whether
        `xs[t + 1]` is fed.
    - `key`: for the random choices; needed where there is one to make, as by default there
        is. Also given to an initial state that is random in training.
    - `sample`: whether a distribution is sampled to be fed back, rather than its mean; by
        default not.
    - `known`: how many channels of an observation, the last ones, are inputs whose future
        is known: they are never predicted, and always fed as they are. By default none.

    **Returns:** predictions of `xs[1:]`, but for known channels, `(time - 1, out)`, or a
    distribution over them.

    **Raises:** as a call of the model; `ValueError` for `forcing` outside [0, 1], a missing
    `key`, a model whose outputs cannot be its inputs, or a state or an output that
    overflows; `TypeError` for a model that cannot be stepped.
    """
    call = "unroll(model, xs, ts, forcing, key)"
    _check_steppable(call, model)
    xs = widened(check_array(call, "xs", xs, 2, "Use `jax.vmap` for a batch."))
    if len(xs) < 2:
        raise ValueError(f"`{call}` needs at least two steps; got shape {xs.shape}.")
    ts = _times(call, ts, len(xs), xs)
    xs = check_seen(call, "xs", xs, model.seen(xs))
    if sample and key is None:
        raise ValueError(f"`{call}` needs a `key` to sample; got key=None.")
    choice = initial = keys = None
    if key is not None:
        choice, initial, sampling = jr.split(key, 3)
        keys = jr.split(sampling, len(xs) - 1) if sample else None
    known = check_integer(call, "known", known, 0)
    forced = _forced(call, forcing, len(xs) - 1, choice)
    model, state = model.compact(xs[:1], ts[:1], key=initial)
    _check_feedback(call, model, state, xs[0], known)
    predicted = xs.shape[1] - known

    def turn(model, state, inputs):
        x, t, forced, key = inputs
        output = model.read(state, t)
        own = point(output) if key is None else draw(output, key)
        own = jnp.concatenate([own, x[predicted:]])
        return model.step(state, jnp.where(forced, x, own), t), output

    state, outputs = _scan(model, turn, state, (xs[1:], ts[1:], forced, keys))
    return _check_rolled(call, outputs, state)


def _check_steppable(call: str, model) -> None:
    if not isinstance(model, AbstractModel):
        raise TypeError(
            f"`{call}` needs a model that takes a step at a time, as a `WARP`; got "
            f"{type(model).__name__}, which reads a sequence whole."
        )


def _scan(model: AbstractModel, turn, state, inputs):
    """Scans over the steps; long sequences in segments that are made again in the
    backward pass.
    """
    length = len(jax.tree.leaves(inputs)[0])
    segment = segment_for(length, sum(leaf.size for leaf in jax.tree.leaves(state)))
    if segment is None:
        return model.scan(turn, state, inputs)

    def counted(model, state, counted_inputs):
        counts, inputs = counted_inputs
        after, output = turn(model, state, inputs)
        after = jax.tree.map(lambda a, b: jnp.where(counts, a, b), after, state)
        return after, output

    def part(state, segment):
        return model.scan(counted, state, segment)

    return scan_in_segments(part, state, (jnp.ones(length, bool), inputs), segment)


def _times(call: str, ts, length: int, xs: Array) -> Times:
    if ts is None:
        return default_times(length, xs.dtype)
    ts = check_array(call, "ts", ts, 1)
    check_length(call, "ts", ts, length, "the steps, known and predicted")
    return check_increasing(call, check_finite(call, "ts", ts), ts)


def _forced(call: str, forcing, count: int, key: Key | None) -> Bool[Array, " s"]:
    if eqx.is_array_like(forcing) and jnp.ndim(forcing) == 1:
        forcing = jnp.asarray(forcing)
        if forcing.dtype != jnp.bool_:
            raise TypeError(
                f"`{call}` needs a probability or booleans for `forcing`; got an array of "
                f"{forcing.dtype}."
            )
        check_length(call, "forcing", forcing, count, "the predictions")
        return forcing
    if not eqx.is_array_like(forcing) or jnp.ndim(forcing) > 1:
        raise TypeError(
            f"`{call}` needs a probability or booleans of shape ({count},) for `forcing`; "
            f"got {forcing!r:.80}."
        )
    traced = not is_concrete(forcing)
    given = "another" if traced else f"forcing={forcing}"
    message = f"`{call}` needs 0 <= forcing <= 1; got {given}."
    probability = jnp.asarray(forcing, dtype=float)
    inside = (probability >= 0) & (probability <= 1)
    probability = check_values(probability, ~inside, message)
    if not traced and float(forcing) in (0, 1):
        return jnp.full(count, bool(forcing))
    if key is None:
        raise ValueError(
            f"`{call}` needs a `key` where 0 < forcing < 1; got forcing={forcing} and "
            "key=None."
        )
    return jr.bernoulli(key, probability, (count,))


def _check_feedback(
    call: str, model: AbstractModel, state, x: Array, known: int
) -> None:
    out = jax.eval_shape(lambda s: point(model.read(s, s.t)), state)
    wanted = len(x) - known
    if out.shape != (wanted,):
        raise ValueError(
            f"`{call}` feeds predictions back as observations; the model gives outputs of "
            f"shape {out.shape} for observations of shape {x.shape}, of which {known} are "
            f"known. Give its decoder {wanted} outputs, or say with `known` how many "
            "channels are not predicted."
        )


def _check_rolled(call: str, outputs: Output, state) -> Output:
    leaves = jax.tree.leaves(eqx.filter((outputs, state), eqx.is_inexact_array))
    finite = jnp.all(jnp.stack([jnp.all(jnp.isfinite(leaf)) for leaf in leaves]))
    message = (
        f"`{call}` ran out of the finite numbers, at {{}}. Lower the learning rate, "
        "raise `forcing`, or bound the output with `ActivatedDecoder`."
    )
    length = len(jax.tree.leaves(outputs)[0])
    return check_steps(outputs, ~finite, _first_bad, (outputs,), length, message)


def _first_bad(outputs: Output) -> Int[Array, ""]:
    """Returns the first step whose output is not finite, or the last one of all."""
    leaves = jax.tree.leaves(outputs)
    bad = [jnp.any(~jnp.isfinite(leaf.reshape(len(leaf), -1)), 1) for leaf in leaves]
    # After the last output there is a state, which is not read.
    return jnp.argmax(jnp.any(jnp.stack(bad), 0).at[-1].set(True))
