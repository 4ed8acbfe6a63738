"""Makers of decoders that know a law, and what physics says of them in NumPy."""

from collections.abc import Callable
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import scipy.linalg

import warp_jax as wj

from .helpers import perturbed, tamed, TRANSITIONS, x64


physics = wj.physics


def prey(t, y, p):
    """Lotka and Volterra's equations, driven by what inputs there are."""
    push = jnp.sum(p["inputs"]) if "inputs" in p else 0.0
    both = p["meets"] * y[0] * y[1]
    return jnp.stack([p["grows"] * y[0] - both + push, both - p["dies"] * y[1]])


PREY = {
    "grows": physics.Positive("1/s"),
    "meets": physics.Interval(0.5, 2.0, "1/s"),
    "dies": physics.Constant(0.7, physics.Exponential("1/s")),
}


class Law(NamedTuple):
    """How to make a decoder of a network, and what sizes both have."""

    make: Callable[..., wj.AbstractDecoder]
    raw: int
    inputs: int = 2
    out: int = 2


LAWS = {
    "sinusoid": Law(
        lambda n: physics.SinusoidDecoder(n, physics.Positive("1/s")), 2, 1, 1
    ),
    "oscillator": Law(lambda n: physics.OscillatorDecoder(n, c=0.3), 2),
    "linear": Law(lambda n: physics.LinearODEDecoder(n, 2), 4),
    "driven": Law(
        lambda n: physics.LinearODEDecoder(n, 2, inputs=1, affine=True), 8, 3
    ),
    "ode": Law(lambda n: physics.ODEDecoder(n, prey, parameters=PREY), 2),
    "driven_ode": Law(
        lambda n: physics.ODEDecoder(n, prey, inputs=1, parameters=PREY), 2, 3
    ),
}


def make_decoder(name: str, *, observe: bool = False) -> Any:
    """Returns a decoder by its name, of a network with one hidden layer."""
    law = LAWS[name]
    ins = 1 + (law.inputs if observe else 0)
    network = eqx.nn.MLP(ins, law.raw, 3, 1, jax.nn.silu, key=jr.key(2))
    return law.make(wj.NetworkDecoder(network, observe=observe))


def make_law_model(
    name: str, transition: str = "low_rank", roll: wj.AbstractRoll = wj.AutoRoll()
) -> wj.WARP:
    """Returns a model with such a decoder, its weights off their initial values."""
    law = LAWS[name]
    with x64(False):
        decoder = make_decoder(name, observe=True)
        size = decoder.state_size
        model = wj.WARP(
            decoder=decoder,
            transition=TRANSITIONS[transition](size, law.inputs),
            initial=wj.Hypernetwork(law.inputs, size, 1, width=4, key=jr.key(4)),
            roll=roll,
        )
        model = perturbed(model)
        model = eqx.tree_at(lambda m: m.transition, model, tamed(model.transition))
    weights, rest = eqx.partition(model, eqx.is_inexact_array)
    return eqx.combine(jax.tree.map(lambda leaf: leaf.astype(float), weights), rest)


def decoder_of(model: wj.WARP) -> Any:
    """Returns a model's decoder, with whatever methods it has."""
    return model.decoder


def make_state(decoder: wj.AbstractDecoder, x, t: float = 0.2, seed: int = 0):
    """Returns a state with random weights after an observation `x` at time `t`."""
    theta = np.random.default_rng(seed).standard_normal(decoder.state_size)
    return wj.State(jnp.asarray(theta), jnp.asarray(x, float), jnp.asarray(t, float))


def constant(values, make, **given):
    """Returns a decoder, and a state of it, with the parameters that are told."""
    kinds = {name: physics.Constant(value) for name, value in values.items()}
    decoder = make(None, **kinds, **given)
    return decoder, make_state(decoder, (0.0, 0.0))


def companion(stiffness, damping):
    """Returns M of an oscillator, in complex numbers where its arguments are."""
    return np.array([[0, 1], [-stiffness, -damping]])


def expm(M):
    """Returns a matrix exponential in double precision, by SciPy."""
    return scipy.linalg.expm(np.asarray(M))


def spring(mass, stiffness, damping, start=(1.0, 0.0), length=256):
    """Returns positions and velocities at even times over [0, 1], `(length, 2)`."""
    M = companion(stiffness / mass, damping / mass)
    times = np.linspace(0, 1, length)
    return np.stack([expm(M * t) @ np.asarray(start) for t in times])


def slope(function, values, i):
    """Differentiates in one of the values, by a tiny step along the imaginary axis."""
    moved = np.array(values, complex)
    moved[i] += 1e-20j
    return np.imag(function(*moved)) / 1e-20


def _linear(key, outs):
    return eqx.nn.Linear(1, outs, key=key)


def _parameter(kind, *given):
    return (lambda key: kind(*given)), (lambda made, x: made(x) * x[0])


def _law(name):
    """Returns how to make a decoder that knows a law, and a use of it."""

    def read(decoder, x):
        theta = x[0] * jnp.linspace(-1, 1, decoder.state_size)
        state = wj.State(theta, x, jnp.array(0.3))
        return decoder(state, jnp.array([0.4]))

    return (lambda key: make_decoder(name)), read


# How to make each public class from a key, and what it gives for an observation `x`.
USES = {
    "Constant": _parameter(physics.Constant, 0.3, physics.Positive()),
    "Exponential": _parameter(physics.Exponential),
    "FirstProducts": (
        lambda key: physics.FirstProducts(physics.Tokens(1)),
        lambda made, x: made(x),
    ),
    "Free": _parameter(physics.Free),
    "Interval": _parameter(physics.Interval, -1, 2),
    "Known": _parameter(physics.Known, 2.0),
    "LeastSquaresDecoder": (
        lambda key: physics.LeastSquaresDecoder(physics.Steps(2), jnp.array(0.1)),
        lambda made, x: made(
            wj.State(jnp.array([2.0, 1, 3, *x, *x]), x, jnp.array(0.3)), jnp.ones(1)
        ),
    ),
    "LinearODEDecoder": _law("linear"),
    "ODEDecoder": _law("ode"),
    "OscillatorDecoder": _law("oscillator"),
    "Parameters": (
        lambda key: physics.Parameters("", _linear(key, 1), {"a": physics.Free()}, 0),
        lambda made, x: made(wj.State(x, x, x[0])),
    ),
    "Positive": _parameter(physics.Positive),
    "SinusoidDecoder": _law("sinusoid"),
    "Steps": (lambda key: physics.Steps(2), lambda made, x: made(x, 2 * x)),
    "Tokens": (lambda key: physics.Tokens(1), lambda made, x: made(x, 2 * x)),
}
