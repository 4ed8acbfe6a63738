"""Makers of models for the tests, and what counts as equal."""

import contextlib
from collections.abc import Callable, Iterator

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import jax.tree_util as jtu
import numpy as np
import pytest

import warp_jax as wj

from .oracle import Choices, HIDDEN, INPUT, OUT


# How far from the reference a number may be, relative to the largest one beside it.
TOLERANCE = {"x64": 1e-10, "f32": 1e-5}


TRANSITIONS: dict[str, Callable[..., wj.AbstractTransition]] = {
    "dense": wj.DenseTransition,
    "diagonal": wj.DiagonalTransition,
    "block": lambda p, c: wj.BlockDiagonalTransition(p, c, 7),
    "cut_block": lambda p, c: wj.BlockDiagonalTransition(p, c, 4),
    "low_rank": lambda p, c: wj.LowRankTransition(p, c, 3, key=jr.key(1), length=20),
    # With 14 weights as many coefficients, so that the weights themselves are rolled.
    "high_rank": lambda p, c: wj.LowRankTransition(p, c, 6, key=jr.key(1), length=20),
    "spectral": lambda p, c: wj.SpectralTransition(p, c, length=20, key=jr.key(1)),
    "oscillatory": lambda p, c: wj.OscillatoryTransition(
        p, c, length=20, key=jr.key(1)
    ),
    "subspace_spectral": lambda p, c: wj.SubspaceTransition(
        p, wj.SpectralTransition(4, c, length=20, key=jr.key(1)), key=jr.key(5)
    ),
    "subspace_dense": lambda p, c: wj.SubspaceTransition(
        p, wj.DenseTransition(3, c), key=jr.key(5)
    ),
}
PAIRWISE = {
    "increments": wj.Increments,
    "values": wj.Values,
    "products": wj.Products,
}
CAUSAL_DRIVES = [
    *(
        (drive, time_channel)
        for drive in (*PAIRWISE, "causal", "signature", "joined", "embedded")
        for time_channel in (False, True)
    ),
    ("embedded_joined", True),
]
DRIVES = [*CAUSAL_DRIVES, ("noncausal", False), ("noncausal", True)]


# Of a test that runs in both precisions, single waits for the slow ones.
SINGLE_IS_SLOW = pytest.mark.parametrize(
    "precision", ("x64", pytest.param("f32", marks=pytest.mark.slow)), indirect=True
)


@contextlib.contextmanager
def x64(on: bool) -> Iterator[None]:
    """Switches double precision on or off, for a while."""
    before = jax.config.read("jax_enable_x64")
    jax.config.update("jax_enable_x64", on)
    try:
        yield
    finally:
        jax.config.update("jax_enable_x64", before)


def make_network(choices: Choices = Choices()) -> eqx.nn.MLP:
    """Returns an auxiliary network, of 14 weights with the default choices."""
    ins, outs = choices.network_in, choices.network_out
    return eqx.nn.MLP(ins, outs, HIDDEN, 1, jax.nn.silu, key=jr.key(2))


def make_drive(choices: Choices) -> wj.AbstractDrive:
    if choices.drive in PAIRWISE:
        return PAIRWISE[choices.drive](choices.time_channel)
    if choices.drive == "signature":
        return wj.LogSignature(window=3, time_channel=choices.time_channel)
    if choices.drive == "joined":
        plain = wj.Increments(choices.time_channel)
        products = wj.Products(pairs=wj.physics.Steps(1, inputs=1))
        return wj.JoinedDrive(plain, wj.LogSignature(window=4), products)
    if choices.drive.startswith("embedded"):
        drive = make_drive(choices._replace(drive=choices.embedded))
        ins = drive.size(INPUT)
        network = eqx.nn.MLP(ins, 3, 4, 1, jax.nn.silu, key=jr.key(3))
        return wj.EmbeddedDrive(drive, network)
    kind, _, name = choices.drive.partition("_")
    build = {"causal": wj.CausalConvolution, "noncausal": wj.NoncausalConvolution}
    inner = PAIRWISE[name or "increments"](choices.time_channel)
    return build[kind](INPUT, 3, 3, drive=inner, key=jr.key(3))


def make_decoder(choices: Choices) -> wj.AbstractDecoder:
    observe = choices.decoder == "observing"
    decoder = wj.NetworkDecoder(make_network(choices), observe=observe)
    if choices.decoder == "gaussian":
        return wj.GaussianDecoder(decoder)
    if choices.decoder == "tanh":
        return wj.ActivatedDecoder(decoder, wj.DynamicTanh(OUT))
    return decoder


def make_initial(choices: Choices) -> wj.AbstractInitial:
    size = choices.state_size
    if choices.initial == "learnt":
        return wj.LearntInitial(jnp.zeros(size))
    rank = 3 if choices.initial == "thin" else None
    return wj.Hypernetwork(INPUT, size, 1, width=4, rank=rank, key=jr.key(4))


