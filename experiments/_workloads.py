"""shapes -> models, data and a loss: what `speed` and the benchmarks time."""

import dataclasses
import functools
from typing import Any, Literal

import equinox as eqx
import jax
import jax.nn as jnn
import jax.numpy as jnp
import jax.random as jr

import warp_jax as wj

from ._plain import Plain


FORCING, MIN_STD = 0.25, 1e-4
PLAIN, DENSE, LOW_RANK = "plain", "exact dense", "low rank r=32"
RANKS = {LOW_RANK: 32, "low rank r=8": 8}
CANDIDATES = (PLAIN, DENSE, *RANKS)


@dataclasses.dataclass(frozen=True)
class Workload:
    """What a step is taken on.

    - `network`: the auxiliary network's inputs, outputs, width and hidden layers.
    - `length`, `inputs`, `batch`: of the sequences.
    - `task`: the class from the last state, the outputs of all steps, or the next
      observation from the model's own predictions.
    - `chosen`: how many random steps of each sequence the loss looks at; by default all.
    - `plain_lengths`: where plain is timed, to be extrapolated; by default at `length`.
    """

    name: str
    network: tuple[int, int, int, int]
    length: int
    inputs: int
    batch: int
    task: Literal["last", "all", "autoregressive"]
    coordinates: wj.AbstractCoordinates = dataclasses.field(
        default_factory=wj.TimeCoordinate
    )
    gaussian: bool = False
    observe: bool = False
    chosen: int | None = None
    plain_lengths: tuple[int, ...] = ()

    @property
    def title(self) -> str:
        return f"{self.name}, T {self.length:,}"

    def data(self, key: jax.Array) -> tuple[jax.Array, jax.Array]:
        """Returns random sequences, and the class of each or the outputs of all steps."""
        x_key, y_key = jr.split(key)
        xs = jr.normal(x_key, (self.batch, self.length, self.inputs))
        outs = self.network[1]
        if self.task == "last":
            return xs, jr.randint(y_key, (self.batch,), 0, outs)
        return xs, jr.normal(y_key, (self.batch, self.length, outs))

    def loss(self, model: Any, data: tuple[jax.Array, jax.Array], key: jax.Array):
        """Returns the mean loss of a batch; the same of equal models, plain or not."""
        keys = jr.split(key, len(data[0]))
        return jnp.mean(jax.vmap(functools.partial(self._loss, model))(*data, keys))

    def _loss(self, model: Any, xs, target, key):
        if self.task == "last":
            return wj.cross_entropy(model.last(xs), target)
        if self.task == "all":
            return wj.mse(model(xs), target)
        forcing_key, step_key = jr.split(key)
        forced = jr.bernoulli(forcing_key, FORCING, (len(xs) - 1,))
        outputs: Any
        if isinstance(model, Plain):
            outputs = model.unroll(xs, forced)
        else:
            outputs = wj.unroll(model, xs, forcing=forced)
        target = xs[1:]
        if self.chosen is not None:
            steps = jr.randint(step_key, (self.chosen, 1), 0, len(target))
            outputs, target = jax.tree.map(
                lambda array: jnp.take_along_axis(array, steps, 0), (outputs, target)
            )
        loss = wj.gaussian_nll if self.gaussian else wj.mse
        return loss(outputs, target)

    def model(
        self, candidate: str, key: jax.Array, *, hypernetwork: bool = False
    ) -> Any:
        """Returns one of `CANDIDATES` with every weight off its initial value; plain and
        exact dense with the same ones. theta_0 is learnt, or a hypernetwork's.
        """
        keys = jr.split(key, 4)
        network = eqx.nn.MLP(*self.network, jnn.silu, key=keys[0])
        decoder = wj.NetworkDecoder(network, observe=self.observe)
        size, theta = decoder.state_size, decoder.flatten(network)
        initial = wj.LearntInitial(theta)
        if hypernetwork:
            initial = wj.Hypernetwork(
                self.inputs, size, width=16, theta=theta, key=keys[1]
            )
        # Of all tasks the ones that feed predictions back bear the least: weights that
        # move further than this come to numbers that are not finite.
        B = 0.01 * jr.normal(keys[2], (size, self.inputs))
        if candidate in RANKS:
            transition = self._low_rank(size, RANKS[candidate], B, keys[3])
        else:
            transition = self._dense(size, B, keys[3])
            if candidate == PLAIN:
                return Plain(
                    network,
                    transition.A,
                    B,
                    initial,
                    self.coordinates,
                    observe=self.observe,
                    min_std=MIN_STD if self.gaussian else None,
                )
        return wj.WARP(
            decoder=wj.GaussianDecoder(decoder, MIN_STD) if self.gaussian else decoder,
            transition=transition,
            initial=initial,
            coordinates=self.coordinates,
        )

    # Both are A at most 1 / length inside the unit circle: over a sequence no state
    # overflows, and no gradient dies out into numbers that are slow to compute with.

    def _dense(self, size: int, B: jax.Array, key: jax.Array) -> wj.DenseTransition:
        noise = jr.normal(key, (size, size)) / size**0.5
        A = jnp.eye(size) + (noise - 2 * jnp.eye(size)) / self.length
        transition = wj.DenseTransition(size, self.inputs)
        return eqx.tree_at(lambda t: (t.A, t.B), transition, (A, B))

    def _low_rank(
        self, size: int, rank: int, B: jax.Array, key: jax.Array
    ) -> wj.LowRankTransition:
        basis_key, noise_key = jr.split(key)
        transition = wj.LowRankTransition(
            size, self.inputs, rank, length=self.length, key=basis_key
        )
        inside = 1 - 2 / self.length
        noise = jr.normal(noise_key, (size, rank)) / (2 * size**0.5 * self.length)
        moved = inside * transition.a, inside * transition.U, transition.V + noise, B
        return eqx.tree_at(lambda t: (t.a, t.U, t.V, t.B), transition, moved)


