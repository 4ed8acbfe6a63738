"""transition -> the eigenvalues of A and their time-scales; model -> one that is stable."""

import math
from typing import TypeVar

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Complex, Float, Int, PyTree

from ._check import check_positive, check_values, is_concrete
from ._transition import AbstractTransition
from ._types import Scalar


Model = TypeVar("Model", bound=PyTree)
# Rows that a printed spectrum has.
SHOWN = 8


class Spectrum(eqx.Module):
    """Eigenvalues of A, the largest first: what a state does without a drive.

    Along the eigenvector of an eigenvalue a step multiplies the state by it: its modulus
    says how fast that part of the memory fades, its phase how fast it turns.

    - `eigenvalues`: complex, `(n,)`; conjugates are both there.
    - `multiplicity`: how often each counts, `(n,)`; together they are the state's size.
    """

    eigenvalues: Complex[Array, " n"]
    multiplicity: Int[Array, " n"]

    @property
    def modulus(self) -> Float[Array, " n"]:
        """The absolute value of each eigenvalue."""
        return jnp.abs(self.eigenvalues)

    @property
    def radius(self) -> Scalar:
        """The largest modulus. Above 1 the state grows without bound."""
        return jnp.max(self.modulus)

    @property
    def decay(self) -> Float[Array, " n"]:
        """Steps in which each mode falls to 1/e: infinite where the modulus is 1, and
        negative where the mode grows, by e in so many steps.
        """
        rate = jnp.log(self.modulus)
        return jnp.where(rate == 0, jnp.inf, -1 / jnp.where(rate == 0, 1, rate))

    @property
    def turn(self) -> Float[Array, " n"]:
        """Steps of a full turn of each mode: infinite for an eigenvalue that is positive,
        2 for one that is negative.
        """
        phase = jnp.abs(jnp.angle(self.eigenvalues))
        return jnp.where(
            phase == 0, jnp.inf, 2 * jnp.pi / jnp.where(phase == 0, 1, phase)
        )

    def __repr__(self) -> str:
        if not is_concrete(self.eigenvalues, self.multiplicity):
            return f"Spectrum({self.eigenvalues}, {self.multiplicity})"
        numbers = (self.eigenvalues.imag, self.modulus, self.decay, self.turn)
        rounding = float(jnp.finfo(self.modulus.dtype).eps)
        rows = zip(*(part.tolist() for part in (*numbers, self.multiplicity)))
        # Of two conjugates one stands for both.
        rows = [
            (*row, times * (1 + (imaginary > 0)))
            for imaginary, *row, times in rows
            if imaginary >= 0
        ]
        lines = [
            f"Spectrum of {sum(times for *_, times in rows):,} eigenvalues, radius "
            f"{float(self.radius):.6g}",
            "   modulus   falls to 1/e in   turns once in   how many",
        ]
        for modulus, decay, turn, times in rows[:SHOWN]:
            fades = f"{decay:.4g} steps" if decay >= 0 else f"grows, {-decay:.4g}"
            # So slow that it is rounding.
            fades = "never" if abs(decay) * rounding > 0.1 else fades
            turns = "never" if math.isinf(turn) else f"{turn:.4g} steps"
            lines.append(f"{modulus:10.6g}   {fades:>15}   {turns:>13}   {times:>8,}")
        if len(rows) > SHOWN:
            least = rows[-1][0]
            lines.append(f"  and {len(rows) - SHOWN:,} more, down to {least:.6g}")
        return "\n".join(lines)


def spectrum(transition: AbstractTransition) -> Spectrum:
    """Returns the eigenvalues of A with their time-scales: print it to see whether a state
    can blow up, and how long it remembers.

    Costs what the structure of A allows: of `LowRankTransition` the eigenvalues of a small
    matrix, since those of `a I + U Vᵀ` are those of `a I + Vᵀ U` and `a` itself for all
    the rest; of a diagonal and of complex modes nothing; of blocks those of each; of a
    subspace those of its dynamics, and 1 for the directions that never move. A dense A,
    and a transition of your own without `poles`, takes about 25 D³ operations.

    Eigenvalues are exact up to rounding where eigenvectors are well apart. Of a defective
    A they are not: single precision shows the n-fold 1 of a Jordan block as numbers about
    `1e-7 ** (1 / n)` away from it.

    **Arguments:**

    - `transition`: as `model.transition`; under `jit` too where the device has an
        eigensolver.

    **Raises:** `TypeError` for what is no transition, `ValueError` where A is not finite.
    """
    call = "spectrum(transition)"
    if not isinstance(transition, AbstractTransition):
        raise TypeError(
            f"`{call}` needs a transition, as `model.transition`; got a "
            f"{type(transition).__name__}."
        )
    values, times = transition.poles()
    message = (
        f"`{call}` got a {type(transition).__name__} with NaN or infinite numbers."
    )
    values = check_values(values, ~jnp.all(jnp.isfinite(values)), message)
    order = jnp.argsort(-jnp.abs(values))
    return Spectrum(values[order], times[order])


class RadiusBound(eqx.Module):
    r"""Keeps the spectral radius of every A in a model at or below a bound: an eigenvalue
    that is larger is brought back to it, along its phase, and all others stay.

    Give it to `fit(..., project=RadiusBound(1.0))`, which applies it after each update
    (projected gradient descent), or apply it yourself, `model = RadiusBound(1.0)(model)`.
    It changes the numbers and not the model, so that rolls, streams and saved files know
    nothing of it and cost nothing more. Where nothing is too large, nothing changes.

    An update costs one eigendecomposition of what `spectrum` looks at: next to nothing for
    a low rank (of a matrix of `rank` rows), about 25 D³ operations for a dense A, which is
    more than the rest of a step unless sequences are long. Not differentiable: it is no
    part of a loss. Complex modes are stable by construction and only a bound below 1
    touches them.

    A radius of 1 keeps a state from growing in the long run. It may still grow for a while
    where eigenvectors are far from orthogonal, and the numbers of B and the drive add up.
    """

    radius: float = eqx.field(static=True)

    def __init__(self, radius: float = 1.0):
        """**Arguments:**

        - `radius`: the bound, positive; by default 1. A mode at 0.999 has fallen to 1/e
            after 1 000 steps.

        **Raises:** `ValueError` for a bound that is not positive and finite, `TypeError`
        for what is no number.
        """
        call = "RadiusBound(radius)"
        self.radius = check_positive(call, "radius", radius)

    def __call__(self, model: Model) -> Model:
        """Returns a model, or any PyTree of transitions, with each A bounded.

        **Raises:** `TypeError` where there is no transition, or one of an unknown kind.
        """
        found = []

        def bound(part):
            if not isinstance(part, AbstractTransition):
                return part
            found.append(part)
            return part.bounded(self.radius)

        is_leaf = lambda part: isinstance(part, AbstractTransition)  # noqa: E731
        model = jax.tree.map(bound, model, is_leaf=is_leaf)
        if not found:
            raise TypeError(
                "`RadiusBound(radius)(model)` needs a model with a transition; got a "
                f"{type(model).__name__} with none."
            )
        return model
