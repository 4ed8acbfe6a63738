"""Models with every extra, and the rival that has the same ones."""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest

import warp_jax as wj
from experiments._classifiers import Defaults, LOGITS
from experiments._data import Split
from experiments._rivals import rival, state_size
from experiments._sizes import count
from experiments._stronger import (
    EMBEDDED,
    harmonic,
    harmonic_lru,
    harmonic_s4d,
    NORMED,
    normed_silu,
    PLAIN,
    STRONGER,
    stronger,
)
from experiments.baselines import Gated, GRU, LinOSS, LRU, S4D, S5, Stack, Thinned

from .helpers import assert_close, assert_same, perturbed


LENGTH, CHANNELS, CLASSES = 7, 2, 3
SMALL = Defaults(
    weights=60,
    strong_modes=8,
    strong_drives={"values": wj.Values()},
    strong_cycles=(1.0, 2.0),
    strong_dropouts=(0.5,),
)


def a_rival(cell=harmonic_lru):
    key = jr.key(0)
    maker = harmonic(cell, 2.0)
    model = rival(maker, CHANNELS, CLASSES, length=LENGTH, parameters=400, key=key)
    return perturbed(model, 1)


def every(name):
    return stronger(name, SMALL, CHANNELS, CLASSES, length=LENGTH, key=jr.key(0))


def series(seed=0):
    return jr.normal(jr.key(seed), (LENGTH, CHANNELS))


def thinned_by_hand(model, rate, key, numbers):
    """Returns the model without the ways from dropped modes, one weight after another: a
    mode's `numbers` lie evenly over the hidden vector.
    """
    weights = []
    for number, block in enumerate(model.cell.blocks):
        weight = np.array(block.C.weight)
        modes = weight.shape[1] // numbers
        stays = jr.bernoulli(jr.split(key, 2)[number], 1 - rate, (modes,))
        for mode in range(modes):
            for column in range(mode, numbers * modes, modes):
                weight[:, column] *= float(stays[mode]) / (1 - rate)
        weights.append(jnp.asarray(weight))
    return eqx.tree_at(
        lambda m: [block.C.weight for block in m.cell.blocks], model, weights
    )


@pytest.mark.parametrize("cell, numbers", [(harmonic_lru, 2), (harmonic_s4d, 1)])
def test_thinning_leaves_whole_modes_out_of_each_block(cell, numbers):
    model, key, xs = a_rival(cell), jr.key(5), series()
    wanted = thinned_by_hand(model, 0.4, key, numbers)
    thinned = Thinned(model, 0.4)
    call = eqx.filter_jit(lambda m, key: m(xs, key=key))
    assert_close(call(thinned, key), call(wanted, None))
    assert_same(call(thinned, None), call(model, None))
    assert np.max(np.abs(call(thinned, key) - call(model, None))) > 1e-4
    mask = jnp.arange(LENGTH) < 5
    pooled = eqx.filter_jit(
        lambda m, key: wj.Pooled(m, 3)(xs, mask=mask, query=1.0, key=key)
    )
    assert_close(pooled(thinned, key), pooled(wanted, None))
    last = eqx.filter_jit(lambda m, key: m.last(xs, mask=mask, key=key))
    assert_close(last(thinned, key), last(wanted, None))


def test_thinning_drops_its_share_and_keeps_the_mean():
    thinned = Thinned(a_rival(), 0.4)

    def first(model):
        return model.cell.blocks[0].C.weight

    weight = first(thinned.model)
    keys = jr.split(jr.key(1), 2000)
    drawn = np.asarray(jax.vmap(lambda key: first(thinned.drawn(key)))(keys))
    assert abs(np.mean(drawn == 0) - 0.4) < 0.03
    scale = np.max(np.abs(weight))
    np.testing.assert_allclose(drawn.mean(0), weight, atol=0.08 * scale)


@pytest.mark.parametrize("cell", [LRU, S5, LinOSS])
def test_modes_of_two_numbers_are_one_each(cell):
    made = cell(CHANNELS, 3, key=jr.key(0))
    gated = Gated(CHANNELS, made, key=jr.key(1))
    assert gated.mode_of().tolist() == made.mode_of().tolist() == [0, 1, 2, 0, 1, 2]


def test_units_of_other_cells_are_modes_of_their_own():
    for cell in GRU(CHANNELS, 3, key=jr.key(0)), S4D(3, key=jr.key(0)):
        assert cell.mode_of().tolist() == [0, 1, 2]


def test_an_s4d_may_start_with_the_turns_of_warp():
    cell = harmonic(harmonic_s4d, 2.0)(CHANNELS, 500, 50, jr.key(0))
    assert isinstance(cell, Stack)
    for block in cell.blocks:
        assert isinstance(block.cell, Gated) and isinstance(block.cell.cell, S4D)
        kept, _ = block.cell.cell.gain()
        turns = np.angle(kept).max(1) * 50 / (2 * np.pi)
        assert 1.9 < turns.max() < 2.0001
        assert 0.0199 < turns.min() < 0.022
        assert np.all(np.abs(kept) < 1)


def test_an_lru_may_start_with_the_time_scales_of_warp():
    cell = harmonic(harmonic_lru, 2.0)(CHANNELS, 5, LENGTH, jr.key(0))
    assert isinstance(cell, Stack)
    for block in cell.blocks:
        assert isinstance(block.cell, Gated) and isinstance(block.cell.cell, LRU)
        values = np.asarray(block.cell.cell.eigenvalues())
        times = -1 / np.log(np.abs(values))
        assert np.all((times > 0.49 * LENGTH) & (times < 1.51 * LENGTH))
        turns = np.mod(np.angle(values), 2 * np.pi) * LENGTH / (2 * np.pi)
        assert np.all((turns > 0) & (turns < 2.0)) and turns.max() > 0.5


