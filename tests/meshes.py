"""Run in a process of its own with eight devices: fits with a mesh are fits without.

    python -m tests.meshes PART ...

A part is `data`, `tensor`, `sequence`, `rolls`, `laws` or `refusals`, with `-x64` in
double.
"""

import sys
from typing import Any
from unittest import mock

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import optax
from jax.sharding import PartitionSpec

import warp_jax as wj
from warp_jax._roll import segments

from .helpers import assert_close, make_model, make_sequence, named_arrays, x64
from .oracle import Choices
from .test_rolls import expected, make_mask, told
from .traffic import compiled, spied


def trees(trained):
    """Returns what is compared of a model and its history."""
    model, history = trained
    return history.loss, eqx.filter(model, eqx.is_inexact_array)


def loss(model, batch, key):
    xs, ts = batch
    return wj.mse(jax.vmap(model)(xs, ts), jnp.cumsum(xs, axis=1))


def sequences(steps=8):
    xs, ts = zip(*(make_sequence(steps, seed) for seed in range(24)))
    return jnp.stack(xs), jnp.stack(ts)


def train(model, data=None, **more: Any) -> tuple[Any, wj.History]:
    """Returns what twenty steps make of a model, with its history."""
    data = sequences() if data is None else data
    batches = data if callable(data) else wj.Batches(data, 16, key=jr.key(1))
    options: dict[str, Any] = {"steps": 20, "key": jr.key(0), "report": None} | more
    return wj.fit(model, loss, batches, optax.adam(3e-3), **options)


def data():
    """Examples split."""
    mesh = jax.make_mesh((8,), ("batch",))
    bounded = {"project": wj.RadiusBound(1.0)}
    single = not jax.config.read("jax_enable_x64")
    model = make_model(Choices("dense" if single else "low_rank"))
    many = train(model, **bounded, mesh=mesh)
    for leaf in jax.tree.leaves(eqx.filter(many[0], eqx.is_array)):
        assert leaf.sharding.is_fully_replicated and len(leaf.devices()) == 8
    assert_close(trees(many), trees(train(model, **bounded)))

    def carried(model, window, key, carry):
        xs, ts = window.data
        run = lambda xs, ts, state: model.run(xs, ts, state=state)  # noqa: E731
        outputs, carry = jax.vmap(run)(xs, ts, window.take(carry))
        return wj.mse(outputs, xs), carry

    xs, ts = sequences()
    options: dict[str, Any] = {"steps": 20, "key": jr.key(0), "report": None}
    options |= bounded | {"carry": jax.vmap(model.init)(xs[:8, 0], ts[:8, 0])}
    windows = wj.Windows((np.asarray(xs[:8]), np.asarray(ts[:8])), 4)
    optimizer = optax.adam(3e-3)
    one = wj.fit(model, carried, windows, optimizer, **options)
    many = wj.fit(model, carried, windows, optimizer, **options, mesh=mesh)
    assert_close(trees(many), trees(one))


SPLIT = {
    "dense": {"A": (5, 20), "B": (5, 2)},
    "low_rank": {"U": (5, 3), "V": (5, 3), "B": (5, 2)},
    "subspace_dense": {"P": (5, 3)},
}


