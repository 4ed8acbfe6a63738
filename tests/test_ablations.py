"""What the variants of `ablations` change, what reads their states, and the command."""

import dataclasses
import json

import equinox as eqx
import jax
import jax.random as jr
import numpy as np
import pytest

import warp_jax as wj
from experiments.__main__ import main
from experiments._axes import AXES, LAST, variants
from experiments._problems import CLASSIFIED, PROBLEMS, REGRESSED
from experiments._recipes import Recipe, Shape, single, warps
from experiments._run import _slug
from experiments._tasks import Unrolled

from .helpers import assert_same
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
    assert isinstance(base.initial, wj.Hypernetwork)
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
