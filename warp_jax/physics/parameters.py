"""raw number -> physical parameter: bounds and units."""

import abc
import math

import equinox as eqx
import jax.nn as jnn
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Float

from .._check import check_integer, check_number, check_positive, check_values


def _shape(call: str, shape: tuple[int, ...]) -> tuple[int, ...]:
    if not isinstance(shape, tuple):
        raise TypeError(f"`{call}` needs a tuple for `shape`; got {shape!r}.")
    return tuple(check_integer(call, "shape", size, 1) for size in shape)


class AbstractParameter(eqx.Module):
    """Makes a physical parameter of raw numbers, which a network gives or training learns.

    Bounds hold by construction, whatever the raw numbers are, and a raw 0 gives a sensible
    value: a fresh network starts near it.
    """

    unit: eqx.AbstractVar[str]
    shape: eqx.AbstractVar[tuple[int, ...]]

    @property
    def size(self) -> int:
        """How many raw numbers a network has to give."""
        return math.prod(self.shape)

    @abc.abstractmethod
    def __call__(self, raw: Float[Array, "..."]) -> Float[Array, "..."]:
        """Returns the values of raw numbers, in one shape, in the parameter's unit."""

    @abc.abstractmethod
    def inverse(self, value: Float[Array, "..."]) -> Float[Array, "..."]:
        """Returns the raw numbers of values, in one shape."""


class Free(AbstractParameter):
    """`centre + scale * raw`: any real number."""

    unit: str = eqx.field(static=True)
    centre: float = eqx.field(static=True)
    scale: float = eqx.field(static=True)
    shape: tuple[int, ...] = eqx.field(static=True)

    def __init__(
        self,
        unit: str = "",
        *,
        centre: float = 0.0,
        scale: float = 1.0,
        shape: tuple[int, ...] = (),
    ):
        """**Arguments:**

        - `unit`: as text, for the reader; by default none.
        - `centre`: the value at a raw 0, in this unit; by default 0.
        - `scale`: how much the value moves with a raw number, positive, in this unit; by
            default 1.
        - `shape`: of the parameter; by default a scalar.

        **Raises:** `ValueError` for a number outside its range, `TypeError` for what is no
        number or no tuple.
        """
        self.unit = unit
        self.centre = check_number("Free(centre)", "centre", centre)
        self.scale = check_positive("Free(scale)", "scale", scale)
        self.shape = _shape("Free(shape)", shape)

    def __call__(self, raw: Float[Array, "..."]) -> Float[Array, "..."]:
        return self.centre + self.scale * raw

    def inverse(self, value: Float[Array, "..."]) -> Float[Array, "..."]:
        return (value - self.centre) / self.scale


class Positive(AbstractParameter):
    r"""`scale * (least + (1 - least) softplus(raw + b))`, with b so that a raw 0 gives
    `scale`: above zero for every raw number, and nearly linear for large ones.
    """

    unit: str = eqx.field(static=True)
    scale: float = eqx.field(static=True)
    least: float = eqx.field(static=True)
    shape: tuple[int, ...] = eqx.field(static=True)

    def __init__(
        self,
        unit: str = "",
        *,
        scale: float = 1.0,
        least: float = 1e-6,
        shape: tuple[int, ...] = (),
    ):
        """**Arguments:**

        - `unit`: as text, for the reader; by default none.
        - `scale`: the value at a raw 0, positive, in this unit: a typical magnitude. By
            default 1.
        - `least`: the lower bound as a part of `scale`, in (0, 1), by default 1e-6: so that
            the parameter is far enough from zero to divide by.
        - `shape`: of the parameter; by default a scalar.

        **Raises:** `ValueError` for a number outside its range, `TypeError` for what is no
        number or no tuple.
        """
        self.unit = unit
        self.scale = check_positive("Positive(scale)", "scale", scale)
        self.least = check_positive("Positive(least)", "least", least)
        if self.least >= 1:
            raise ValueError(f"`Positive(least)` needs `least < 1`; got least={least}.")
        self.shape = _shape("Positive(shape)", shape)

    def __call__(self, raw: Float[Array, "..."]) -> Float[Array, "..."]:
        soft = jnn.softplus(raw + math.log(math.e - 1))
        return self.scale * (self.least + (1 - self.least) * soft)

    def inverse(self, value: Float[Array, "..."]) -> Float[Array, "..."]:
        soft = (value / self.scale - self.least) / (1 - self.least)
        # Of a large number the naive log(exp(soft) - 1) would overflow.
        return soft + jnp.log(-jnp.expm1(-soft)) - math.log(math.e - 1)


