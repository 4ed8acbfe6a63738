"""What holds for every public class and function, and the names that callers rely on."""

import inspect
import operator
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest

import warp_jax as wj

from .helpers import assert_close, assert_same, make_model, make_network, perturbed
from .laws import physics, USES
from .oracle import Choices


STATE, DRIVEN = 14, 2
TRANSITION = make_model().transition
OUT_NETWORK = Choices(decoder="gaussian")


def _decoder():
    return wj.NetworkDecoder(make_network())


def _read(decoder, x):
    theta = x[0] * jnp.linspace(-1, 1, decoder.state_size)
    state = wj.State(theta, x, jnp.array(0.3))
    return decoder(state, jnp.array([0.4]))


def _drive(drive, x):
    xs = jnp.stack([x, 2 * x, -x])
    start = wj.State(jnp.zeros(0), x, jnp.array(0.0), drive.init(x))
    return drive(start, xs, jnp.linspace(0, 1, 3), None)[0]


def _roll(roll, x):
    dxs = jnp.stack([x, 2 * x, -x])
    read = lambda theta, context: theta * context  # noqa: E731
    arguments = (TRANSITION, jnp.ones(STATE), dxs, jnp.ones(3, bool))
    return roll(*arguments, read, jnp.arange(4.0)[:, None])[0]


def _call(model, x):
    return model(jnp.stack([x, 2 * x, -x]))


def _coordinate(coordinates, x):
    return coordinates(x[0])


def _step(transition, x):
    return transition.step(jnp.ones(STATE), x)


def _transition(kind, *sizes):
    """Returns how to make a transition, and a use of it."""
    make = lambda key: kind(STATE, DRIVEN, *sizes)  # noqa: E731
    return make, _step


def _modal(kind, size=STATE):
    """Returns how to make a transition of complex modes from a key."""
    return lambda key: kind(size, DRIVEN, length=20, key=key)


def _subspace(key):
    return wj.SubspaceTransition(STATE, _modal(wj.SpectralTransition, 4)(key), key=key)