def make_model(
    choices: Choices = Choices(),
    *,
    roll: wj.AbstractRoll = wj.AutoRoll(),
    seed: int = 0,
) -> wj.WARP:
    """Returns a model with every weight off its initial value, and a tame recurrence.

    Its numbers are the same in both precisions, so that one reference serves both.
    """
    coordinates = wj.TimeCoordinate()
    if choices.coordinates == "sinusoidal":
        coordinates = wj.SinusoidalCoordinates(4, 7.0, scale=3.0)
    with x64(False):
        drive = make_drive(choices)
        driven = drive.size(INPUT)
        model = wj.WARP(
            decoder=make_decoder(choices),
            transition=TRANSITIONS[choices.transition](choices.state_size, driven),
            initial=make_initial(choices),
            drive=drive,
            coordinates=coordinates,
            roll=roll,
        )
        model = perturbed(model, seed)
        model = eqx.tree_at(lambda m: m.transition, model, tamed(model.transition))
    weights, rest = eqx.partition(model, eqx.is_inexact_array)
    return eqx.combine(jax.tree.map(lambda leaf: leaf.astype(float), weights), rest)


def perturbed(module, seed: int = 0, scale: float = 0.3):
    """Moves every weight off its initial value: at A = I and B = 0 mistakes are hidden."""
    noise = np.random.default_rng(seed)

    def moved(leaf):
        return leaf + jnp.asarray(scale * noise.standard_normal(leaf.shape), leaf.dtype)

    weights, rest = eqx.partition(module, eqx.is_inexact_array)
    return eqx.combine(jax.tree.map(moved, weights), rest)


def tamed(transition, radius: float = 0.98):
    """Scales A to a spectral radius below one, so that long sequences stay finite."""
    if isinstance(transition, wj.AbstractModalTransition):
        return transition
    if isinstance(transition, wj.SubspaceTransition):
        dynamics = tamed(transition.dynamics, radius)
        return eqx.tree_at(lambda t: t.dynamics, transition, dynamics)
    largest = np.max(np.abs(np.linalg.eigvals(np.asarray(transition.matrix()))))

    def scaled(path, leaf):
        name = path[-1].name
        return leaf if name in ("B", "V") else leaf * (radius / largest)

    return jtu.tree_map_with_path(scaled, transition)


def make_sequence(length: int, seed: int = 0) -> tuple[jax.Array, jax.Array]:
    """Returns observations, and irregular times that start above zero."""
    noise = np.random.default_rng(100 + seed)
    xs = noise.standard_normal((length, INPUT), np.float32)
    ts = np.cumsum(noise.uniform(0.3, 1.7, length)) / length
    return jnp.asarray(xs, float), jnp.asarray(ts.astype(np.float32), float)


def named_arrays(tree) -> dict[str, np.ndarray]:
    """Returns every trained array of a model by its place, in double precision."""
    leaves = jtu.tree_leaves_with_path(eqx.filter(tree, eqx.is_inexact_array))
    return {jtu.keystr(path): np.asarray(leaf, np.float64) for path, leaf in leaves}


def joined(output):
    """Returns an output as one array: of a Gaussian the mean, then the deviation."""
    if isinstance(output, wj.Gaussian):
        return jnp.concatenate([output.mean, output.std], axis=-1)
    return output


def subprograms(equation) -> list:
    """Returns the programs within an operation of a `jax.make_jaxpr`, as of a scan."""
    values = jax.tree.leaves(
        list(equation.params.values()), is_leaf=lambda value: hasattr(value, "eqns")
    )
    values = [getattr(value, "jaxpr", value) for value in values]
    return [value for value in values if hasattr(value, "eqns")]


def equations(jaxpr) -> Iterator:
    """Yields every operation of a program, however deep."""
    for equation in jaxpr.eqns:
        yield equation
        for program in subprograms(equation):
            yield from equations(program)


def assert_close(got, want, what: str = ""):
    """Compares arrays, or equal trees of arrays, at the precision in use.

    An error counts against the largest number of its array, or against a tenth of the
    largest one in the tree: a sum that cancels cannot be better than its terms.
    """
    tolerance = TOLERANCE["x64" if jax.config.read("jax_enable_x64") else "f32"]
    got_leaves, got_tree = jtu.tree_flatten_with_path(got)
    want_leaves, want_tree = jtu.tree_flatten_with_path(want)
    assert got_tree == want_tree
    sizes = [np.max(np.abs(leaf), initial=0) for _, leaf in want_leaves]
    least = max(1e-3, max(sizes, default=0) / 10)
    for (path, g), (_, w), size in zip(got_leaves, want_leaves, sizes):
        g, w, where = np.asarray(g), np.asarray(w), what + jtu.keystr(path)
        assert g.shape == w.shape, where
        bound = tolerance * max(least, size)
        np.testing.assert_allclose(g, w, rtol=0, atol=bound, err_msg=where)


def assert_same(got, want):
    """Compares trees to the last bit."""
    assert bool(eqx.tree_equal(got, want, typematch=True))


def assert_refused(act, kind: type[Exception], call: str, fragment: str):
    """Runs what should fail with a model, and looks for the call and the value."""
    with pytest.raises(kind) as caught:
        act(make_model())
    assert f"`{call}" in str(caught.value)
    assert fragment in str(caught.value)
