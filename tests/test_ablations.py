"""What the variants of `ablations` change, what reads their states, and the command."""

import dataclasses
import json

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import optax
import pytest

import warp_jax as wj
from experiments import _inside as inside
from experiments.__main__ import main
from experiments._axes import AXES, LAST, variants
from experiments._data import Pictures, Split
from experiments._problems import CLASSIFIED, halved, PROBLEMS, REGRESSED
from experiments._recipes import Recipe, Shape, single, warps
from experiments._run import _slug
from experiments._tasks import Forecast, Unrolled
from experiments._windows import DirectForecast

from .helpers import assert_close, assert_same, named_arrays, perturbed
from .test_experiments import broadcasting as broadcasting, read


SHAPE = Shape(2, 3, 12, 12)
SMALL = Recipe(LAST, weights=40)
FORECAST = Recipe(Unrolled(4))
BASES = {
    "classified": (Recipe(LAST), CLASSIFIED),
    "regressed": (FORECAST, (*REGRESSED, "forcing")),
}
# By axis, what of a recipe may differ from the base.
FIELDS = {
    "A": {"structure"},
    "drive": {"drive"},
    "decoder": {"reading", "assemble"},
    "theta_0": {"start"},
    "coordinates": {"coordinates"},
    "coordinates, pooled": {"coordinates", "task"},
    "read": {"task"},
    "loss": {"task", "numbers", "distribution"},
    "forcing": {"task"},
    "D_θ": {"weights"},
    "depth": {"depth"},
    "rank": {"structure"},
    "modes": {"structure"},
    "cycles": {"cycles"},
    "layers": {"assemble"},
}


def made(name, base=SMALL):
    axis, _, variant = name.partition(": ")
    return AXES[axis][variant](base)


def model_of(name, base=SMALL, key=0):
    return made(name, base).model(SHAPE, jr.key(key))


def test_names_are_unique_and_all_axes_are_used():
    used = {*CLASSIFIED, *REGRESSED, "forcing"}
    assert used == set(AXES) == set(FIELDS)
    task = Unrolled(4)
    fields = [name for name, _ in variants(Recipe(task), (*REGRESSED, "forcing"))]
    fields += [name for name, _ in variants(SMALL, ("read", "coordinates, pooled"))]
    assert len(fields) == len(set(fields)) == len(set(map(_slug, fields)))


@pytest.mark.parametrize("kind", BASES)
def test_a_variant_changes_what_it_says_and_an_axis_has_the_base(kind):
    base, axes = BASES[kind]
    for axis in axes:
        same = 0
        for _, recipe in variants(base, [axis]):
            changed = {
                f.name
                for f in dataclasses.fields(Recipe)
                if getattr(recipe, f.name) != getattr(base, f.name)
            }
            assert changed <= FIELDS[axis], axis
            same += recipe == base
        # Modes are of another structure, and a pooled reading is another one.
        assert same == (axis not in ("modes", "coordinates, pooled"))


def test_forcing_and_loss_change_one_field_of_what_is_asked():
    for name, field, value in (
        ("forcing: 0", "forcing", 0.0),
        ("forcing: 1", "forcing", 1.0),
        ("loss: NLL", "objective", wj.gaussian_nll),
    ):
        task = made(name, FORECAST).task
        wanted = dataclasses.replace(FORECAST.task, **{field: value})
        assert task == wanted != FORECAST.task


def test_parts_that_a_variant_does_not_name_are_the_base_s():
    base = single(SMALL, SHAPE, jr.key(0))
    for name in ("fixed to I", "dense"):
        model = model_of(f"A: {name}")
        assert_same((model.decoder, model.initial), (base.decoder, base.initial))
        assert type(model.transition) is not type(base.transition)
    separate = model_of("decoder: separate, equal D_θ")
    assert_same(separate.transition, base.transition)
    assert_same(separate.initial, base.initial)
    learnt = model_of("theta_0: learnt")
    assert_same((learnt.decoder, learnt.transition), (base.decoder, base.transition))
    # The network that phi begins with, whatever it sees.
    assert_same(learnt.initial.theta, base.initial.layers[-1].bias)


def shapes_of(name, base):
    """Returns a variant's model with shapes for arrays, and how many numbers it has."""
    model = eqx.filter_eval_shape(lambda: model_of(name, base))
    leaves = jax.tree.leaves(model)
    sizes = [a.size for a in leaves if isinstance(a, jax.ShapeDtypeStruct)]
    return model, sum(sizes)