# How to make each class from a key, and what it gives for an observation `x`.
MODULES = {
    "ActivatedDecoder": (lambda key: wj.ActivatedDecoder(_decoder(), jnp.tanh), _read),
    "AttentionPooled": (
        lambda key: wj.AttentionPooled(make_model(Choices("low_rank")), 2),
        _call,
    ),
    "Bidirectional": (
        lambda key: wj.Bidirectional(
            make_model(Choices("low_rank")), make_model(Choices("dense"), seed=1)
        ),
        _call,
    ),
    "Stacked": (
        lambda key: wj.Stacked(
            eqx.nn.Linear(2, 2, key=key),
            [wj.StackedLayer(make_model(Choices("low_rank")), 2, key=key)],
            make_model(Choices("dense")),
        ),
        _call,
    ),
    "StackedLayer": (
        lambda key: wj.StackedLayer(make_model(Choices("low_rank")), 2, key=key),
        lambda made, x: made.add(
            x, made.model.read(made.model.init(made.norm(x)), 0.5)
        ),
    ),
    "AssociativeRoll": (lambda key: wj.AssociativeRoll(), _roll),
    "AutoRoll": (lambda key: wj.AutoRoll(), _roll),
    "BlockDiagonalTransition": _transition(wj.BlockDiagonalTransition, 4),
    "CausalConvolution": (lambda key: wj.CausalConvolution(2, 3, 2, key=key), _drive),
    "ChunkedRoll": (lambda key: wj.ChunkedRoll(2), _roll),
    "Clip": (lambda key: wj.Clip(0.5), lambda made, x: made(x)),
    "ContinuousTime": (
        lambda key: wj.ContinuousTime(
            wj.SpectralTransition(STATE, DRIVEN, length=20, key=key), 0.5
        ),
        lambda made, x: made.step(jnp.ones(STATE), jnp.append(x, x[0] ** 2)),
    ),
    "ConvolutionRoll": (lambda key: wj.ConvolutionRoll(), _roll),
    "DenseTransition": _transition(wj.DenseTransition),
    "DiagonalTransition": _transition(wj.DiagonalTransition),
    "NormBound": (lambda key: wj.NormBound(0.5), lambda made, x: made(x)),
    "DynamicTanh": (lambda key: wj.DynamicTanh(2), lambda made, x: made(x)),
    "Gain": (lambda key: wj.Gain(2), lambda made, x: made(x)),
    "Gaussian": (
        lambda key: wj.Gaussian(jr.normal(key, (2,)), jnp.ones(2)),
        lambda made, x: made.sample(jr.key(0)) * x,
    ),
    "Elapsed": (lambda key: wj.Elapsed(wj.Increments()), _drive),
    "EmbeddedDrive": (
        lambda key: wj.EmbeddedDrive(
            wj.Values(), eqx.nn.MLP(2, 3, 4, 1, jax.nn.silu, key=key)
        ),
        _drive,
    ),
    "Gaps": (
        lambda key: wj.Gaps(wj.Increments(time_channel=True), seen_channels=True),
        lambda made, x: _drive(made, x.at[1].set(jnp.nan)),
    ),
    "JoinedDrive": (
        lambda key: wj.JoinedDrive(wj.Increments(True), wj.LogSignature(window=2)),
        _drive,
    ),
    "LogSignature": (lambda key: wj.LogSignature(window=2, time_channel=True), _drive),
    "GaussianDecoder": (
        lambda key: wj.GaussianDecoder(wj.NetworkDecoder(make_network(OUT_NETWORK))),
        _read,
    ),
    "Hypernetwork": (
        lambda key: wj.Hypernetwork(2, STATE, key=key),
        lambda made, x: made(x),
    ),
    "Increments": (lambda key: wj.Increments(time_channel=True), _drive),
    "LearntInitial": (
        lambda key: wj.LearntInitial(jr.normal(key, (STATE,))),
        lambda made, x: made(x) * x[0],
    ),
    "LowRankTransition": (
        lambda key: wj.LowRankTransition(STATE, DRIVEN, 3, key=key),
        _step,
    ),
    "NetworkDecoder": (lambda key: wj.NetworkDecoder(make_network()), _read),
    "NoisyInitial": (
        lambda key: wj.NoisyInitial(wj.Hypernetwork(2, STATE, key=key), 0.1),
        lambda made, x: made(x, key=jr.key(0)),
    ),
    "NoncausalConvolution": (
        lambda key: wj.NoncausalConvolution(2, 3, 3, key=key),
        _drive,
    ),
    "ModeDropout": (
        lambda key: wj.ModeDropout(_subspace(key), 0.5),
        lambda made, x: made.advance(
            jnp.ones(STATE), made.init(jnp.ones(STATE), key=jr.key(1)), x
        )[0],
    ),
    "OscillatoryTransition": (_modal(wj.OscillatoryTransition), _step),
    "Pooled": (lambda key: wj.Pooled(make_model(Choices("low_rank")), 2), _call),
    "RadiusBound": (
        lambda key: wj.RadiusBound(0.5),
        lambda made, x: (
            made(eqx.tree_at(lambda t: t.a, wj.DiagonalTransition(2, 2), x)).a
        ),
    ),
    "Reduction": (
        lambda key: wj.LowRankTransition(STATE, DRIVEN, 3, key=key).reduce(
            jnp.ones(STATE), None
        ),
        lambda made, x: made.span.theta(made.transition.step(made.start, x)),
    ),
    "Products": (lambda key: wj.Products(time_channel=True), _drive),
    "RasterCoordinates": (lambda key: wj.RasterCoordinates(2, 3, 1), _coordinate),
    "SequenceParallelRoll": (
        lambda key: wj.SequenceParallelRoll(
            jax.sharding.Mesh(np.array(jax.devices()[:1]), ("time",)), "time"
        ),
        _roll,
    ),
    "SequentialRoll": (lambda key: wj.SequentialRoll(segment=2, limit=3.0), _roll),
    "SinusoidalCoordinates": (lambda key: wj.SinusoidalCoordinates(4), _coordinate),
    "SkipDecoder": (
        lambda key: wj.SkipDecoder(_decoder(), eqx.nn.Linear(2, 2, key=key)),
        _read,
    ),
    "Span": (
        lambda key: wj.Span(jr.normal(key, (STATE, 2)), jnp.ones(STATE)),
        lambda made, x: made.theta(x),
    ),
    "SumTransition": (
        lambda key: wj.SumTransition(2, jnp.array(0.7)),
        lambda made, x: made.step(jnp.ones(2), x),
    ),
    "SpectralTransition": (_modal(wj.SpectralTransition), _step),
    "SubspaceTransition": (
        _subspace,
        lambda made, x: made.advance(jnp.ones(STATE), jnp.ones(4), x),
    ),
    "Spectrum": (
        lambda key: wj.Spectrum(jnp.array([0.9 + 0.1j, 0.9 - 0.1j]), jnp.ones(2, int)),
        lambda made, x: made.radius * x,
    ),
    "State": (
        lambda key: wj.State(jr.normal(key, (STATE,)), jnp.ones(2), jnp.array(0.0)),
        lambda made, x: made.theta * x[0],
    ),
    "TimeCoordinate": (lambda key: wj.TimeCoordinate(), _coordinate),
    "Values": (lambda key: wj.Values(), _drive),
    "WARP": (
        lambda key: make_model(Choices("low_rank", drive="causal")),
        _call,
    ),
    "WeightSpace": (
        lambda key: wj.WeightSpace(make_network()),
        lambda made, x: made.unflatten(x[0] * jnp.ones(made.size)).layers[0].weight,
    ),
}
MODULES |= USES
# Classes that hold a training or its data, and are no part of a model.
OTHERS = {
    "Batches": lambda: wj.Batches(jnp.ones((4, 2)), 2, key=jr.key(0)),
    "Bucket": lambda: wj.bucket([jnp.ones((4, 2))])[0],
    "History": lambda: wj.History(jnp.ones(2), jnp.ones(2), ((2, 1.0),), 2, False),
    "SplitRows": lambda: wj.SplitRows("state"),
    "Stopped": lambda: wj.Stopped("asked to", 3),
    "Progress": lambda: wj.Progress(1, 2, 0.5, 0.5, None, None, 0.1),
    "Window": lambda: wj.Window(jnp.ones((2, 3)), True),
    "Windows": lambda: wj.Windows(jnp.ones((2, 4)), 3),
}
PUBLIC = {
    name: thing
    for name, thing in (vars(wj) | vars(physics)).items()
    if not name.startswith("_") and not inspect.ismodule(thing)
}
CLASSES = {name: thing for name, thing in PUBLIC.items() if inspect.isclass(thing)}
CONCRETE = {name for name, kind in CLASSES.items() if not inspect.isabstract(kind)}
X = np.array([0.3, -0.8], np.float32)


