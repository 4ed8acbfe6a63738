"""Bad parts, losses and trainings raise errors that quote the call and the value."""

# Wrong types are what is tested here.
# pyright: reportArgumentType=false

import os

import equinox as eqx
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import optax
import pytest

import warp_jax as wj

from .helpers import assert_refused


KEY = jr.key(0)
XS = jr.normal(KEY, (6, 2))
ONES = jnp.ones(6, bool)
GAUSSIAN = wj.Gaussian(XS, jnp.ones_like(XS))
RANK = "LowRankTransition(state_size, input_size, rank, length)"
BLOCK = "BlockDiagonalTransition(state_size, input_size, block_size)"
BITS = "bits_per_dim(gaussian, target, bins, low, high)"
ENTROPY = "cross_entropy(logits, label)"
SPECTRAL = "SpectralTransition(state_size, input_size, length, cycles)"
OSCILLATORY = "OscillatoryTransition(state_size, input_size, length, cycles)"
SUBSPACE = "SubspaceTransition(state_size, dynamics)"
CHUNKED = "ChunkedRoll(chunk, together)"
HYPERNETWORK = "Hypernetwork(input_size, state_size, depth)"
FIT = "fit(model, loss, batches, optimizer, steps, key)"


def low_rank(state_size=5, rank=2, **given):
    return wj.LowRankTransition(state_size, 2, rank, key=KEY, **given)


def spectral(size=4, length=20, **given):
    return wj.SpectralTransition(size, 2, length=length, key=KEY, **given)


def subspace(dynamics, size=5):
    return wj.SubspaceTransition(size, dynamics, key=KEY)


def hypernetwork(rank):
    return wj.Hypernetwork(2, 5, rank=rank, key=KEY)


def fit(batches=(jnp.ones(2),), loss=None, **given):
    loss = loss or (lambda model, batch, key: jnp.sum(model["w"] * batch))
    options = {"steps": 2, "key": KEY, "report": None} | given
    return wj.fit({"w": jnp.ones(2)}, loss, batches, optax.sgd(1.0), **options)


def decoder(ins=1, outs=2, **given):
    return wj.NetworkDecoder(eqx.nn.Linear(ins, outs, key=KEY), **given)


