"""Models of every transition with every roll, and the same in other units."""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr

import warp_jax as wj

from .helpers import make_model, make_network, TRANSITIONS
from .oracle import Choices
from .test_continuous import INNER, make_timed, UNIT
from .test_rolls import ROLLS


UNTIMED = (*TRANSITIONS, "sum", "dropout", "dropout_with_a_key")
TIMED = tuple(f"timed_{name}" for name in (*INNER, "sum"))
EVERY_TRANSITION = (*UNTIMED, *TIMED)
# Their steps are exponentials of matrices: batches of these in a loop can leave XLA's
# threads on a CPU waiting for each other for good, but not where they have one core.
BY_MATRIX = tuple(
    f"timed_{name}"
    for name in ("dense", "block", "cut_block", "low_rank", "subspace_dense")
)
# Of chunks those of a moderate size are enough.
EXTREME = ("chunks_of_1", "chunks_of_16")
EVERY_ROLL = (*(name for name in ROLLS if name not in EXTREME), "limited", "split")
BY_POWERS = wj.ChunkedRoll, wj.ConvolutionRoll


class Ordered(eqx.Module):
    """A network that takes its inputs in another order."""

    network: eqx.nn.MLP
    order: jax.Array

    def __call__(self, inputs):
        return self.network(inputs[self.order])


def make(transition: str, roll: wj.AbstractRoll) -> wj.WARP:
    """Returns a model with gaps, a window, a time channel and a decoder that observes."""
    timed, kind = transition.startswith("timed_"), transition.removeprefix("timed_")
    like = {"sum": "diagonal"}.get(kind, kind)
    like = "subspace_spectral" if kind.startswith("dropout") else like
    choices = Choices(like, "hypernetwork", "causal", True, "observing")
    if timed:
        model = make_timed(choices, roll)[1]
        model = eqx.tree_at(lambda m: m.drive, model, replace_fn=lambda d: d.drive)
    else:
        model = make_model(choices, roll=roll)
    network = Ordered(make_network(choices), jnp.arange(choices.network_in))
    decoder = wj.NetworkDecoder(network, observe=True, in_size=choices.network_in)
    model = eqx.tree_at(lambda m: m.decoder, model, decoder)
    if kind.startswith("dropout"):
        where, wrap = lambda m: m.transition, lambda t: wj.ModeDropout(t, 0.5)
        model = eqx.tree_at(where, model, replace_fn=wrap)
    if kind == "sum":
        # Its drive is as large as the state.
        size = choices.state_size
        adding: Any = wj.SumTransition(size, jnp.array(0.9))
        adding = wj.ContinuousTime(adding, UNIT) if timed else adding
        network = eqx.nn.MLP(3, size, 4, 1, jax.nn.silu, key=jr.key(3))
        drive = wj.EmbeddedDrive(wj.Increments(time_channel=True), network)
        where = lambda m: (m.transition, m.drive)  # noqa: E731
        model = eqx.tree_at(where, model, (adding, drive))
    drive = wj.Gaps(model.drive)
    drive = wj.Elapsed(drive) if timed else drive
    return eqx.tree_at(lambda m: m.drive, model, drive)


def inner(drive) -> Any:
    """Returns the drive without what is around it."""
    while isinstance(drive, (wj.Elapsed, wj.Gaps)):
        drive = drive.drive
    return drive


def swapped(model: wj.WARP) -> wj.WARP:
    """Returns the model that makes of swapped channels what this one makes of them."""

    def places(model):
        drive, decoder = inner(model.drive), model.decoder
        causal = isinstance(drive, wj.CausalConvolution)
        first = drive.convolution if causal else drive.network.layers[0]
        return first.weight, model.initial.layers[0].weight, decoder.space.frame.order

    reads, starts, order = places(model)
    columns = jnp.array([1, 0, 2])[: reads.shape[1]]
    others = reads[:, columns], starts[:, ::-1], order[jnp.array([0, 2, 1])]
    return eqx.tree_at(places, model, others)


def slowed(model: wj.WARP, scale: float) -> wj.WARP:
    """Returns the model that makes of times `scale` as long what this one makes of them."""

    def place(model):
        if hasattr(inner(model.drive), "network"):
            return inner(model.drive).network.layers[0].weight
        part = model.transition
        while not hasattr(part, "B"):
            part = part.dynamics if hasattr(part, "dynamics") else part.transition
        return part.B

    def stretched(part):
        timed = isinstance(part, wj.ContinuousTime)
        return wj.ContinuousTime(part.transition, part.unit * scale) if timed else part

    # Where time drives the state it is the last channel.
    slow = eqx.tree_at(place, model, replace_fn=lambda w: w.at[:, -1].divide(scale))
    is_timed = lambda part: isinstance(part, wj.ContinuousTime)  # noqa: E731
    return jax.tree.map(stretched, slow, is_leaf=is_timed)


def make_roll(name: str) -> wj.AbstractRoll:
    if name == "limited":
        return wj.SequentialRoll(limit=1.0)
    if name == "split":
        # Where there are more devices three, which do not divide the length.
        devices = jax.devices()[:3]
        mesh = jax.make_mesh((len(devices),), ("time",), devices=devices)
        return wj.SequenceParallelRoll(mesh, "time")
    return ROLLS[name]


def refusal(transition: str, roll: str) -> str | None:
    """Returns what is said of a pair that cannot be, or None."""
    if transition in TIMED and isinstance(make_roll(roll), BY_POWERS):
        return "cannot go in `ContinuousTime`"
    beside = "subspace" in transition or "dropout" in transition
    return "which works on the weights" if roll == "limited" and beside else None