class Exponential(AbstractParameter):
    """`scale * exp(raw)`: above zero, for what may lie orders of magnitude away."""

    unit: str = eqx.field(static=True)
    scale: float = eqx.field(static=True)
    shape: tuple[int, ...] = eqx.field(static=True)

    def __init__(
        self, unit: str = "", *, scale: float = 1.0, shape: tuple[int, ...] = ()
    ):
        """**Arguments:**

        - `unit`: as text, for the reader; by default none.
        - `scale`: the value at a raw 0, positive, in this unit; by default 1.
        - `shape`: of the parameter; by default a scalar.

        **Raises:** `ValueError` for a number outside its range, `TypeError` for what is no
        number or no tuple.
        """
        self.unit = unit
        self.scale = check_positive("Exponential(scale)", "scale", scale)
        self.shape = _shape("Exponential(shape)", shape)

    def __call__(self, raw: Float[Array, "..."]) -> Float[Array, "..."]:
        return self.scale * jnp.exp(raw)

    def inverse(self, value: Float[Array, "..."]) -> Float[Array, "..."]:
        return jnp.log(value / self.scale)


class Interval(AbstractParameter):
    """`low + (high - low) * sigmoid(raw)`: between two bounds, in the middle at a raw 0."""

    low: float = eqx.field(static=True)
    high: float = eqx.field(static=True)
    unit: str = eqx.field(static=True)
    shape: tuple[int, ...] = eqx.field(static=True)

    def __init__(
        self, low: float, high: float, unit: str = "", *, shape: tuple[int, ...] = ()
    ):
        """**Arguments:**

        - `low`, `high`: the bounds, finite, in this unit.
        - `unit`: as text, for the reader; by default none.
        - `shape`: of the parameter; by default a scalar.

        **Raises:** `ValueError` for bounds without room between them or that are not
        finite, `TypeError` for what is no number or no tuple.
        """
        call = "Interval(low, high)"
        self.low, self.high = (
            check_number(call, "low", low),
            check_number(call, "high", high),
        )
        if self.low >= self.high:
            raise ValueError(
                f"`{call}` needs `low < high`; got low={low} and high={high}."
            )
        self.unit = unit
        self.shape = _shape("Interval(shape)", shape)

    def __call__(self, raw: Float[Array, "..."]) -> Float[Array, "..."]:
        return self.low + (self.high - self.low) * jnn.sigmoid(raw)

    def inverse(self, value: Float[Array, "..."]) -> Float[Array, "..."]:
        return jnp.log(value - self.low) - jnp.log(self.high - value)


class Constant(AbstractParameter):
    """A constant of nature: no network gives it, all sequences share it, and it is learnt
    like any other weight.
    """

    raw: Float[Array, "..."]
    kind: AbstractParameter
    unit: str = eqx.field(static=True)
    shape: tuple[int, ...] = eqx.field(static=True)

    def __init__(self, value: ArrayLike, kind: AbstractParameter = Free()):
        """**Arguments:**

        - `value`: where training starts, in the unit of `kind`; a number or an array.
        - `kind`: its bounds and unit, as `Positive("kg")`; by default `Free()`, which has
            neither. The shape is that of `value`.

        **Raises:** `ValueError` for a value outside the bounds.
        """
        values = jnp.asarray(value, dtype=float)
        self.raw = kind.inverse(values)
        check_values(
            self.raw,
            ~jnp.all(jnp.isfinite(self.raw)),
            f"`Constant(value, kind)` needs a value inside the bounds of {kind}; got "
            f"{value}.",
        )
        self.kind = kind
        self.unit = kind.unit
        self.shape = values.shape

    @property
    def size(self) -> int:
        return 0

    def __call__(self, raw: Float[Array, "..."]) -> Float[Array, "..."]:
        return self.kind(self.raw)

    def inverse(self, value: Float[Array, "..."]) -> Float[Array, "..."]:
        return jnp.zeros(0, value.dtype)


class Known(AbstractParameter):
    """A number that is known: neither given by a network nor learnt."""

    value: float = eqx.field(static=True)
    unit: str = eqx.field(static=True)
    shape: tuple[int, ...] = eqx.field(static=True)

    def __init__(self, value: float, unit: str = ""):
        """**Arguments:**

        - `value`: a finite number, in its unit.
        - `unit`: as text, for the reader; by default none.

        **Raises:** `TypeError` for what is no number, `ValueError` for one that is not
        finite.
        """
        self.value = check_number("Known(value)", "value", value)
        self.unit = unit
        self.shape = ()

    @property
    def size(self) -> int:
        return 0

    def __call__(self, raw: Float[Array, "..."]) -> Float[Array, "..."]:
        return jnp.asarray(self.value, raw.dtype)

    def inverse(self, value: Float[Array, "..."]) -> Float[Array, "..."]:
        return jnp.zeros(0, value.dtype)


def as_parameter(call: str, name: str, given) -> AbstractParameter:
    """Returns a parameter as it is, and a number as one that is known."""
    if isinstance(given, AbstractParameter):
        return given
    if isinstance(given, (int, float)) and not isinstance(given, bool):
        return Known(given)
    raise TypeError(
        f"`{call}` needs a number or a parameter, as `Positive()`, for `{name}`; got "
        f"{type(given).__name__}: {given!r:.80}."
    )
