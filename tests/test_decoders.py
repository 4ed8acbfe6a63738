"""State and coordinate to output: what the oracle does not cover."""

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest

import warp_jax as wj

from .helpers import assert_close, make_network, perturbed


NETWORK = make_network()
DECODER = wj.NetworkDecoder(NETWORK)


def make_state(decoder, theta=None, x=(0.3, -0.7)):
    theta = jnp.linspace(-1, 1, decoder.state_size) if theta is None else theta
    return wj.State(theta, jnp.array(x), jnp.array(0.25))


def test_the_state_is_the_networks_weights(precision):
    network = perturbed(make_network())
    decoder = wj.NetworkDecoder(network)
    coordinate = jnp.array([0.4])
    y = decoder(make_state(decoder, decoder.flatten(network)), coordinate)
    assert_close(y, network(coordinate))
    assert (decoder.state_size, decoder.in_size, decoder.out_size) == (14, 1, 2)


def test_an_observing_network_gets_the_observation_after_the_coordinate(precision):
    network = eqx.nn.Linear(3, 2, key=jr.key(0))
    decoder = wj.NetworkDecoder(network, observe=True)
    state = make_state(decoder, decoder.flatten(network))
    want = network(jnp.array([0.4, 0.3, -0.7]))
    assert_close(decoder(state, jnp.array([0.4])), want)


def test_a_decoder_keeps_no_weights_of_its_own():
    assert not jax.tree.leaves(eqx.filter(DECODER, eqx.is_array))


def test_any_network_will_do(double):
    class Own(eqx.Module):
        scale: jax.Array
        layer: eqx.nn.Linear
        name: str = eqx.field(static=True, default="own")

        def __call__(self, z):
            return jnp.sin(self.scale * self.layer(z))

    layers = [eqx.nn.Linear(2, 3, key=jr.key(0)), eqx.nn.Lambda(jnp.tanh)]
    for network in (
        eqx.nn.Sequential([*layers, eqx.nn.Linear(3, 1, key=jr.key(1))]),
        Own(jnp.array(1.7), eqx.nn.Linear(2, 3, key=jr.key(2))),
        eqx.nn.MLP(2, 2, 4, 2, use_bias=False, key=jr.key(3)),
    ):
        decoder = wj.NetworkDecoder(network, in_size=2)
        state = make_state(decoder, decoder.flatten(network))
        coordinate = jnp.array([0.4, -2.0])
        assert_close(decoder(state, coordinate), network(coordinate))
        assert decoder.out_size == network(coordinate).size


def test_the_input_size_is_found_or_asked_for():
    sequential = eqx.nn.Sequential([eqx.nn.Linear(2, 3, key=jr.key(0))])
    assert wj.NetworkDecoder(sequential).in_size == 2
    with pytest.raises(ValueError, match="in_size="):
        wj.NetworkDecoder(eqx.nn.Sequential([eqx.nn.Lambda(jnp.sin), *sequential]))
    with pytest.raises(ValueError, match="takes 1 numbers; got a coordinate of 3"):
        DECODER(make_state(DECODER), jnp.ones(3))


def test_a_gaussian_has_a_positive_deviation_of_at_least_the_least(precision):
    bias = jnp.array([3.0, -2.0, 1.0, -1000.0])
    network = eqx.tree_at(
        lambda n: (n.weight, n.bias),
        eqx.nn.Linear(1, 4, key=jr.key(0)),
        (jnp.zeros((4, 1)), bias),
    )
    inner = wj.NetworkDecoder(network)
    decoder = wj.GaussianDecoder(inner, min_std=0.01)
    read = lambda theta: decoder(make_state(decoder, theta), jnp.ones(1))  # noqa: E731
    theta = inner.flatten(network)
    gaussian = read(theta)
    assert_close(gaussian.mean, np.array([3.0, -2.0]))
    assert_close(gaussian.std, np.array([np.log1p(np.e), 0.01]))
    slopes = jax.jacrev(lambda theta: read(theta).std)(theta)
    assert np.all(np.isfinite(slopes))
    assert decoder.out_size == 2


def test_activations_act_on_the_output_or_on_the_mean(precision):
    state, coordinate = make_state(DECODER), jnp.array([0.4])
    y = DECODER(state, coordinate)
    clipped = wj.ActivatedDecoder(DECODER, wj.Clip(0.1))(state, coordinate)
    assert_close(clipped, jnp.clip(y, -0.1, 0.1))
    gaussian = wj.GaussianDecoder(DECODER)
    bounded = wj.ActivatedDecoder(gaussian, jnp.tanh)(state, coordinate)
    told = gaussian(state, coordinate)
    assert_close(bounded, wj.Gaussian(jnp.tanh(told.mean), told.std))


@pytest.mark.parametrize("scale", [0.0, 1e-3, 1.0, 1e3])
def test_a_norm_bound_keeps_ratios_and_a_root_mean_square_below_its_limit(
    scale, precision
):
    limit, y = 3.0, scale * np.array([1.0, -4.0, 0.5])
    norm = np.sqrt(np.mean(y**2))
    bound, slope = wj.NormBound(limit), y / limit**2 / len(y)
    shrunk = 1 / np.sqrt(1 + (norm / limit) ** 2)
    assert_close(bound(jnp.asarray(y)), shrunk * y)
    assert shrunk * norm < limit
    # d(y s)_i / dy_j with s = (1 + mean(y²) / limit²)^-½.
    want = shrunk * np.eye(len(y)) - shrunk**3 * np.outer(y, slope)
    assert_close(jax.jacrev(bound)(jnp.asarray(y)), want)
    assert_close(jax.jacfwd(bound)(jnp.asarray(y)), want)


def test_a_norm_bound_takes_any_finite_output():
    y = jnp.array([1e30, -1e30, 2e30, 0.0], jnp.float32)
    assert_close(wj.NormBound(2.0)(y), 2 * np.array([1, -1, 2, 0]) / np.sqrt(1.5))


def test_a_dynamic_tanh_starts_within_its_limit(precision):
    y = jnp.array([-100.0, 0.2, 100.0])
    want = jnp.array([-2.0, 2 * np.tanh(0.1), 2.0])
    assert_close(wj.DynamicTanh(3, limit=2.0)(y), want)


def test_points_and_draws_leave_arrays_as_they_are(getkey):
    array = jnp.ones(3)
    gaussian = wj.Gaussian(array, 2 * array)
    assert wj.point(array) is array and wj.point(gaussian) is array
    key = getkey()
    assert wj.draw(array, key) is array
    assert_close(wj.draw(gaussian, key), 1 + 2 * jr.normal(key, (3,)))
