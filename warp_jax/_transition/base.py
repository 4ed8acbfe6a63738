"""theta_{t-1}, dx_t -> theta_t: the interface."""

import abc
import math

import equinox as eqx
import jax
import jax.lax as lax
import jax.numpy as jnp
from jaxtyping import Array, Complex, Float, Int, PyTree

from .._check import check_integer
from .._span import Span
from .._types import Key, Scalar, Weights
from .eigen import eigenvalues


class AbstractTransition(eqx.Module):
    """One linear step of the state: `theta_t = A theta_{t-1} + B dx_t`.

    A subclass decides how A and B are stored. Every roll is written against these methods
    alone, so a new structure works in all of them. Only the four abstract ones must be
    written; `gain`, `compose`, `act` and `compose_work` make the parallel rolls cheap
    where A has a structure that its powers share, and `hold` and `held` prepare what is
    applied in every turn of a scan.
    """

    state_size: eqx.AbstractVar[int]
    input_size: eqx.AbstractVar[int]

    @abc.abstractmethod
    def apply(self, theta: Weights) -> Weights:
        """Returns `A theta`, of shape `(state,)`, without forming A where it can."""

    @abc.abstractmethod
    def inject(self, dx: Float[Array, " c"]) -> Weights:
        """Returns `B dx`, of shape `(state,)`: what one drive adds to the state."""

    @abc.abstractmethod
    def matrix(self) -> Float[Array, "p p"]:
        """Returns A as a dense matrix, of shape `(state, state)`."""

    @abc.abstractmethod
    def input_matrix(self) -> Float[Array, "p c"]:
        """Returns B as a dense matrix, of shape `(state, drive)`."""

    def step(self, theta: Weights, dx: Float[Array, " c"]) -> Weights:
        """Takes one step (arXiv 2506.01153, eq. 1).

        **Arguments:**

        - `theta`: the state before it, of shape `(state,)`.
        - `dx`: the drive, of shape `(drive,)`.

        **Returns:** the state after it, of shape `(state,)`.
        """
        return self.apply(theta) + self.inject(dx)

    def poles(self) -> tuple[Complex[Array, " n"], Int[Array, " n"]]:
        """Returns the eigenvalues of A, and how many times each of them counts; by default
        those of the matrix. See `spectrum`.
        """
        values = eigenvalues(self.matrix())
        return values, jnp.ones(len(values), int)

    def bounded(self, radius: float) -> "AbstractTransition":
        """Returns this transition with the eigenvalues of A that are larger than `radius`
        brought back to it, and nothing else changed. See `RadiusBound`.
        """
        raise TypeError(
            f"`RadiusBound(radius)(model)` does not know how to bound a "
            f"{type(self).__name__}. Give it a method `bounded(radius)`."
        )

    def gain(self) -> PyTree[Array]:
        """Returns A in the form in which its powers are made; by default the matrix."""
        return self.matrix()

    def compose(self, later: PyTree[Array], earlier: PyTree[Array]) -> PyTree[Array]:
        """Returns the gain of two stretches of time in a row, `later` after `earlier`."""
        return later @ earlier

    def act(self, gain: PyTree[Array], theta: Weights) -> Weights:
        """Returns what a gain makes of a state, of shape `(state,)`."""
        return gain @ theta

    def hold(self, gain: PyTree[Array]) -> PyTree[Array]:
        """Returns a gain for `act` in a scan that is differentiated in the states alone:
        the same numbers, without a gradient.
        """
        return lax.stop_gradient(gain)

    def held(self) -> "AbstractTransition":
        """Returns this transition for a scan that is differentiated in the states alone:
        the same steps, without a gradient in A and B.
        """
        weights, rest = eqx.partition(self, eqx.is_inexact_array)
        return eqx.combine(lax.stop_gradient(weights), rest)

    @property
    def timed(self) -> bool:
        """Whether A goes by the time that a step takes, the last channel of the drive."""
        return False

    def gain_at(self, dx: Float[Array, " c"]) -> PyTree[Array]:
        """Returns the gain of the step with a drive, `(drive,)`: by default of any step."""
        return self.gain()

    @property
    def divisible(self) -> bool:
        """Whether A has real powers: see `power`."""
        return False

    def power(self, steps: Scalar) -> PyTree[Array]:
        """Returns the gain of a real number of steps, `A^steps`, for `ContinuousTime`; by
        default that of `flow`.
        """
        flow = self.flow()
        if flow is self:
            raise TypeError(
                f"`{type(self).__name__}` has no powers of A but whole ones."
            )
        return flow.power(steps)

    def flow(self) -> "AbstractTransition":
        """Returns this transition for many calls of `power`, with what all powers share
        made once; by default there is nothing to make.
        """
        return self

    def prepared(self) -> "AbstractTransition":
        """Returns this transition for a sequence, with what all steps share made once; by
        default there is nothing to make.
        """
        return self

    @property
    def gain_size(self) -> int:
        """Numbers in a gain."""
        # Of a transition that is known by its shapes alone, too.
        gain = eqx.filter_eval_shape(lambda transition: transition.gain(), self)
        leaves = jax.tree.leaves(gain)
        return sum(math.prod(leaf.shape) for leaf in leaves)

    @property
    def compose_work(self) -> int:
        """Multiplications of `compose`."""
        return self.state_size**3

    @property
    def modes(self) -> int:
        """How many parts of the state mean something alone: by default every number.

        Where a part has several numbers, the state holds the first number of each part,
        then the second of each.
        """
        return self.state_size

    def init(self, theta: Weights, *, key: Key | None = None) -> PyTree:
        """Returns what has to be kept beside a first state `theta`, or `None`.

        - `key`: for a transition that is random in training, as `ModeDropout`; `None`, the
            default, gives the certain one.
        """
        return None

    def advance(
        self, theta: Weights, hidden: PyTree, dx: Float[Array, " c"]
    ) -> tuple[Weights, PyTree]:
        """Takes one step of the state and of what is kept beside it."""
        return self.step(theta, dx), hidden

    def kept(self, hidden: PyTree, coefficients: Array) -> PyTree:
        """Returns what is kept beside the state after a roll that came to `coefficients`,
        where `hidden` was kept before it.
        """
        return None if hidden is None else coefficients

    def reduce(self, theta: Weights, hidden: PyTree) -> "Reduction | None":
        """Returns the same recurrence in a few coefficients, or `None` where it has none.

        **Arguments:** the state to begin at, `(state,)`, and what was kept beside it.
        """
        return None


class Reduction(eqx.Module):
    """A recurrence of the weights as one of coefficients in the directions it can take.

    - `transition`: the recurrence of the coefficients.
    - `start`: the coefficients to begin at.
    - `span`: the weights that coefficients stand for.
    """

    transition: AbstractTransition
    start: Float[Array, " m"]
    span: Span


def check_sizes(name: str, state_size, input_size) -> tuple[int, int]:
    """Returns both sizes; raises unless they are whole numbers of at least 1."""
    call = f"{name}(state_size, input_size)"
    return (
        check_integer(call, "state_size", state_size, 1),
        check_integer(call, "input_size", input_size, 1),
    )