# The call that the message quotes, a part of what else it says, and what raises it.
VALUE_ERRORS = [
    (RANK, "rank=6 and state_size=5", lambda m: low_rank(rank=6)),
    (RANK, "rank=0", lambda m: low_rank(rank=0)),
    (RANK, "length=0", lambda m: low_rank(length=0)),
    (RANK, "cycles=-1", lambda m: low_rank(cycles=-1)),
    (
        "DenseTransition(state_size, input_size)",
        "=-1",
        lambda m: wj.DenseTransition(-1, 2),
    ),
    (
        "DiagonalTransition(state_size, input_size)",
        "input_size=0",
        lambda m: wj.DiagonalTransition(3, 0),
    ),
    (
        BLOCK,
        "block_size=4 and state_size=3",
        lambda m: wj.BlockDiagonalTransition(3, 2, 4),
    ),
    (SPECTRAL, "even `state_size`", lambda m: spectral(3)),
    (SPECTRAL, "state_size=3", lambda m: spectral(3)),
    (SPECTRAL, "length=0", lambda m: spectral(length=0)),
    (SPECTRAL, "cycles=-1", lambda m: spectral(cycles=-1)),
    (
        OSCILLATORY,
        "state_size=5",
        lambda m: wj.OscillatoryTransition(5, 2, length=20, key=KEY),
    ),
    (SUBSPACE, "6 coefficients and state_size=5", lambda m: subspace(spectral(6))),
    (SUBSPACE, "state_size=0", lambda m: subspace(spectral(), 0)),
    (CHUNKED, "a power of two for `chunk`; got 3", lambda m: wj.ChunkedRoll(3)),
    (CHUNKED, "chunk=0", lambda m: wj.ChunkedRoll(0)),
    (CHUNKED, "together=0", lambda m: wj.ChunkedRoll(4, together=0)),
    ("AutoRoll(batch)", "batch=0", lambda m: wj.AutoRoll(batch=0)),
    (HYPERNETWORK, "rank=0", lambda m: hypernetwork(0)),
    (
        "WARP(decoder, transition, initial)",
        "5 from the transition",
        lambda m: wj.WARP(decoder=m.decoder, transition=low_rank(), initial=m.initial),
    ),
    (
        "GaussianDecoder(decoder, min_std)",
        "out_size=3",
        lambda m: wj.GaussianDecoder(decoder(outs=3)),
    ),
    (
        "GaussianDecoder(decoder, min_std)",
        "min_std=0",
        lambda m: wj.GaussianDecoder(decoder(), min_std=0),
    ),
    ("NetworkDecoder(network)", "shape (7,)", lambda m: decoder(in_size=7)),
    (
        "NetworkDecoder(network)",
        "vector for output",
        lambda m: wj.NetworkDecoder(eqx.nn.MLP(1, "scalar", 3, 1, key=KEY)),
    ),
    ("NetworkDecoder(network, in_size)", "in_size=0", lambda m: decoder(in_size=0)),
    (
        "NetworkDecoder",
        "takes 3 numbers; got a coordinate of 1",
        lambda m: decoder(3)(m.init(XS[0]), jnp.ones(1)),
    ),
    ("WeightSpace(network)", "tanh", lambda m: wj.WeightSpace(jnp.tanh)),
    ("Clip(limit)", "limit=inf", lambda m: wj.Clip(float("inf"))),
    ("NormBound(limit)", "limit=0", lambda m: wj.NormBound(0)),
    ("DynamicTanh(size, limit)", "size=0", lambda m: wj.DynamicTanh(0)),
    (
        "SinusoidalCoordinates(size, base)",
        "size=3",
        lambda m: wj.SinusoidalCoordinates(3),
    ),
    (
        "SinusoidalCoordinates(size, base)",
        "base=1.0",
        lambda m: wj.SinusoidalCoordinates(4, 1.0),
    ),
    (
        "RasterCoordinates(height, width, waves)",
        "width=1",
        lambda m: wj.RasterCoordinates(8, 1),
    ),
    (
        "SequentialRoll(segment, limit)",
        "limit=-1.0",
        lambda m: wj.SequentialRoll(limit=-1.0),
    ),
    (
        "SequentialRoll(segment, limit)",
        "segment=0",
        lambda m: wj.SequentialRoll(segment=0),
    ),
    (
        "LearntInitial(theta)",
        "1 axes; got shape (6, 2)",
        lambda m: wj.LearntInitial(XS),
    ),
    ("LearntInitial(theta)", "shape (0,)", lambda m: wj.LearntInitial(XS[0, :0])),
    (
        "Hypernetwork(input_size, state_size, depth)",
        "depth=-1",
        lambda m: wj.Hypernetwork(2, 5, -1, key=KEY),
    ),
    ("Hypernetwork(input_size=2)", "(3,)", lambda m: m.initial(jnp.ones(3))),
    (
        "NoisyInitial(initial, std)",
        "std=-0.1",
        lambda m: wj.NoisyInitial(m.initial, -0.1),
    ),
    (
        "CausalConvolution(input_size, channels, width)",
        "width=0",
        lambda m: wj.CausalConvolution(2, 3, 0, key=KEY),
    ),
    (
        "NoncausalConvolution",
        "width=4",
        lambda m: wj.NoncausalConvolution(2, 3, 4, key=KEY),
    ),
    (
        "mse(prediction, target, mask)",
        "(6, 2) and (1, 2)",
        lambda m: wj.mse(XS, XS[:1]),
    ),
    ("mse(prediction, target, mask)", "6 steps", lambda m: wj.mse(XS, XS, ONES[:3])),
    (
        "gaussian_nll(gaussian, target, mask)",
        "(6,)",
        lambda m: wj.gaussian_nll(GAUSSIAN, XS[:, 0]),
    ),
    (
        "gaussian_nll(gaussian, target, mask)",
        "std of shape (2,)",
        lambda m: wj.gaussian_nll(wj.Gaussian(XS, jnp.ones(2)), XS),
    ),
    (BITS, "bins=1", lambda m: wj.bits_per_dim(GAUSSIAN, XS, 1)),
    (BITS, "low=2.0, high=1.0", lambda m: wj.bits_per_dim(GAUSSIAN, XS, low=2.0)),
    (BITS, "[-1.0, 1.0]", lambda m: wj.bits_per_dim(GAUSSIAN, XS + 9)),
    (
        BITS,
        "std of shape ()",
        lambda m: wj.bits_per_dim(wj.Gaussian(XS, jnp.ones(())), XS),
    ),
    (ENTROPY, "label=2", lambda m: wj.cross_entropy(XS[0], 2)),
    (ENTROPY, "(6, 2) and ()", lambda m: wj.cross_entropy(XS, 1)),
    ("Batches(data, size)", "size=7", lambda m: wj.Batches(XS, 7, key=KEY)),
    (FIT, "steps=0", lambda m: fit(steps=0)),
    (FIT, "every=0", lambda m: fit(every=0)),
    (FIT, "after 1 of 2 steps", lambda m: fit(iter([jnp.ones(2)]))),
    (FIT, "patience=2", lambda m: fit(patience=2)),
    (FIT, "`checkpoint` to resume from; got None", lambda m: fit(resume=True)),
    (FIT, "`checkpoint` to stop with; got None", lambda m: fit(stop=lambda: True)),
    (FIT, "keep=0", lambda m: fit(keep=0)),
    ("load(path, like)", "did not write", lambda m: wj.load(__file__, m)),
]
TYPE_ERRORS = [
    (
        "CausalConvolution(..., drive)",
        "got LogSignature",
        lambda m: wj.CausalConvolution(
            2, 3, 3, drive=wj.LogSignature(window=2), key=KEY
        ),
    ),
    (
        "NoncausalConvolution(..., drive)",
        "got int",
        lambda m: wj.NoncausalConvolution(2, 3, 3, drive=3, key=KEY),
    ),
    (RANK, "2.0 of type float", lambda m: low_rank(rank=2.0)),
    (SUBSPACE, "a transition for `dynamics`; got int", lambda m: subspace(3)),
    (SUBSPACE, "got a SubspaceTransition", lambda m: subspace(subspace(spectral()))),
    (CHUNKED, "4.0 of type float", lambda m: wj.ChunkedRoll(4.0)),
    (HYPERNETWORK, "1.5 of type float", lambda m: hypernetwork(1.5)),
    ("LearntInitial(theta)", "dtype int32", lambda m: wj.LearntInitial(jnp.arange(3))),
    ("WeightSpace(network)", "complex", lambda m: wj.WeightSpace({"z": XS + 0j})),
    ("Clip(limit)", "'1'", lambda m: wj.Clip("1")),
    ("mse(prediction, target, mask)", "Gaussian", lambda m: wj.mse(GAUSSIAN, XS)),
    (
        "gaussian_nll(gaussian, target, mask)",
        "a `Gaussian`",
        lambda m: wj.gaussian_nll(XS, XS),
    ),
    (ENTROPY, "dtype float32", lambda m: wj.cross_entropy(XS[0], 1.0)),
    (FIT, "2.5 of type float", lambda m: fit(steps=2.5)),
    (
        "save(path, model)",
        "one of Python objects at ['w']",
        lambda m: wj.save(os.devnull, {"w": np.array([None])}),
    ),
]
# What the values alone tell, found while compiled code runs.
TRACED_ERRORS = [
    (BITS, "outside [low, high]", lambda m: wj.bits_per_dim(GAUSSIAN, XS + 9)),
    (ENTROPY, "0 <= label < 2", lambda m: wj.cross_entropy(XS[0], jnp.array(2))),
    ("mse(prediction, target, mask)", "valid step", lambda m: wj.mse(XS, XS, ~ONES)),
]


@pytest.mark.parametrize("call, fragment, act", VALUE_ERRORS)
def test_bad_values_and_shapes_are_refused(call, fragment, act, unchecked):
    assert_refused(act, ValueError, call, fragment)


@pytest.mark.parametrize("call, fragment, act", TYPE_ERRORS)
def test_bad_types_are_refused(call, fragment, act, unchecked):
    assert_refused(act, TypeError, call, fragment)


@pytest.mark.parametrize("call, fragment, act", TRACED_ERRORS)
def test_bad_values_are_found_inside_jit(call, fragment, act, unchecked):
    assert_refused(eqx.filter_jit(act), eqx.EquinoxRuntimeError, call, fragment)
