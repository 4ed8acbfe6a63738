"""Network to theta and back."""

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest

import warp_jax as wj

from .helpers import assert_same, make_network


class Own(eqx.Module):
    """A network with arrays of many shapes, an integer one and a function among them."""

    scale: jax.Array
    order: jax.Array
    parts: dict
    activation: object

    def __init__(self, key):
        self.scale = jr.normal(key, ())
        self.order = jnp.arange(3)
        self.parts = {"b": jr.normal(key, (2, 1, 3)), "a": [jr.normal(key, (4,))]}
        self.activation = jnp.tanh


NETWORKS = {
    "perceptron": lambda key: make_network(),
    "own module": Own,
    "sequential": lambda key: eqx.nn.Sequential(
        [eqx.nn.Linear(2, 3, key=key), eqx.nn.Lambda(jnp.tanh), eqx.nn.LayerNorm(3)]
    ),
    "convolution": lambda key: eqx.nn.Conv1d(2, 3, 4, key=key),
}


@pytest.mark.parametrize("network", NETWORKS)
def test_there_and_back_changes_nothing(network, getkey, precision):
    network = NETWORKS[network](getkey())
    space = wj.WeightSpace(network)
    theta = space.flatten(network)
    assert theta.shape == (space.size,)
    assert_same(space.unflatten(theta), network)
    other = jr.normal(getkey(), theta.shape)
    assert_same(space.flatten(space.unflatten(other)), other)


def test_a_perceptron_lies_layer_by_layer_weight_before_bias():
    network = make_network()
    theta = wj.WeightSpace(network).flatten(network)
    first, second = network.layers
    parts = (first.weight, first.bias, second.weight, second.bias)
    want = np.concatenate([np.asarray(part).ravel() for part in parts])
    assert np.array_equal(theta, want)


def test_spaces_of_equal_networks_are_equal(getkey):
    first, second = (wj.WeightSpace(Own(getkey())) for _ in range(2))
    assert jax.tree.structure(first) == jax.tree.structure(second)
    assert hash(jax.tree.structure(first)) == hash(jax.tree.structure(second))
    wider = wj.WeightSpace(eqx.nn.Linear(3, 2, key=getkey()))
    assert jax.tree.structure(first) != jax.tree.structure(wider)


def test_other_shapes_are_refused(getkey):
    space = wj.WeightSpace(eqx.nn.Linear(2, 3, key=getkey()))
    with pytest.raises(ValueError, match=r"`unflatten\(theta\)`.*\(9,\).*\(8,\)"):
        space.unflatten(jnp.ones(8))
    # As many weights, in other shapes.
    with pytest.raises(ValueError, match=r"`flatten\(network\)`"):
        space.flatten(eqx.nn.Linear(3, 3, use_bias=False, key=getkey()))
    with pytest.raises(ValueError, match="floating-point arrays"):
        wj.WeightSpace({"order": jnp.arange(3)})
    with pytest.raises(TypeError, match="complex"):
        wj.WeightSpace({"z": jnp.ones(2, complex)})
