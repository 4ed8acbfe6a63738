"""A as rotations that decay, one for each complex mode, in real arithmetic."""

import abc
import math

import equinox as eqx
import jax.lax as lax
import jax.numpy as jnp
import jax.random as jr
from jaxtyping import Array, Complex, Float, Int, PyTree

from .._check import check_integer, check_positive
from .._types import Key, Scalar, Weights
from .base import AbstractTransition, check_sizes


class AbstractModalTransition(AbstractTransition):
    """Complex eigenvalues, each with a mode of its own: the real parts of all modes are
    the first half of the state, their imaginary parts the second.

    Arithmetic is real throughout, so that optimisers and files see real arrays alone.
    """

    B: eqx.AbstractVar[Float[Array, "p c"]]

    @abc.abstractmethod
    def eigenvalues(self) -> tuple[Float[Array, " m"], Float[Array, " m"]]:
        """Returns the real and the imaginary parts of the eigenvalues, `(modes,)` each."""

    def logarithms(self) -> tuple[Float[Array, " m"], Float[Array, " m"]]:
        """Returns the real and the imaginary parts of the eigenvalues' logarithms, by
        default the principal ones, `(modes,)` each.
        """
        real, imaginary = self.eigenvalues()
        return jnp.log(jnp.hypot(real, imaginary)), jnp.arctan2(imaginary, real)

    @property
    def divisible(self) -> bool:
        return True

    def power(self, steps: Scalar) -> PyTree[Array]:
        growth, phase = (steps * part for part in self.logarithms())
        return jnp.exp(growth) * jnp.cos(phase), jnp.exp(growth) * jnp.sin(phase)

    @property
    def modes(self) -> int:
        """How many complex eigenvalues there are."""
        return self.state_size // 2

    def poles(self) -> tuple[Complex[Array, " p"], Int[Array, " p"]]:
        real, imaginary = self.eigenvalues()
        upper, lower = lax.complex(real, imaginary), lax.complex(real, -imaginary)
        return jnp.concatenate([upper, lower]), jnp.ones(self.state_size, int)

    def gain(self) -> PyTree[Array]:
        return self.eigenvalues()

    def compose(self, later: PyTree[Array], earlier: PyTree[Array]) -> PyTree[Array]:
        (a, b), (c, d) = later, earlier
        return a * c - b * d, a * d + b * c

    def act(self, gain: PyTree[Array], theta: Weights) -> Weights:
        return jnp.concatenate(self.compose(gain, jnp.split(theta, 2)))

    @property
    def compose_work(self) -> int:
        return 2 * self.state_size

    def apply(self, theta: Weights) -> Weights:
        return self.act(self.gain(), theta)

    def inject(self, dx: Float[Array, " c"]) -> Weights:
        return self.input_matrix() @ dx

    def matrix(self) -> Float[Array, "p p"]:
        real, imaginary = (jnp.diag(part) for part in self.eigenvalues())
        return jnp.block([[real, -imaginary], [imaginary, real]])

    def input_matrix(self) -> Float[Array, "p c"]:
        return self.B