def test_sizes_are_what_the_names_say():
    base = dataclasses.replace(SMALL, weights=200)
    usual, numbers = shapes_of("decoder: self-decoding", base)
    size = usual.decoder.state_size
    equal, matched = shapes_of("decoder: separate, equal parameters", base)
    assert abs(matched / numbers - 1) < 0.02 and equal.decoder.state_size < 0.9 * size
    separate, more = shapes_of("decoder: separate, equal D_θ", base)
    assert separate.decoder.state_size == size and more > 1.1 * numbers
    assert separate.decoder.function.width_size == 39
    line, _ = shapes_of("decoder: linear", base)
    assert line.decoder.function.weight.shape == (3, size + 1)
    for name, wanted in (("depth: 3", 200), ("D_θ: 400", 400)):
        found, _ = shapes_of(name, base)
        assert abs(found.decoder.state_size / wanted - 1) < 0.08
        layers = found.initial.layers[-1].out_features, found.decoder.space.shapes
        assert layers[0] == found.decoder.state_size
        assert len(layers[1]) == (8 if name == "depth: 3" else 4)
    assert shapes_of("rank: 4", base)[0].transition.rank == 4
    assert shapes_of("modes: 4", base)[0].transition.dynamics.modes == 4
    both, _ = shapes_of("layers: 2", base)
    assert [w.decoder.out_size for w in warps(both)] == [8, 3]