def built(name):
    make, use = MODULES[name]
    return perturbed(make(jr.key(0))), use


def test_every_public_class_is_visited():
    assert CONCRETE == set(MODULES) | set(OTHERS)
    assert all(name.startswith("Abstract") for name in set(CLASSES) - CONCRETE)


@pytest.mark.parametrize("name", MODULES)
def test_jit_and_vmap_change_nothing(name):
    module, use = built(name)
    xs = jnp.stack([jnp.asarray(X), jnp.zeros(2), -2 * jnp.asarray(X)])
    one = eqx.filter_jit(use)
    many = eqx.filter_jit(lambda module, xs: jax.vmap(lambda x: use(module, x))(xs))
    outputs = many(module, xs)
    assert_close(one(module, xs[0]), use(module, xs[0]))
    for i, x in enumerate(xs):
        assert_close(jax.tree.map(operator.itemgetter(i), outputs), one(module, x))


@pytest.mark.parametrize("name", MODULES)
def test_everything_is_differentiable(name):
    module, use = built(name)

    @eqx.filter_jit
    def slopes(module, x):
        def loss(arguments):
            leaves = jax.tree.leaves(use(*arguments))
            return sum(jnp.sum(jnp.sin(leaf)) for leaf in leaves)

        return eqx.filter_grad(loss)((module, x))

    of_module, of_x = slopes(module, jnp.asarray(X))
    leaves = jax.tree.leaves(of_module)
    assert len(leaves) == len(jax.tree.leaves(eqx.filter(module, eqx.is_inexact_array)))
    assert all(np.all(np.isfinite(leaf)) for leaf in (*leaves, of_x))
    # What a decoder or a drive does not use may have a slope of zero, but not everything.
    assert any(np.any(leaf) for leaf in (*leaves, of_x))


