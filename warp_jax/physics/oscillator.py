"""state, coordinate -> position and velocity of a damped oscillator."""

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Float, PyTree

from .._check import check_positive
from .._types import Scalar, State
from .law import AbstractLawDecoder, check_observation, elapsed, Parameters
from .parameters import AbstractParameter, as_parameter, Positive


# Terms of a series in a number of at most one: the rest is below double precision.
TERMS = 10


class OscillatorDecoder(AbstractLawDecoder):
    r"""The exact flow of $m \ddot x + c \dot x + k x = 0$, from the latest observation to
    the time asked for (WARP-Phys of arXiv 2506.01153). An observation, and an output, is
    (position, velocity).

    The auxiliary network gives m, k and c, positive by construction. The flow is smooth
    in them also where it turns from oscillating to creeping, $c^2 = 4 m k$, and neither
    overflows nor loses digits far beyond it.
    """

    law: Parameters
    time_scale: float = eqx.field(static=True)
    out_size: int = eqx.field(static=True)

    def __init__(
        self,
        network: PyTree | None,
        *,
        m: float | AbstractParameter = Positive("kg"),
        k: float | AbstractParameter = Positive("N/m"),
        c: float | AbstractParameter = Positive("N s/m"),
        time_scale: float = 1.0,
        at: float | None = 0.0,
    ):
        """**Arguments:**

        - `network`: gives the raw numbers of m, k and c, in this order, but for those that
            are numbers or `Constant`. Or a decoder; or `None` where none is left.
        - `m`, `k`, `c`: mass, stiffness and damping; by default `Positive` in kg, N/m and
            N s/m. Their `scale` should be a typical value. Only k/m and c/m act on what is
            seen: a number for `m` makes the other two unique.
        - `time_scale`: how many units of the law's time are in one of the times `ts`; by
            default 1. Where the velocity is observed in another unit than position per
            time, this repairs it: with velocities divided by 20, `time_scale=20`, and k is
            then 400 and c 20 times smaller.
        - `at`: the coordinate at which the network is read, a single number, by default 0;
            `None` reads it at the coordinate asked for.

        **Raises:** `ValueError` where the network has another number of outputs, or
        `time_scale` is not positive; `TypeError` for an argument of another kind.
        """
        call = "OscillatorDecoder(network)"
        given = {"m": m, "k": k, "c": c}
        kinds = {name: as_parameter(call, name, kind) for name, kind in given.items()}
        self.law = Parameters(call, network, kinds, at)
        self.time_scale = check_positive(call, "time_scale", time_scale)
        self.out_size = 2

    def __call__(
        self, state: State, coordinate: Float[Array, " q"]
    ) -> Float[Array, " y"]:
        channels = "position and velocity"
        check_observation("OscillatorDecoder(network)", state.x, channels, 2)
        p = self.law(state, coordinate)
        time = elapsed(state, coordinate, self.time_scale)
        x, v = state.x
        return oscillate(x, v, p["k"] / p["m"], p["c"] / p["m"], time)


def oscillate(
    x: Scalar, v: Scalar, stiffness: Scalar, damping: Scalar, time: Scalar
) -> Float[Array, "2"]:
    r"""Returns position and velocity after a time, of either sign, of
    $\ddot x + \gamma \dot x + \omega^2 x = 0$.

    **Arguments:** position, velocity, $\omega^2$, $\gamma$ and the time; scalars.

    With $g = \gamma h / 2$ and $z = \omega^2 h^2 - g^2$ the flow is $e^{-g}$ times cos and
    sin(r)/r of $r = \sqrt z$, or their hyperbolic counterparts: entire functions of z.
    """
    g = damping * time / 2
    square = stiffness * time**2
    z = square - g**2
    near, oscillating = jnp.abs(z) < 1, z > 0
    series = _near(jnp.where(near, z, 0.0), g)
    waves = _oscillating(jnp.where(oscillating & ~near, z, 1.0), g)
    # What is not picked must stay finite too: its gradient is zero times it.
    creeping = ~near & ~oscillating
    creep = _creeping(jnp.where(creeping, z, -1.0), g, jnp.where(creeping, square, 0.0))
    picked = [
        jnp.where(near, a, jnp.where(oscillating, b, c))
        for a, b, c in zip(series, waves, creep)
    ]
    of_x, of_v, between = picked
    position = of_x * x + between * time * v
    velocity = of_v * v - between * time * stiffness * x
    return jnp.stack([position, velocity])


def _near(z: Scalar, g: Scalar) -> tuple[Scalar, Scalar, Scalar]:
    """Returns `e^-g` times `C + g S`, `C - g S` and S, by the series of C and S in z."""
    cos, sin = jnp.ones_like(z), jnp.ones_like(z)
    for n in range(TERMS, 0, -1):
        cos = 1 - z / (2 * n * (2 * n - 1)) * cos
        sin = 1 - z / (2 * n * (2 * n + 1)) * sin
    decay = jnp.exp(-g)
    return decay * (cos + g * sin), decay * (cos - g * sin), decay * sin


def _oscillating(z: Scalar, g: Scalar) -> tuple[Scalar, Scalar, Scalar]:
    """Returns the same, of a positive z."""
    r = jnp.sqrt(z)
    decay, cos, sin = jnp.exp(-g), jnp.cos(r), jnp.sin(r) / r
    return decay * (cos + g * sin), decay * (cos - g * sin), decay * sin


def _creeping(z: Scalar, g: Scalar, square: Scalar) -> tuple[Scalar, Scalar, Scalar]:
    """Returns the same, of a negative z. The exponents are those of the two creeping
    motions, `r - g` and `-r - g`, without the difference of two large numbers.
    """
    r = jnp.sqrt(-z)
    large = r + jnp.abs(g)
    small = square / large
    slow, fast = jnp.where(g > 0, -small, large), jnp.where(g > 0, -large, small)
    p, q = jnp.exp(slow), jnp.exp(fast)
    of_x = (q * slow - p * fast) / (2 * r)
    of_v = (p * slow - q * fast) / (2 * r)
    return of_x, of_v, (p - q) / (2 * r)