def test_the_identity_stays_and_the_state_holds_what_changed_since_the_start(
    broadcasting,
):
    model = perturbed(model_of("A: fixed to I"), 1, 0.1)
    xs = jr.normal(jr.key(1), (6, 12, 2))
    labels = jnp.arange(6) % 3
    before = model.transition.P

    def loss(model, batch, key):
        logits = jax.vmap(lambda xs: model.last(xs, query=1.0))(xs)
        return jnp.mean(jax.vmap(wj.cross_entropy)(logits, labels))

    model, _ = wj.fit(
        model, loss, lambda step: None, optax.adam(1e-2), steps=4, key=jr.key(2)
    )
    B = np.asarray(model.transition.input_matrix(), float)
    assert np.abs(B - np.asarray(before)).min() > 1e-4
    size = model.decoder.state_size
    np.testing.assert_array_equal(model.transition.matrix(), np.eye(size))
    first = np.asarray(model.initial(xs[0, 0]), float)
    moved = np.asarray(xs[0] - xs[0, 0], float)
    wanted = first + moved @ B.T
    # Whatever happens between: the same end from another path.
    other = xs[0].at[1:-1].set(jr.normal(jr.key(3), (10, 2)))
    thetas = jax.jit(lambda xs: jax.vmap(model.weights)(xs))(jnp.stack([xs[0], other]))
    np.testing.assert_allclose(thetas[0], wanted, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(thetas[1, -1], wanted[-1], rtol=1e-4, atol=1e-5)
    assert np.abs(thetas[1, 5] - thetas[0, 5]).max() > 1e-2


def silu(x):
    return x / (1 + np.exp(-x))


def by_hand(arrays, model, xs, ts):
    """Returns outputs in double precision, from A and B as matrices, one step at a time."""
    A = np.asarray(model.transition.matrix(), float)
    B = np.asarray(model.transition.input_matrix(), float)
    hidden = [*model.initial.layers]
    theta = np.asarray(xs[0], float)
    for i, layer in enumerate(hidden):
        theta = np.asarray(layer.weight, float) @ theta + np.asarray(layer.bias, float)
        theta = silu(theta) if i + 1 < len(hidden) else theta
    outputs = []
    for t, x in enumerate(np.asarray(xs, float)):
        if t:
            theta = A @ theta + B @ (x - np.asarray(xs[t - 1], float))
        y = np.concatenate([theta, [ts[t]], x])
        for i, (weight, bias) in enumerate(arrays):
            y = weight @ y + bias
            y = silu(y) if i + 1 < len(arrays) else y
        outputs.append(y)
    return np.stack(outputs)


@pytest.mark.parametrize("name, layers", (("linear", 1), ("separate, equal D_θ", 2)))
def test_read_outs_of_the_state_are_what_they_are_by_hand(name, layers, precision):
    base = dataclasses.replace(SMALL, observe=True)
    model = perturbed(model_of(f"decoder: {name}", base), 3, 0.1)
    xs, ts = jr.normal(jr.key(1), (5, 2)), jnp.linspace(0.1, 0.9, 5)
    function = model.decoder.function
    found = [function] if layers == 1 else function.layers
    assert len(found) == layers
    arrays = [tuple(np.asarray(a, float) for a in (f.weight, f.bias)) for f in found]
    assert_close(
        eqx.filter_jit(model)(xs, ts), by_hand(arrays, model, xs, np.asarray(ts))
    )
    # The slope along a direction of the read-out's weights.
    noise = np.random.default_rng(0)
    along = [[noise.standard_normal(a.shape) for a in pair] for pair in arrays]

    def moved(h):
        pairs = [
            [a + h * d for a, d in zip(pair, step)] for pair, step in zip(arrays, along)
        ]
        return np.sum(np.sin(by_hand(pairs, model, xs, np.asarray(ts))))

    slope = (moved(1e-5) - moved(-1e-5)) / 2e-5
    total = lambda model: jnp.sum(jnp.sin(model(xs, ts)))  # noqa: E731
    gradient = eqx.filter_jit(eqx.filter_grad(total))(model)
    leaves = jax.tree.leaves(gradient.decoder)
    steps = [d for pair in along for d in pair]
    got = sum(np.sum(np.asarray(g, float) * d) for g, d in zip(leaves, steps))
    assert abs(got / slope - 1) < 1e-4
    assert all(np.abs(g).max() > 0 for g in named_arrays(gradient.transition).values())


def test_unrolled_with_the_truth_is_the_usual_training(broadcasting):
    task = Unrolled(3, forcing=1.0)
    model = perturbed(model_of("decoder: linear", FORECAST), 5, 0.1)
    model = eqx.tree_at(
        lambda m: m.decoder,
        model,
        wj.ActivatedDecoder(model.decoder, lambda y: y[:2]),
    )
    xs = jr.normal(jr.key(1), (4, 6, 2))
    batch = Split(xs, np.zeros(4, np.int32))  # pyright: ignore[reportArgumentType]
    got, usual, free = (
        eqx.filter_jit(asked.loss)(model, batch, jr.key(0))
        for asked in (task, Forecast(3), dataclasses.replace(task, forcing=0.0))
    )
    np.testing.assert_allclose(got, usual, rtol=1e-5)
    assert abs(free / got - 1) > 1e-3


class Wider(wj.AbstractDecoder):
    """A Gaussian with twice the deviation."""

    decoder: wj.AbstractDecoder
    state_size: int = eqx.field(static=True)
    out_size: int = eqx.field(static=True)

    def __init__(self, decoder):
        self.decoder = decoder
        self.state_size, self.out_size = decoder.state_size, decoder.out_size

    def __call__(self, state, coordinate):
        output = self.decoder(state, coordinate)
        return wj.Gaussian(output.mean, 2 * output.std)


def ahead(model, xs, ts):
    return model(xs[:-1], ts[:-1], ts[1:])


def at_once(model, xs, ts):
    return jax.vmap(model.read, (None, 0))(model.final(xs[:3], ts[:3]), ts[3:])


@pytest.mark.parametrize(
    "task, outputs",
    ((Unrolled(3, forcing=1.0), ahead), (DirectForecast(3), at_once)),
)
def test_a_density_is_trained_by_its_likelihood_and_tested_by_its_mean(
    task, outputs, broadcasting
):
    base = Recipe(task, weights=40)
    shape = Shape(2, 2, 6, 6)
    recipe = made("loss: NLL", base)
    model = perturbed(recipe.model(shape, jr.key(0)), 5, 0.05)
    xs = jr.normal(jr.key(1), (4, 6, 2))
    batch = Split(xs, np.zeros(4, np.int32))  # pyright: ignore[reportArgumentType]
    ts = jnp.linspace(0, 1, 6)
    found = eqx.filter_jit(jax.vmap(outputs, (None, 0, None)))(model, xs, ts)
    target = np.asarray(xs[:, -found.mean.shape[1] :], float)
    mean, std = np.asarray(found.mean, float), np.asarray(found.std, float)
    errors = ((target - mean) / std) ** 2
    wanted = np.mean(np.log(std) + errors / 2 + np.log(2 * np.pi) / 2)
    got = eqx.filter_jit(recipe.task.loss)(model, batch, jr.key(0))
    np.testing.assert_allclose(got, wanted, rtol=1e-4)
    # What is scored is the mean, and nothing of the deviation.
    wider = eqx.tree_at(lambda m: m.decoder, model, Wider(model.decoder))
    score = recipe.task.validate(batch)
    np.testing.assert_allclose(score(wider), score(model), rtol=1e-5)


def test_halved_pictures_have_the_means_of_four_pixels():
    pixels = np.random.default_rng(0).integers(0, 256, (3, 5, 4, 2), np.uint8)
    found = halved(Pictures(pixels, np.arange(3))).pixels
    assert found.shape == (3, 2, 2, 2) and found.dtype == np.uint8
    for n, i, j, c in np.ndindex(*found.shape):
        four = pixels[n, 2 * i : 2 * i + 2, 2 * j : 2 * j + 2, c].astype(float)
        assert abs(found[n, i, j, c] - four.mean()) <= 0.5


def test_modes_move_by_their_eigenvalues_alone():
    A = np.eye(9) + 0.3 * np.random.default_rng(1).standard_normal((9, 9))
    values, vectors = inside.modes_of(A)
    assert len(values) >= 5 and np.all(values.imag >= 0)
    theta = np.random.default_rng(2).standard_normal(9)
    np.testing.assert_allclose(vectors @ (A @ theta), values * (vectors @ theta))
    angle = 2 * np.pi * 3 / 50
    turns, growth = inside.scales(np.array([0.98 * np.exp(1j * angle), 1.0]), 50)
    np.testing.assert_allclose(turns, [3, 0])
    np.testing.assert_allclose(growth, [50 * np.log(0.98), 0])


def test_layers_share_a_state_between_them():
    decoder = single(SMALL, SHAPE, jr.key(0)).decoder
    found = inside.layers_of(decoder)
    every = np.concatenate(list(found.values()))
    np.testing.assert_array_equal(np.sort(every), np.arange(decoder.state_size))
    theta = jr.normal(jr.key(1), (decoder.state_size,))
    last = decoder.unflatten(theta).layers[-1]
    wanted = np.concatenate([np.ravel(last.weight), last.bias])
    np.testing.assert_array_equal(theta[found["layer 2"]], wanted)


@pytest.mark.slow
def test_the_command_trains_each_model_once(tmp_path, broadcasting):
    folder = tmp_path / "run"
    options = ["--steps", "2", "--learning-rates", "1e-2", "--out", str(folder)]
    options += ["--axes", "A", "drive", "--models", "fixed", "low rank", "increments"]
    main(["ablations", "--dataset", "digits", *options])
    summary = json.loads((folder / "summary.json").read_text())
    assert (summary["experiment"], summary["dataset"]) == ("ablations", "digits")
    rows = {row["model"]: row for row in summary["results"]}
    assert list(rows) == [
        "A: fixed to I",
        "A: low rank 16",
        "drive: increments",
        "drive: increments and time",
    ]
    base, again = rows["A: low rank 16"], rows["drive: increments"]
    assert again["metrics"] == base["metrics"]
    assert again["same_as"] == base["model"] and "seconds" not in again
    assert base["state_size"] == 202 and base["parameters"] == 8501
    assert rows["A: fixed to I"]["parameters"] == 8501 - 2 * 16 * 202 - 1
    figures = {p.name for p in (folder / "figures").iterdir()}
    assert figures == {"axes.png", "spectra.png", "layers.png", "modes.png"}
    with np.load(folder / "weights.npz") as file:
        assert file["layer layers[1].weight"].shape[:2] == (4, 33)
    before = read(folder)
    main(["ablations", "--resume", str(folder)])
    assert read(folder) == before


@pytest.mark.parametrize(
    "options, fragment",
    (
        (["--axes", "shape"], "`--axes shape` needs some of A, drive"),
        (["--axes", "A", "forcing"], "`--axes forcing` means nothing on digits"),
        (["--dataset", "../x"], "--dataset ../x"),
    ),
)
def test_wrong_options_are_refused_in_plain_words(options, fragment, tmp_path, capsys):
    with pytest.raises(SystemExit) as caught:
        main(["ablations", "--data", str(tmp_path), *options])
    assert caught.value.code == 2
    assert fragment in " ".join("".join(capsys.readouterr()).split())


def test_data_sets_of_the_table_have_axes_that_exist():
    assert {"digits", "msd", "mnist", "ETTh1"} <= set(PROBLEMS)
    problem = PROBLEMS["msd"](None)  # pyright: ignore[reportArgumentType]
    assert set(problem.axes) <= set(AXES)
    names = [name for name, _ in variants(problem.base, problem.axes)]
    assert len(names) == len(set(names)) and "forcing: 0.25" in names