@pytest.mark.parametrize("name", MODULES)
def test_everything_is_saved_and_loaded(name, tmp_path):
    module, _ = built(name)
    wj.save(tmp_path / "module", module)
    like = MODULES[name][0](jr.key(1))
    assert_same(wj.load(tmp_path / "module", like), module)


@pytest.mark.parametrize("name", MODULES)
def test_two_of_a_kind_share_their_compiled_code(name):
    make, use = MODULES[name]
    traces = []

    @eqx.filter_jit
    def counted(module, x):
        traces.append(name)
        return use(module, x)

    first, second = make(jr.key(0)), make(jr.key(1))
    assert hash(jax.tree.structure(first)) == hash(jax.tree.structure(second))
    counted(first, jnp.asarray(X))
    counted(second, jnp.asarray(X))
    assert len(traces) == 1


@pytest.mark.parametrize("name", [*MODULES, *OTHERS])
def test_everything_prints(name):
    made = OTHERS[name]() if name in OTHERS else built(name)[0]
    assert name in repr(made)


@pytest.mark.parametrize("name", PUBLIC)
def test_everything_is_documented(name):
    thing = PUBLIC[name]
    assert inspect.getdoc(thing)
    # Python writes such a docstring itself where there is none.
    assert not str(thing.__doc__).startswith(f"{name}(")
    if name in CLASSES and issubclass(thing, eqx.Module):
        for method, function in vars(thing).items():
            if inspect.isfunction(function) and not method.startswith("_"):
                assert inspect.getdoc(getattr(thing, method)), method


CONTRACT = {
    "WARP": "decoder transition initial drive coordinates roll",
    "WARP.__call__": "self xs ts queries mask",
    "WARP.weights": "self xs ts mask",
    "WARP.last": "self xs ts query mask",
    "WARP.init": "self x t",
    "WARP.step": "self state x t",
    "WARP.read": "self state time",
    "State": "theta x t",
    "NetworkDecoder": "network observe",
    "NetworkDecoder.flatten": "self network",
    "NetworkDecoder.unflatten": "self theta",
    "GaussianDecoder": "decoder min_std",
    "Gaussian": "mean std",
    "AbstractDecoder.__call__": "self state coordinate",
    "AbstractTransition.matrix": "self",
    "AbstractTransition.input_matrix": "self",
    "DenseTransition": "state_size input_size",
    "DiagonalTransition": "state_size input_size",
    "BlockDiagonalTransition": "state_size input_size block_size",
    "LowRankTransition": "state_size input_size rank key length",
    "LearntInitial": "theta",
    "Hypernetwork": "input_size state_size depth",
    "Increments": "time_channel",
    "Values": "time_channel",
    "TimeCoordinate": "",
    "SinusoidalCoordinates": "size base",
    "SequentialRoll": "",
    "AutoRoll": "",
    "Products": "time_channel",
    "physics.SinusoidDecoder": "network frequency",
    "physics.OscillatorDecoder": "network",
    "physics.LinearODEDecoder": "network size",
    "physics.ODEDecoder": "network vector_field solver",
    "physics.LeastSquaresDecoder": "features ridge",
    "AssociativeRoll": "",
    "ConvolutionRoll": "",
    "Pooled": "model reads",
    "SpectralTransition": "state_size input_size length cycles key",
    "SubspaceTransition": "state_size dynamics key",
    "LogSignature": "depth window time_channel",
    "forecast": "model xs horizon ts key",
    "unroll": "model xs ts forcing key",
    "mse": "prediction target mask",
    "gaussian_nll": "gaussian target mask",
    "bits_per_dim": "gaussian target bins low high",
    "cross_entropy": "logits label",
    "fit": "model loss batches optimizer steps key",
    "save": "path model",
    "spectrum": "transition",
    "load": "path like",
}


@pytest.mark.parametrize("name", CONTRACT)
def test_callers_find_the_arguments_they_rely_on_in_order(name):
    thing: Any = wj
    for part in name.split("."):
        thing = getattr(thing, part)
    given = list(inspect.signature(thing).parameters)
    relied = CONTRACT[name].split()
    assert given[: len(relied)] == relied
