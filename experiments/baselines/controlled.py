"""Neural controlled differential equations, as cells: NCDE (Kidger et al. 2020, arXiv
2005.08926), NRDE (Morrill et al. 2020, arXiv 2009.08295) and Log-NCDE (Walker et al. 2024,
arXiv 2402.18512).
"""

import abc
from typing import Any

import diffrax
import equinox as eqx
import jax
import jax.nn as jnn
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from .log_signature import LogSignature
from .recurrent import AbstractCell


class AbstractField(eqx.Module):
    """How a hidden vector moves while a path does what a log-signature says."""

    hidden_size: eqx.AbstractVar[int]

    @abc.abstractmethod
    def __call__(
        self, hidden: Float[Array, " h"], path: LogSignature
    ) -> Float[Array, " h"]:
        """Returns the slope, in units of the time that the path takes."""


class Field(AbstractField):
    r"""$f(h)\,X$ of a path's increment $X$: that of a neural CDE, the path a straight line.
    Each entry of the matrix $f$ is a tanh of a network's.
    """

    network: eqx.nn.MLP
    hidden_size: int = eqx.field(static=True)

    def __init__(self, channels: int, hidden_size: int, width: int, *, key: Any):
        self.network = _network(channels, hidden_size, width, key)
        self.hidden_size = hidden_size

    def matrix(self, hidden: Float[Array, " h"]) -> Float[Array, "h c"]:
        """Returns f, a vector field for each channel."""
        return self.network(hidden).reshape(self.hidden_size, -1)

    def __call__(self, hidden, path):
        return self.matrix(hidden) @ path.increment


class SignatureField(AbstractField):
    """A matrix times the whole log-signature: that of a neural rough differential equation,
    which learns what the areas do.
    """

    network: eqx.nn.MLP
    hidden_size: int = eqx.field(static=True)

    def __init__(self, channels: int, hidden_size: int, width: int, *, key: Any):
        size = channels * (channels + 1) // 2
        self.network = _network(size, hidden_size, width, key)
        self.hidden_size = hidden_size

    def __call__(self, hidden, path):
        return self.network(hidden).reshape(self.hidden_size, -1) @ path.vector()


class BracketField(AbstractField):
    r"""$f(h)\,X + \sum_{i<j} [f_i, f_j](h)\,A_{ij}$ with the Lie brackets $[f_i, f_j] =
    f_j' f_i - f_i' f_j$ of the fields of a neural CDE: that of Log-NCDE, which derives what
    the areas do. No penalty keeps the network smooth, as the paper's does.
    """

    field: Field
    hidden_size: int = eqx.field(static=True)

    def __init__(self, channels: int, hidden_size: int, width: int, *, key: Any):
        self.field = Field(channels, hidden_size, width, key=key)
        self.hidden_size = hidden_size

    def __call__(self, hidden, path):
        matrix, along = jax.linearize(self.field.matrix, hidden)
        # The area is antisymmetric, so that one of the bracket's terms gives both.
        slopes = jax.vmap(along, in_axes=1)(matrix)
        brackets = jnp.einsum("ihj,ij->h", slopes, path.area)
        return matrix @ path.increment + brackets


class Carry(eqx.Module):
    """Where a window began, what the path did since then, and where that leads to."""

    start: Float[Array, " h"]
    path: LogSignature
    steps: Int[Array, ""]
    x: Float[Array, " d"]
    begun: Bool[Array, ""]
    hidden: Float[Array, " h"]