EIGENWORMS = Workload(
    "EigenWorms",
    (21, 5, 64, 1),
    length=4096,
    inputs=6,
    batch=4,
    task="last",
    coordinates=wj.SinusoidalCoordinates(20),
)
SCP1 = Workload("SCP1", (1, 2, 48, 2), length=896, inputs=6, batch=16, task="last")
MSD = Workload(
    "MSD", (1, 2, 48, 3), length=256, inputs=2, batch=64, task="autoregressive"
)
ETT = Workload(
    "ETT",
    (1, 14, 148, 1),
    length=192,
    inputs=7,
    batch=64,
    task="autoregressive",
    gaussian=True,
)
MNIST = Workload(
    "MNIST",
    (1, 2, 24, 3),
    length=784,
    inputs=1,
    batch=32,
    task="autoregressive",
    gaussian=True,
    chosen=400,
)
ICL = Workload(
    "ICL", (34, 1, 32, 5), length=128, inputs=33, batch=64, task="all", observe=True
)
WHOLE = dataclasses.replace(EIGENWORMS, length=17_984, plain_lengths=(1024, 2048, 4096))
# What an auxiliary network of about so many weights looks like: two layers of a width.
WIDTHS = {1_000: 28, 3_000: 50, 10_000: 95, 30_000: 169, 100_000: 312}

WORKLOADS = {
    "quick": (
        dataclasses.replace(EIGENWORMS, length=512),
        dataclasses.replace(SCP1, length=128, batch=4),
        dataclasses.replace(MSD, length=24, batch=8),
    ),
    "paper": (EIGENWORMS, WHOLE, SCP1, MSD, ETT, MNIST, ICL),
}


def of_size(weights: int, length: int, batch: int) -> Workload:
    """Returns a workload whose network has about `weights` weights, read at all steps."""
    network = (1, 6, WIDTHS[weights], 2)
    return Workload("growth", network, length, inputs=6, batch=batch, task="all")
