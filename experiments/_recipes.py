"""recipe, sizes -> a WARP: one field for each part, so that one alone can be changed."""

import dataclasses
import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.nn as jnn
import jax.numpy as jnp
import jax.random as jr
from jaxtyping import Array, Float

import warp_jax as wj

from ._models import low_rank, sized, Still, subspace
from ._sizes import count


FEATURES = 8


class Shape(NamedTuple):
    """- `inputs`, `outputs`: channels of what is seen, and numbers that are asked for.
    - `length`: steps that are seen.
    - `span`: steps from time 0 to time 1, those that are forecast included.
    """

    inputs: int
    outputs: int
    length: int
    span: int


# Size, inputs, length and key -> A and B; `cycles` for those that have time-scales.
Structure = Callable[..., wj.AbstractTransition]
# Recipe, shape and key -> what reads a state, and a first state.
Reading = Callable[["Recipe", Shape, Any], tuple[wj.AbstractDecoder, Array]]
# Inputs, a first state and key -> phi.
Start = Callable[[int, Array, Any], wj.AbstractInitial]
# Recipe, shape and key -> model.
Assembly = Callable[["Recipe", Shape, Any], Any]


def plain(make: Callable[[int, int], wj.AbstractTransition]) -> Structure:
    """Returns a structure without random numbers and without time-scales."""

    def structure(size: int, inputs: int, length: int, key: Any, *, cycles: float):
        return make(size, inputs)

    return structure


def fixed_identity(size: int, inputs: int) -> wj.AbstractTransition:
    """A = I, whatever is learnt, and B from zero: `theta_t = theta_0 + B sum(dx)`."""
    sums = wj.SumTransition(inputs)
    transition = wj.SubspaceTransition(size, sums, key=jr.key(0))
    return eqx.tree_at(lambda t: t.P, transition, jnp.zeros((size, inputs)))


def thin(
    size: int, inputs: int, length: int, key: Any, *, cycles: float, rank: int = 16
) -> wj.AbstractTransition:
    """Identity plus low rank, of no more columns than the state has numbers."""
    return low_rank(size, inputs, length, key, rank=min(rank, size), cycles=cycles)


def dropped(
    size: int, inputs: int, length: int, key: Any, *, cycles: float, rate: float = 0.4
) -> wj.AbstractTransition:
    """A subspace whose modes are left out of training sequences with the chance `rate`."""
    modes = subspace(size, inputs, length, key, cycles=cycles)
    assert isinstance(modes, wj.SubspaceTransition)
    return wj.ModeDropout(modes, rate)


LOW_RANK = functools.partial(thin, rank=16)
SUBSPACE = functools.partial(subspace, modes=16)


class ReadOut(wj.AbstractDecoder):
    """A trained function of the state and of what the state's own network would be given:
    the same for all states, where self-decoding has the state for its weights.
    """

    function: Callable
    observe: bool = eqx.field(static=True)
    state_size: int = eqx.field(static=True)
    out_size: int = eqx.field(static=True)

    def __call__(
        self, state: wj.State, coordinate: Float[Array, " q"]
    ) -> Float[Array, " y"]:
        seen = (state.x.astype(coordinate.dtype),) if self.observe else ()
        return self.function(jnp.concatenate([state.theta, coordinate, *seen]))


def self_decoding(
    recipe: "Recipe", shape: Shape, key: Any
) -> tuple[wj.AbstractDecoder, Array]:
    """The state is the weights of the network that reads it."""
    network = recipe.network(shape, key)
    decoder = wj.NetworkDecoder(network, recipe.observe)
    return decoder, decoder.flatten(network)


def linear(
    recipe: "Recipe", shape: Shape, key: Any
) -> tuple[wj.AbstractDecoder, Array]:
    """No auxiliary network: one affine map of the state and of what it would be given."""

    def make(network: eqx.nn.MLP, inputs: int, key: Any) -> Callable:
        return eqx.nn.Linear(inputs, int(network.out_size), key=key)

    return _read_out(make, recipe, shape, key)


def separate(
    recipe: "Recipe", shape: Shape, key: Any
) -> tuple[wj.AbstractDecoder, Array]:
    """A perceptron of its own reads the state: as wide and as deep as the network that the
    state would be.
    """

    def make(network: eqx.nn.MLP, inputs: int, key: Any) -> Callable:
        width, depth, outs = network.width_size, network.depth, int(network.out_size)
        return eqx.nn.MLP(inputs, outs, width, depth, jnn.silu, key=key)

    return _read_out(make, recipe, shape, key)


def _read_out(make, recipe, shape, key):
    network = recipe.network(shape, key)
    theta = wj.NetworkDecoder(network).flatten(network)
    # The first state of self-decoding, or as many numbers of it as the state has.
    theta = jnp.resize(theta, (recipe.state or theta.size,))
    inputs = theta.size + network.in_size
    # Its own key: `key` itself has drawn the first state.
    function = make(network, inputs, jr.fold_in(key, 1))
    decoder = ReadOut(
        function=function,
        observe=recipe.observe,
        state_size=theta.size,
        out_size=int(network.out_size),
    )
    return decoder, theta


