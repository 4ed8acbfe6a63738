"""A transition around another one: what both do alike."""

import equinox as eqx
from jaxtyping import Array, Complex, Float, Int, PyTree

from .._types import Weights
from .base import AbstractTransition


class AbstractWrappedTransition(AbstractTransition):
    """Does what `transition` does, but for what a subclass says."""

    transition: eqx.AbstractVar[AbstractTransition]

    @property
    def timed(self) -> bool:
        return self.transition.timed

    @property
    def modes(self) -> int:
        return self.transition.modes

    @property
    def compose_work(self) -> int:
        return self.transition.compose_work

    def apply(self, theta: Weights) -> Weights:
        return self.transition.apply(theta)

    def inject(self, dx: Float[Array, " c"]) -> Weights:
        return self.transition.inject(dx)

    def matrix(self) -> Float[Array, "p p"]:
        return self.transition.matrix()

    def input_matrix(self) -> Float[Array, "p c"]:
        return self.transition.input_matrix()

    def gain(self) -> PyTree[Array]:
        return self.transition.gain()

    def compose(self, later: PyTree[Array], earlier: PyTree[Array]) -> PyTree[Array]:
        return self.transition.compose(later, earlier)

    def act(self, gain: PyTree[Array], theta: Weights) -> Weights:
        return self.transition.act(gain, theta)

    def poles(self) -> tuple[Complex[Array, " n"], Int[Array, " n"]]:
        return self.transition.poles()

    def bounded(self, radius: float) -> "AbstractWrappedTransition":
        bounded = self.transition.bounded(radius)
        return eqx.tree_at(lambda t: t.transition, self, bounded)