def tensor():
    """Examples split over two, the rows of what is large over four."""
    mesh = jax.make_mesh((2, 4), ("batch", "state"))
    split = {"mesh": mesh, "placement": wj.SplitRows("state", least=20)}
    double = jax.config.read("jax_enable_x64")
    for kind in ("low_rank", "subspace_dense", "dense") if double else ("dense",):
        # A state of 20, which divides by four.
        model: Any = make_model(Choices(kind, decoder="observing"))
        with spied() as seen:
            many, shared = train(model, **split)
        assert_close(trees((many, shared)), trees(train(model)), kind)
        adam = seen[0][2].optimizer_state[0]
        parts = many.transition, adam.mu.transition, adam.nu.transition
        for part in parts:
            for name, shape in SPLIT[kind].items():
                pieces = getattr(part, name).addressable_shards
                assert {piece.data.shape for piece in pieces} == {shape}, name
                # Four different pieces, each on the two devices that share examples.
                assert len({str(piece.index) for piece in pieces}) == 4, name
    if double:
        return
    network = eqx.nn.MLP(1, 2, 9, 2, jax.nn.silu, key=jr.key(5))
    decoder = wj.NetworkDecoder(network)
    large = wj.WARP(
        decoder=decoder,
        transition=wj.DenseTransition(128, 2),
        initial=wj.LearntInitial(decoder.flatten(network)),
    )
    dense: Any = make_model(Choices("dense", decoder="observing"))
    with spied() as seen:
        train(large, steps=1, mesh=mesh, placement=wj.SplitRows("state"))
    # Neither A nor its gradient is put together anywhere.
    text = compiled(seen)
    assert "[32,128]" in text and "[128,128]" not in text
    bounded = {"project": wj.RadiusBound(1.0)}
    many = train(dense, **bounded, **split)
    assert_close(trees(many), trees(train(dense, **bounded)), "bounded")
    own = lambda model, mesh: eqx.tree_at(  # noqa: E731
        lambda m: m.transition.A,
        jax.tree.map(lambda _: PartitionSpec(), eqx.filter(model, eqx.is_array)),
        PartitionSpec(None, "state"),
    )
    many = train(dense, mesh=mesh, placement=own)
    assert many[0].transition.A.sharding.spec == PartitionSpec(None, "state")
    assert_close(trees(many), trees(train(dense)), "by columns")


def sequence():
    """Examples split over two, time over four; also with what is large split too."""
    mesh = jax.make_mesh((2, 4), ("batch", "time"))
    cube = jax.make_mesh((2, 2, 2), ("batch", "time", "state"))
    rows = {"placement": wj.SplitRows("state", least=20)}
    # Eleven steps do not divide by four.
    steps = sequences(11)
    double = jax.config.read("jax_enable_x64")
    for kind in ("block", "low_rank") if double else ("low_rank",):
        model = make_model(Choices(kind, decoder="observing"))
        one = train(model, steps)
        for devices, more in (mesh, {}), (cube, rows):
            roll = wj.SequenceParallelRoll(devices, "time")
            split = eqx.tree_at(lambda m: m.roll, model, roll)
            # As of long pieces, whose states are read a few at a time.
            with mock.patch.object(segments, "AT_ONCE", 1 if double else 2**15):
                many, shared = train(split, steps, mesh=devices, **more)
            many = eqx.tree_at(lambda m: m.roll, many, model.roll)
            assert_close(trees((many, shared)), trees(one), f"{kind} {more}")


def rolls():
    """The roll alone against the oracle, values and gradients; then what is split."""
    # Makes arrays as it is imported, which processes must not before they are joined.
    from .test_continuous import make_timed

    mesh = jax.make_mesh((8,), ("time",))
    for roll, kind, length, mask in (
        (wj.AutoRoll(), "dense", 16, "none"),
        (wj.ChunkedRoll(4), "low_rank", 31, "holes"),
        (wj.SequentialRoll(segment=3), "block", 3, "leading"),
        (wj.AssociativeRoll(), "subspace_spectral", 17, "trailing"),
    ):
        split = wj.SequenceParallelRoll(mesh, "time", roll)
        want, want_slopes = expected(kind, length, mask)
        model = make_model(Choices(kind, "learnt"), roll=split)
        got, (slopes, *others) = told(
            model, *make_sequence(length), make_mask(mask, length)
        )
        assert_close(got, want, f"{kind} {length}")
        got_slopes = named_arrays(slopes) | dict(zip(("xs", "ts"), others))
        assert_close(got_slopes, want_slopes, f"gradient in {kind} ")

    split = wj.SequenceParallelRoll(mesh, "time")
    xs, ts = make_sequence(29)
    reset, mask = jnp.arange(29) % 9 == 5, make_mask("holes", 29)

    @eqx.filter_jit
    def run(model, given):
        def square(model):
            outputs, state = model.run(xs, ts, **given)
            return jnp.mean(outputs**2), (outputs, state.theta)

        slopes, values = eqx.filter_grad(square, has_aux=True)(model)
        return values, (slopes.transition, slopes.decoder, slopes.initial)

    def compare(model, given):
        pair = (eqx.tree_at(lambda m: m.roll, model, r) for r in (split, wj.AutoRoll()))
        got, want = (run(model, given) for model in pair)
        assert_close(got, want, str(given))

    model = make_model(Choices("low_rank"))
    compare(model, {"reset": reset, "mask": mask})
    compare(make_timed(Choices("spectral"))[1], {"mask": mask})
    other = eqx.tree_at(lambda m: m.roll, model, split)
    # One sequence that is shorter than there are devices, and outside `jit`.
    assert_close(other(xs[:3]), model(xs[:3]))
    assert_close(wj.forecast(other, xs[:1], 2), wj.forecast(model, xs[:1], 2))