class Controlled(AbstractCell):
    r"""$dh = f(h)\,dX$ along the straight lines between observations and a channel of time,
    from a linear map of the first observation.

    The path is summed up by its log-signature over windows of some steps, and within a
    window so far: what is read at a step has seen all observations up to it and no later
    one. At each step one step of `solver` goes from the window's start to now.
    """

    encode: eqx.nn.Linear
    field: AbstractField
    window: int = eqx.field(static=True)
    pace: float = eqx.field(static=True)
    solver: diffrax.AbstractSolver
    hidden_size: int = eqx.field(static=True)

    def __init__(
        self,
        input_size: int,
        field: AbstractField,
        *,
        length: int,
        window: int = 1,
        solver: diffrax.AbstractSolver = diffrax.Heun(),
        key: Any,
    ):
        """**Arguments:**

        - `field`: of `input_size + 1` channels, the first one time.
        - `length`: of the sequences, roughly: over it the channel of time gains one.
        - `window`: steps of a window; 1 for a neural CDE.
        - `solver`: explicit, of a fixed step.

        **Raises:** `ValueError` where `window` or `length` is below 1.
        """
        if min(window, length) < 1:
            raise ValueError(
                "`Controlled(..., length, window)` needs both to be at least 1; got "
                f"length={length} and window={window}."
            )
        self.encode = eqx.nn.Linear(input_size, field.hidden_size, key=key)
        self.field = field
        self.window, self.pace = window, 1 / length
        self.solver = solver
        self.hidden_size = field.hidden_size

    def init(self) -> Carry:
        inputs = self.encode.in_features
        assert isinstance(inputs, int)
        nothing = jnp.zeros(self.hidden_size)
        path = LogSignature.zero(self.channels(inputs))
        zero = jnp.zeros((), int)
        return Carry(nothing, path, zero, jnp.zeros(inputs), zero > 0, nothing)

    def __call__(self, carry: Carry, x: Float[Array, " d"]) -> Carry:
        full = carry.steps == self.window
        empty = LogSignature.zero(self.channels(len(x)))
        start = jnp.where(full, carry.hidden, carry.start)
        path = jax.tree.map(
            lambda new, old: jnp.where(full, new, old), empty, carry.path
        )
        path = path.extended(self.increment(carry.x, x))
        after = Carry(
            start,
            path,
            jnp.where(full, 0, carry.steps) + 1,
            x,
            carry.begun,
            self._solved(start, path),
        )
        first = self.encode(x)
        zero = jnp.zeros_like(carry.steps)
        begin = Carry(first, empty, zero, x, ~carry.begun, first)
        return jax.tree.map(
            lambda new, old: jnp.where(carry.begun, new, old), after, begin
        )

    def channels(self, inputs: int) -> int:
        """Returns how many channels the path of so many inputs has."""
        return 1 + inputs

    def increment(
        self, before: Float[Array, " d"], x: Float[Array, " d"]
    ) -> Float[Array, " c"]:
        """Returns what the path does from one observation to the next."""
        return jnp.concatenate([jnp.full(1, self.pace, x.dtype), x - before])

    def hidden(self, carry: Carry) -> Float[Array, " h"]:
        return carry.hidden

    def _solved(self, start, path):
        term = diffrax.ODETerm(lambda t, hidden, path: self.field(hidden, path))
        begin, end = jnp.zeros(()), jnp.ones(())
        state = self.solver.init(term, begin, end, start, path)
        hidden, *_ = self.solver.step(term, begin, end, start, path, state, False)
        return hidden


class ControlledGaps(Controlled):
    """The same along a path of observations with gaps at irregular times, as `Told` tells
    of them: of the values last seen, of counts of those seen (the observational intensity
    of Kidger et al. 2020, section 3), and of the time itself. In a gap a value stands
    still, so that what is read at a step has seen no later one.

    **Arguments:** those of `Controlled`, but that `field` has as many channels as there are
    inputs. `length` is in units of time: over it the channels of time and counts gain one.
    """

    __init__ = Controlled.__init__

    def channels(self, inputs: int) -> int:
        return inputs

    def increment(self, before, x):
        values = len(x) // 2
        return jnp.concatenate([x[:values] - before[:values], self.pace * x[values:]])


def _network(channels: int, hidden_size: int, width: int, key: Any) -> eqx.nn.MLP:
    return eqx.nn.MLP(
        hidden_size, hidden_size * channels, width, 1, jnn.silu, jnp.tanh, key=key
    )