class SpectralTransition(AbstractModalTransition):
    r"""A complex diagonal that is stable by construction,
    $\lambda = \exp(-e^\nu + i e^\phi)$ (as the linear recurrent unit, Orvieto et al. 2023,
    arXiv 2303.06349), with time-scales in units of the sequence's length.

    The phases of a step start uniformly between 0 and `2 pi cycles / length`, the decay
    times between a half and one and a half of `length`, and B at zero. Made for use as the
    `dynamics` of a `SubspaceTransition`, whose columns are its real read-out.
    """

    log_decay: Float[Array, " m"]
    log_phase: Float[Array, " m"]
    B: Float[Array, "p c"]
    state_size: int = eqx.field(static=True)
    input_size: int = eqx.field(static=True)

    def __init__(
        self,
        state_size: int,
        input_size: int,
        *,
        length: int,
        cycles: float = 3.0,
        key: Key,
    ):
        """**Arguments:**

        - `state_size`: real numbers in the state, even: two for each mode.
        - `input_size`: the length of the drive.
        - `length`: how many steps the sequences have, roughly.
        - `cycles`: full turns of the fastest mode over `length` steps, by default 3: the
            finest detail that is told apart at the start. Choose it on validation data.
        - `key`: for the initial phases and decay times.

        **Raises:** `ValueError` for an odd `state_size` or a number outside its range,
        `TypeError` for what is no number.
        """
        call = "SpectralTransition(state_size, input_size, length, cycles)"
        self.state_size, self.input_size, length, cycles = _check(
            call, state_size, input_size, length, cycles
        )
        phase_key, decay_key = jr.split(key)
        modes = self.state_size // 2
        self.log_phase = jnp.log(_phases(phase_key, modes, length, cycles))
        times = length * jr.uniform(decay_key, (modes,), minval=0.5, maxval=1.5)
        self.log_decay = -jnp.log(times)
        self.B = jnp.zeros((self.state_size, self.input_size))

    def bounded(self, radius: float) -> "SpectralTransition":
        if radius >= 1:
            return self
        slowest = math.log(-math.log(radius))
        log_decay = jnp.maximum(self.log_decay, slowest)
        return eqx.tree_at(lambda t: t.log_decay, self, log_decay)

    def eigenvalues(self) -> tuple[Float[Array, " m"], Float[Array, " m"]]:
        radius, phase = jnp.exp(-jnp.exp(self.log_decay)), jnp.exp(self.log_phase)
        return radius * jnp.cos(phase), radius * jnp.sin(phase)

    def logarithms(self) -> tuple[Float[Array, " m"], Float[Array, " m"]]:
        return -jnp.exp(self.log_decay), jnp.exp(self.log_phase)


class OscillatoryTransition(AbstractModalTransition):
    r"""Forced harmonic oscillators $y'' = -\omega^2 y + b\,dx$, by the implicit scheme of
    LinOSS (Rusch and Rus 2024, arXiv 2410.03943), for any frequencies stable.

    The state holds the velocities, then the positions times their frequency: in these
    units a step is the rotation-and-decay $\lambda = (1 + i\omega)/(1 + \omega^2)$, with
    $\omega$ the frequency times the step. Faster oscillators forget sooner, so there is
    no decay time to choose. B starts at zero.
    """

    log_frequency: Float[Array, " m"]
    B: Float[Array, "m c"]
    state_size: int = eqx.field(static=True)
    input_size: int = eqx.field(static=True)

    def __init__(
        self,
        state_size: int,
        input_size: int,
        *,
        length: int,
        cycles: float = 3.0,
        key: Key,
    ):
        """**Arguments:** those of `SpectralTransition`.

        **Raises:** `ValueError` or `TypeError`, as that does.
        """
        call = "OscillatoryTransition(state_size, input_size, length, cycles)"
        self.state_size, self.input_size, length, cycles = _check(
            call, state_size, input_size, length, cycles
        )
        modes = self.state_size // 2
        self.log_frequency = jnp.log(_phases(key, modes, length, cycles))
        self.B = jnp.zeros((modes, self.input_size))

    def bounded(self, radius: float) -> "OscillatoryTransition":
        if radius >= 1:
            return self
        # The modulus, (1 + frequency²)^-½, and the phase are tied to each other.
        slowest = math.log(radius**-2 - 1) / 2
        log_frequency = jnp.maximum(self.log_frequency, slowest)
        return eqx.tree_at(lambda t: t.log_frequency, self, log_frequency)

    def eigenvalues(self) -> tuple[Float[Array, " m"], Float[Array, " m"]]:
        frequency = jnp.exp(self.log_frequency)
        decay = 1 / (1 + frequency**2)
        return decay, decay * frequency

    def input_matrix(self) -> Float[Array, "p c"]:
        # The implicit step lets the force move the position at once.
        velocity, position = self.eigenvalues()
        return jnp.concatenate([velocity[:, None] * self.B, position[:, None] * self.B])


def _check(call, state_size, input_size, length, cycles) -> tuple[int, int, int, float]:
    name = call.partition("(")[0]
    state_size, input_size = check_sizes(name, state_size, input_size)
    if state_size % 2:
        raise ValueError(
            f"`{call}` needs an even `state_size`, two numbers for each mode; got "
            f"state_size={state_size}."
        )
    length = check_integer(call, "length", length, 1)
    return state_size, input_size, length, check_positive(call, "cycles", cycles)


def _phases(key: Key, modes: int, length: int, cycles: float) -> Float[Array, " m"]:
    fastest = 2 * math.pi * cycles / length
    # A phase of zero could not be left, for its logarithm is what is learnt.
    return jr.uniform(key, (modes,), minval=1e-3 * fastest, maxval=fastest)
