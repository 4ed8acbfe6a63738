"""Run in a process of its own with eight devices: fits with a mesh are fits without."""

import sys

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import optax

import warp_jax as wj

from .helpers import assert_close, make_model, make_sequence, x64
from .oracle import Choices


def trees(history, model):
    return history.loss, eqx.filter(model, eqx.is_inexact_array)


def compare(transition, mesh):
    model = make_model(Choices(transition))
    xs, ts = zip(*(make_sequence(8, seed) for seed in range(24)))
    xs, ts = jnp.stack(xs), jnp.stack(ts)
    options = {"steps": 20, "key": jr.key(0), "report": None}
    options |= {"project": wj.RadiusBound(1.0)}

    def loss(model, batch, key):
        xs, ts = batch
        return wj.mse(jax.vmap(model)(xs, ts), jnp.cumsum(xs, axis=1))

    def train(**more):
        batches = wj.Batches((xs, ts), 16, key=jr.key(1))
        return wj.fit(model, loss, batches, optax.adam(3e-3), **options, **more)

    (one, alone), (many, shared) = train(), train(mesh=mesh)
    for leaf in jax.tree.leaves(eqx.filter(many, eqx.is_array)):
        assert leaf.sharding.is_fully_replicated and len(leaf.devices()) == 8
    assert_close(trees(shared, many), trees(alone, one))

    def carried(model, window, key, carry):
        xs, ts = window.data
        run = lambda xs, ts, state: model.run(xs, ts, state=state)  # noqa: E731
        outputs, carry = jax.vmap(run)(xs, ts, window.take(carry))
        return wj.mse(outputs, xs), carry

    carry = jax.vmap(model.init)(xs[:8, 0], ts[:8, 0])
    windows = wj.Windows((np.asarray(xs[:8]), np.asarray(ts[:8])), 4)
    options |= {"carry": carry, "optimizer": optax.adam(3e-3)}
    one, alone = wj.fit(model, carried, windows, **options)
    many, shared = wj.fit(model, carried, windows, **options, mesh=mesh)
    assert_close(trees(shared, many), trees(alone, one))


def refuse(mesh):
    def fit(batch, mesh, loss=lambda model, batch, key: jnp.mean(batch) * model):
        options = {"steps": 1, "key": jr.key(0), "report": None, "mesh": mesh}
        return wj.fit(jnp.ones(()), loss, [batch], optax.sgd(0.1), **options)

    for batch, given, kind, part in (
        (jnp.ones(12), mesh, ValueError, "divides by the 8 devices of the mesh; got"),
        (jnp.ones(()), mesh, ValueError, "got shape ()"),
        (jnp.ones(8), "cpu", TypeError, "needs a `jax.sharding.Mesh` for `mesh`"),
        
    ):
        try:
            fit(batch, given)
        except kind as error:
            assert part in str(error), error
        else:
            raise AssertionError(part)
    model = make_model()

    def loss(scale, batch, key):
        return scale * jnp.mean(jax.vmap(model.last)(batch))

    grown = jnp.full((8, 6, 2), 1e30).at[:5].set(0.0).at[:, ::2].set(-1e38)
    try:
        fit(grown, mesh, loss)
    except FloatingPointError as error:
        assert "stopped at step 0: the loss was nan" in str(error), error
    else:
        raise AssertionError("an overflow passed")


if __name__ == "__main__":
    jax.config.update("jax_disable_most_optimizations", True)
    assert jax.device_count() == 8
    mesh = jax.make_mesh((8,), ("batch",))
    with x64(sys.argv[1] == "x64"):
        compare(sys.argv[2], mesh)
    if sys.argv[1] == "f32":
        refuse(mesh)
    print("all equal")