def laws():
    """The laws of every roll, with time split over three of the devices."""
    from .test_invariances import BATCHES, check

    for transition in ("low_rank", "dropout_with_a_key", "timed_spectral"):
        check(transition, "split", BATCHES)


def refusals():
    mesh = jax.make_mesh((8,), ("batch",))
    two = jax.make_mesh((2, 4), ("batch", "state"))

    def fit(batch=jnp.ones(8), loss=None, model=jnp.ones(()), **more):
        loss = loss or (lambda model, batch, key: jnp.mean(batch) * jnp.mean(model))
        options: dict[str, Any] = {
            "steps": 1,
            "key": jr.key(0),
            "report": None,
            "mesh": mesh,
        } | more
        return wj.fit(model, loss, [batch], optax.sgd(0.1), **options)

    rows, square = wj.SplitRows("state"), jnp.ones((64, 64))
    columns = lambda model, mesh: PartitionSpec(None, "batch")  # noqa: E731
    training: tuple[tuple[type[Exception], str, dict[str, Any]], ...] = (
        (
            ValueError,
            "divides by the 8 devices of the mesh; got",
            {"batch": jnp.ones(12)},
        ),
        (ValueError, "got shape ()", {"batch": jnp.ones(())}),
        (TypeError, "needs a `jax.sharding.Mesh` for `mesh`", {"mesh": "cpu"}),
        (
            ValueError,
            "needs a `mesh` to have a `placement`",
            {"mesh": None, "placement": rows},
        ),
        (
            ValueError,
            "needs a mesh with an axis 'state'; got the axes ('batch',)",
            {"placement": rows},
        ),
        (
            ValueError,
            "rows that divide by 4. The shapes are [(66, 64)]",
            {"mesh": two, "placement": rows, "model": jnp.ones((66, 64))},
        ),
        (ValueError, "none has 4096 numbers", {"mesh": two, "placement": rows}),
        (
            ValueError,
            "cannot split the array given of shape (3, 3)",
            {"placement": columns, "model": jnp.ones((3, 3))},
        ),
        (
            TypeError,
            "of a `PartitionSpec` each",
            {"placement": lambda model, mesh: {}, "model": square},
        ),
        (
            TypeError,
            "of a `PartitionSpec` each",
            {"placement": lambda model, mesh: "x", "model": square},
        ),
    )
    for kind, part, given in training:
        refused(lambda given=given: fit(**given), kind, part)
    rolls: tuple[tuple[type[Exception], str, tuple[Any, ...]], ...] = (
        (TypeError, "needs a `jax.sharding.Mesh` for `mesh`", ("cpu", "time")),
        (ValueError, "one of ('batch',); got axis='time'", (mesh, "time")),
        (ValueError, "not linear", (mesh, "batch", wj.SequentialRoll(limit=1.0))),
    )
    for kind, part, given in rolls:
        build: Any = wj.SequenceParallelRoll
        refused(lambda build=build, given=given: build(*given), kind, part)
    model = make_model()

    def scaled(scale, batch, key):
        return scale * jnp.mean(jax.vmap(model.last)(batch))

    grown = jnp.full((8, 6, 2), 1e30).at[:5].set(0.0).at[:, ::2].set(-1e38)
    told = "stopped at step 0: the loss was nan"
    refused(lambda: fit(grown, loss=scaled), FloatingPointError, told)


def refused(act, kind, part):
    try:
        act()
    except kind as error:
        assert part in str(error), error
    else:
        raise AssertionError(f"not refused: {part}")


if __name__ == "__main__":
    jax.config.update("jax_disable_most_optimizations", True)
    assert jax.device_count() == 8
    for part in sys.argv[1:]:
        name, _, precision = part.partition("-")
        with x64(precision == "x64"):
            globals()[name]()
    print("all equal")