def hypernetwork(inputs: int, theta: Array, key: Any) -> wj.AbstractInitial:
    """phi, a small perceptron of the first observation."""
    return wj.Hypernetwork(inputs, theta.size, 1, width=8, theta=theta, key=key)


def learnt(inputs: int, theta: Array, key: Any) -> wj.AbstractInitial:
    """No phi: one learnt theta_0 for all sequences."""
    return wj.LearntInitial(theta)


def time_alone(span: int) -> wj.AbstractCoordinates:
    return wj.TimeCoordinate()


def waves(span: int) -> wj.AbstractCoordinates:
    """The time and three waves, the shortest about six steps long."""
    return wj.SinusoidalCoordinates(6, 16.0, scale=float(span))


def none(span: int) -> wj.AbstractCoordinates:
    return Still()


def single(recipe: "Recipe", shape: Shape, key: Any) -> wj.WARP:
    """One WARP."""
    network_key, transition_key, initial_key = jr.split(key, 3)
    decoder, theta = recipe.reading(recipe, shape, network_key)
    return wj.WARP(
        decoder=recipe.finish(recipe.distribution(decoder)),
        transition=recipe.structure(
            theta.size,
            recipe.drive.size(shape.inputs),
            shape.length,
            transition_key,
            cycles=recipe.cycles,
        ),
        initial=recipe.start(shape.inputs, theta, initial_key),
        drive=recipe.drive,
        coordinates=recipe.coordinates(shape.span),
    )


def matched(recipe: "Recipe", shape: Shape, key: Any) -> wj.WARP:
    """One WARP with a state of the size that makes about as many parameters as
    self-decoding has.
    """
    usual = dataclasses.replace(recipe, reading=self_decoding)

    def make(size: int) -> wj.WARP:
        return single(dataclasses.replace(recipe, state=size), shape, key)

    return sized(make, count(single(usual, shape, key)))


def stacked(recipe: "Recipe", shape: Shape, key: Any) -> wj.Stacked:
    """Two WARPs on top of each other, with a few features between them."""
    embed_key, lower_key, mix_key, top_key = jr.split(key, 4)
    between = shape._replace(inputs=FEATURES, outputs=FEATURES)
    lower = single(recipe, between, lower_key)
    return wj.Stacked(
        eqx.nn.Linear(shape.inputs, FEATURES, key=embed_key),
        [wj.StackedLayer(lower, FEATURES, key=mix_key)],
        single(recipe, shape._replace(inputs=FEATURES), top_key),
    )


def as_it_is(decoder: wj.AbstractDecoder) -> wj.AbstractDecoder:
    return decoder


@dataclasses.dataclass(frozen=True)
class Recipe:
    """What a WARP is made from, and what is asked of it.

    - `task`: the loss, and how it is tested.
    - `structure`, `cycles`: of A and B, and full turns of the fastest mode at the start.
    - `drive`, `coordinates`: as of a WARP; coordinates by how many steps there are.
    - `reading`, `start`: what reads a state, and phi.
    - `assemble`: how it all becomes a model.
    - `weights`, `depth`: of the auxiliary network, about so many, and its hidden layers.
    - `state`: numbers in the state, where it is not that network's weights; by default as
        many.
    - `observe`: whether the latest observation is given to what reads a state.
    - `numbers`, `distribution`: how many numbers of the decoder make one of an output, and
        what they make of it.
    - `finish`: what is around the decoder.
    """

    task: Any
    structure: Structure = LOW_RANK
    cycles: float = 3.0
    drive: wj.AbstractDrive = dataclasses.field(default_factory=wj.Increments)
    coordinates: Callable[[int], wj.AbstractCoordinates] = time_alone
    reading: Reading = self_decoding
    start: Start = hypernetwork
    assemble: Assembly = single
    weights: int = 200
    depth: int = 1
    state: int | None = None
    observe: bool = False
    numbers: int = 1
    distribution: Callable[[wj.AbstractDecoder], wj.AbstractDecoder] = as_it_is
    finish: Callable[[wj.AbstractDecoder], wj.AbstractDecoder] = as_it_is

    def model(self, shape: Shape, key: Any) -> Any:
        """Returns the model."""
        return self.assemble(self, shape, key)

    def network(self, shape: Shape, key: Any) -> eqx.nn.MLP:
        """Returns the auxiliary network, as wide as makes about `weights`."""
        ins = self.coordinates(shape.span).out_size + self.observe * shape.inputs
        outs = self.numbers * shape.outputs

        def make(width: int) -> eqx.nn.MLP:
            return eqx.nn.MLP(ins, outs, width, self.depth, jnn.silu, key=key)

        return sized(make, self.weights)


def warps(model: Any) -> list[wj.WARP]:
    """Returns the WARPs that a model is made from, the top one last."""
    is_warp = lambda part: isinstance(part, wj.WARP)  # noqa: E731
    return [part for part in jax.tree.leaves(model, is_leaf=is_warp) if is_warp(part)]
