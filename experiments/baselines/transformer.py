"""Causal Transformer (Vaswani et al. 2017, arXiv 1706.03762), decoder only."""

from typing import Any

import equinox as eqx
import jax
import jax.nn as jnn
import jax.numpy as jnp
import jax.random as jr
from jaxtyping import Array, Bool, Float, Int

from .recurrent import AbstractCell, held


class Cache(eqx.Module):
    """Keys and values of the latest steps, the oldest first, and how many there are."""

    keys: Float[Array, "l w h s"]
    values: Float[Array, "l w h s"]
    count: Int[Array, ""]
    features: Float[Array, " f"]


class Layer(eqx.Module):
    """One block: attention, then a perceptron, each after a normalisation and added to
    what it was given (Xiong et al. 2020, arXiv 2002.04745).
    """

    norms: tuple[eqx.nn.LayerNorm, eqx.nn.LayerNorm]
    project: eqx.nn.Linear
    merge: eqx.nn.Linear
    network: eqx.nn.MLP
    slopes: Float[Array, " h"]
    heads: int = eqx.field(static=True)

    def __init__(self, size: int, heads: int, *, key: Any):
        project_key, merge_key, network_key = jr.split(key, 3)
        self.norms = eqx.nn.LayerNorm(size), eqx.nn.LayerNorm(size)
        self.project = eqx.nn.Linear(size, 3 * size, use_bias=False, key=project_key)
        self.merge = eqx.nn.Linear(size, size, use_bias=False, key=merge_key)
        self.network = eqx.nn.MLP(size, size, 2 * size, 1, jnn.gelu, key=network_key)
        self.slopes = 2.0 ** (-8 * jnp.arange(1, heads + 1) / heads)
        self.heads = heads

    def split(self, features: Float[Array, " f"]) -> tuple[Array, Array, Array]:
        """Returns the query, the key and the value of a step, each `(heads, size)`."""
        projected = self.project(self.norms[0](features))
        query, key, value = projected.reshape(3, self.heads, -1)
        return query, key, value

    def attend(
        self,
        features: Float[Array, " f"],
        query: Float[Array, "h s"],
        keys: Float[Array, "k h s"],
        values: Float[Array, "k h s"],
        distance: Int[Array, " k"],
        seen: Bool[Array, " k"],
    ) -> Float[Array, " f"]:
        """Returns the features of a step after this layer. It sees the steps that are
        `seen`, `distance` steps ago.
        """
        scores = jnp.einsum("hs,khs->hk", query, keys) * query.shape[-1] ** -0.5
        scores = scores - self.slopes[:, None] * distance[None].astype(scores.dtype)
        weights = jnn.softmax(jnp.where(seen[None], scores, -jnp.inf), axis=-1)
        attended = jnp.einsum("hk,khs->hs", weights, values)
        features = features + self.merge(attended.ravel())
        return features + self.network(self.norms[1](features))


class Transformer(AbstractCell):
    r"""Layers that attend to the latest `window` steps:

    $\mathrm{softmax}_j(q_i \cdot k_j / \sqrt{s} - m\,(i - j))\,v_j$ for $0 \le i - j <$
    `window`, with one slope $m$ a head, learnt from those of ALiBi (Press et al. 2021,
    arXiv 2108.12409). Only distances between steps count, so that a stream may be endless.

    Its carry, a cache of keys and values, has the same size at every step.
    """

    embed: eqx.nn.Linear
    layers: tuple[Layer, ...]
    norm: eqx.nn.LayerNorm
    window: int = eqx.field(static=True)
    hidden_size: int = eqx.field(static=True)

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        *,
        layers: int = 2,
        heads: int = 4,
        window: int = 256,
        key: Any,
    ):
        """**Arguments:**

        - `hidden_size`: features of a step, a multiple of `heads`.
        - `window`: how many steps are seen, the latest included.

        **Raises:** `ValueError` where the heads do not divide the features.
        """
        if hidden_size % heads:
            raise ValueError(
                "`Transformer(input_size, hidden_size, heads)` needs a hidden_size that "
                f"its heads divide; got hidden_size={hidden_size} and heads={heads}."
            )
        first, *keys = jr.split(key, layers + 1)
        self.embed = eqx.nn.Linear(input_size, hidden_size, key=first)
        self.layers = tuple(Layer(hidden_size, heads, key=k) for k in keys)
        self.norm = eqx.nn.LayerNorm(hidden_size)
        self.window = window
        self.hidden_size = hidden_size

    def init(self) -> Cache:
        heads = self.layers[0].heads
        shape = len(self.layers), self.window, heads, self.hidden_size // heads
        empty = jnp.zeros(shape)
        features = jnp.zeros(self.hidden_size)
        return Cache(empty, empty, jnp.zeros((), int), features)

    def __call__(self, carry: Cache, x: Float[Array, " d"]) -> Cache:
        count = jnp.minimum(carry.count + 1, self.window)
        distance = jnp.arange(self.window)[::-1]
        features, kept = self.embed(x), []
        for i, layer in enumerate(self.layers):
            query, key, value = layer.split(features)
            keys = jnp.concatenate([carry.keys[i, 1:], key[None]])
            values = jnp.concatenate([carry.values[i, 1:], value[None]])
            features = layer.attend(
                features, query, keys, values, distance, distance < count
            )
            kept.append((keys, values))
        keys, values = (jnp.stack(arrays) for arrays in zip(*kept))
        return Cache(keys, values, count, self.norm(features))

    def hidden(self, carry: Cache) -> Float[Array, " f"]:
        return carry.features

    def roll(self, carry, xs, mask):
        """Attends for all steps at once; the numbers are those of the steps in turn."""
        cache = self.init() if carry is None else carry
        # Of an empty cache nothing is seen, so that it can be left out.
        before = 0 if carry is None else self.window
        age = jnp.arange(self.window)[::-1]
        place = jnp.cumsum(mask)
        places = jnp.concatenate([-age[self.window - before :], place])
        valid = jnp.concatenate([(age < cache.count)[self.window - before :], mask])
        distance = place[:, None] - places[None]
        seen = valid[None] & (distance >= 0) & (distance < self.window)
        # Padding sees itself, lest it divide by zero; nothing comes of what it sees.
        own = jnp.arange(len(places))[None] == before + jnp.arange(len(xs))[:, None]
        seen = seen | (own & ~mask[:, None])
        # The latest valid steps, in their order, are what the next step will see.
        order = jnp.argsort(valid, stable=True)[-self.window :]

        def latest(array):
            chosen = jnp.where(valid[order][:, None, None], array[order], 0)
            short = self.window - len(chosen)
            return jnp.pad(chosen, ((short, 0), (0, 0), (0, 0)))

        features, kept = jax.vmap(self.embed)(xs), []
        for i, layer in enumerate(self.layers):
            queries, keys, values = jax.vmap(layer.split)(features)
            keys = jnp.concatenate([cache.keys[i, self.window - before :], keys])
            values = jnp.concatenate([cache.values[i, self.window - before :], values])
            features = jax.vmap(layer.attend, (0, 0, None, None, 0, 0))(
                features, queries, keys, values, distance, seen
            )
            kept.append((latest(keys), latest(values)))
        hidden = held(jax.vmap(self.norm)(features), cache.features, mask)
        keys, values = (jnp.stack(arrays) for arrays in zip(*kept))
        count = jnp.minimum(jnp.sum(valid), self.window).astype(cache.count.dtype)
        return hidden, Cache(keys, values, count, hidden[-1])