def test_all_have_the_same_choices_and_as_many_parameters():
    (task, warps), (_, stacks), (_, lrus), (_, s4ds) = found = [*map(every, PLAIN)]
    for asked, models in found:
        assert asked == task and list(models) == list(warps)
    assert list(warps) == [
        "values, 1 cycles, dropout 0.5",
        "values, 2 cycles, dropout 0.5",
    ]
    for label, model in warps.items():
        assert state_size(stacks[label]) > state_size(model) == model.decoder.state_size
        for rivals in lrus, s4ds:
            assert model.transition.rate == rivals[label].rate == 0.5
            assert abs(count(rivals[label]) / count(model) - 1) < 0.1
    phases = [
        jnp.exp(model.transition.transition.dynamics.log_phase)
        for model in warps.values()
    ]
    assert_close(2 * phases[0], phases[1])


@pytest.mark.parametrize("name", PLAIN)
def test_bounded_ones_differ_in_their_logits_alone(name):
    (task, plain), (own, found) = every(name), every(f"{name}, norm bound")
    assert task == own and list(plain) == list(found)
    for label, model in found.items():
        model, without = (perturbed(m, 1, 0.5) for m in (model, plain[label]))
        xs = 10 * jnp.asarray(series(0))
        logits, free = model(xs), without(xs)
        sizes = jnp.sqrt(jnp.mean(free**2, axis=1, keepdims=True))
        assert jnp.any(sizes > LOGITS.limit)
        assert_close(logits, free / jnp.sqrt(1 + (sizes / LOGITS.limit) ** 2))


def drives(model: Any) -> list[Any]:
    """Returns what drives each layer, from below."""
    layers: list[Any] = [layer.model for layer in getattr(model, "layers", ())]
    return [part.drive for part in (*layers, getattr(model, "model", model))]


@pytest.mark.parametrize("name", NORMED)
def test_normed_ones_differ_from_bounded_ones_in_every_embedding_alone(name):
    (task, bounded), (own, found) = (
        every(name.replace("normed", "norm bound")),
        every(name),
    )
    assert task == own and list(bounded) == list(found)
    for label, model in found.items():
        kinds = [drive.activation for drive in drives(model)]
        assert kinds == [normed_silu] * (2 if "two" in name else 1)
        other = eqx.tree_at(
            lambda m: [drive.activation for drive in drives(m)], bounded[label], kinds
        )
        xs = 10 * jnp.asarray(series(0))
        model, other, without = (
            perturbed(m, 1, 0.5)(xs) for m in (model, other, bounded[label])
        )
        assert_same(model, other)
        assert np.max(np.abs(model - without)) > 1e-3


def test_features_are_normed_step_by_step():
    features = np.random.default_rng(0).normal(1, 2, (EMBEDDED, 3))
    wanted = np.zeros_like(features)
    for step in range(3):
        centred = features[:, step] - features[:, step].mean()
        normed = centred / np.sqrt(np.mean(centred**2) + 1e-5)
        wanted[:, step] = normed / (1 + np.exp(-normed))
    assert_close(normed_silu(jnp.asarray(features, float)), wanted)
    # Whatever their size.
    larger = normed_silu(jnp.asarray(9 * features, float))
    np.testing.assert_allclose(larger, wanted, atol=1e-4)


@pytest.mark.parametrize("name", NORMED)
def test_normed_ones_stream_and_skip_padding(name):
    model = perturbed(every(name)[1]["values, 2 cycles, dropout 0.5"], 1)
    xs, ts = series(), jnp.linspace(0, 1, LENGTH)
    rolled = eqx.filter_jit(lambda m, xs, ts, mask: m(xs, ts, mask=mask))
    wanted = rolled(model, xs, ts, None)

    @eqx.filter_jit
    def streamed(model):
        states = [model.init(xs[0], ts[0])]
        for x, t in zip(xs[1:], ts[1:]):
            states.append(model.step(states[-1], x, t))
        return jnp.stack([model.read(s, t) for s, t in zip(states, ts)])

    assert_close(streamed(model), wanted)
    mask = np.array([True, False, True, True, False, True, True, True, True])
    padded = jnp.full((len(mask), CHANNELS), jnp.nan).at[mask].set(xs)
    found = rolled(model, padded, jnp.zeros(len(mask)).at[mask].set(ts), mask)
    assert_close(found[mask], wanted)


@pytest.mark.slow
@pytest.mark.parametrize("name", STRONGER)
def test_a_loss_of_the_stronger_models_reaches_every_weight(name):
    task, found = every(name)
    model = perturbed(found["values, 2 cycles, dropout 0.5"], 1)
    mask = np.arange(LENGTH) < np.array([[LENGTH], [4], [5]])
    xs = np.where(mask[..., None], np.stack([series(s) for s in range(3)]), np.nan)
    batch = Split(xs, np.arange(3), mask)
    loss = eqx.filter_jit(eqx.filter_value_and_grad(task.loss))
    value, gradient = loss(model, batch, jr.key(2))
    assert np.isfinite(value)
    for leaf in jax.tree.leaves(gradient):
        assert np.all(np.isfinite(leaf)) and np.any(leaf != 0)
    assert float(loss(model, batch, jr.key(3))[0]) != float(value)


def test_what_cannot_be_thinned_is_refused():
    with pytest.raises(ValueError, match=r"got 1\.0"):
        Thinned(a_rival(), 1.0)
    bare = rival(
        "Transformer", CHANNELS, CLASSES, length=LENGTH, parameters=300, key=jr.key(0)
    )
    with pytest.raises(TypeError, match="got Transformer"):
        Thinned(bare, 0.5)
