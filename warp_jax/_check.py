"""Input -> the same input, or an error that quotes the call, the value and the way out.

What is known before tracing raises `ValueError` or `TypeError`. What only the values
tell raises the same where the values are at hand, and goes through `equinox.error_if`
inside `jit`, which the environment variable `EQX_ON_ERROR=off` switches off.
"""

import math
from collections.abc import Callable, Sequence

import equinox as eqx
import jax
import jax.core
import jax.lax as lax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Int

from ._devices import several_devices


def _poisoned(tree, bad: Bool[Array, ""]):
    """Returns NaN in place of an error: one device that raises it would leave all others
    waiting.
    """

    def poison(leaf):
        return jnp.where(bad, jnp.nan, leaf) if eqx.is_inexact_array(leaf) else leaf

    return jax.tree.map(poison, tree)


def is_concrete(*arrays) -> bool:
    """Whether the values of all `arrays` can be looked at now."""
    return not any(isinstance(array, jax.core.Tracer) for array in arrays)


def check_integer(call: str, name: str, value, low: int) -> int:
    """Returns `value` as an `int`; raises unless it is a whole number >= `low`."""
    if isinstance(value, bool) or not hasattr(value, "__index__"):
        raise TypeError(
            f"`{call}` needs a whole number for `{name}`; got {value!r} of type "
            f"{type(value).__name__}."
        )
    if value < low:
        raise ValueError(f"`{call}` needs `{name} >= {low}`; got {name}={value!r}.")
    return int(value)


def check_number(call: str, name: str, value: float) -> float:
    """Returns `value`; raises unless it is a finite number."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise TypeError(f"`{call}` needs a number for `{name}`; got {value!r}.")
    if not math.isfinite(value):
        raise ValueError(f"`{call}` needs a finite `{name}`; got {name}={value!r}.")
    return float(value)


def check_positive(call: str, name: str, value: float) -> float:
    """Returns `value`; raises unless it is a finite number above zero."""
    number = check_number(call, name, value)
    if number <= 0:
        raise ValueError(f"`{call}` needs a positive `{name}`; got {name}={value!r}.")
    return number


def check_array(call: str, name: str, value, rank: int, hint: str = "") -> Array:
    """Returns `value` as a floating-point array of `rank` axes, or raises."""
    if not eqx.is_array_like(value):
        raise TypeError(
            f"`{call}` needs an array for `{name}`; got {type(value).__name__}: "
            f"{value!r:.80}. Convert it with `jnp.asarray`."
        )
    array = jnp.asarray(value)
    if array.ndim != rank:
        raise ValueError(
            f"`{call}` needs `{name}` with {rank} axes; got shape {array.shape}. {hint}"
        )
    if not jnp.issubdtype(array.dtype, jnp.floating):
        raise TypeError(
            f"`{call}` needs a real floating-point `{name}`; got dtype {array.dtype}. "
            f"Convert it with `{name}.astype(float)`."
        )
    return array


def check_next(call: str, x, before: Array) -> Array:
    """Returns an observation; raises unless it has the shape of the one `before` it."""
    x = check_array(call, "x", x, 1)
    if x.shape != before.shape:
        raise ValueError(
            f"`{call}` needs `x` of shape {before.shape}, as in the state; got {x.shape}."
        )
    return x


def check_length(call: str, name: str, array: Array, length: int, of: str) -> None:
    """Raises unless `array` has `length` steps."""
    if array.shape[0] != length:
        raise ValueError(
            f"`{call}` needs `{name}` with {length} steps, one for each of {of}; got "
            f"shape {array.shape}."
        )


def check_mask(
    call: str, mask, length: int, of: str = "the steps of `xs`", *, name: str = "mask"
) -> Array:
    """Returns `mask` as a boolean array of `length` steps, or raises."""
    mask = jnp.asarray(mask)
    if mask.dtype != jnp.bool_:
        means = "False = padding" if name == "mask" else "True = a sequence begins"
        raise TypeError(
            f"`{call}` needs a boolean `{name}`, {means}; got dtype {mask.dtype}. "
            f"Compare it, as in `{name} > 0`."
        )
    if mask.ndim != 1:
        raise ValueError(
            f"`{call}` needs `{name}` with 1 axis; got shape {mask.shape}."
        )
    check_length(call, name, mask, length, of)
    return mask


def check_flag(call: str, name: str, flag) -> Array:
    """Returns `flag` as a boolean scalar, or raises."""
    array = jnp.asarray(flag)
    if array.dtype != jnp.bool_ or array.ndim:
        raise TypeError(
            f"`{call}` needs a boolean scalar for `{name}`; got {array.dtype} of shape "
            f"{array.shape}."
        )
    return array


def check_some_valid(call: str, mask: Array) -> Array:
    """Returns `mask`; raises where it is False throughout."""
    message = f"`{call}` got a `mask` without a single valid step."
    return check_values(mask, ~jnp.any(mask), message)


def check_finite(
    call: str, name: str, array: Array, valid=None, hint: str = ""
) -> Array:
    """Returns `array`; raises where a valid entry is NaN or infinite."""
    bad = ~jnp.isfinite(array)
    if valid is not None:
        bad = bad & valid.reshape(valid.shape + (1,) * (array.ndim - valid.ndim))
    message = f"`{call}` got a `{name}` with NaN or infinite values"
    if is_concrete(bad, array) and jnp.any(bad):
        index = tuple(int(i) for i in jnp.argwhere(bad)[0])
        message += f", the first one {array[index]} at index {index}"
    way_out = "Fill such steps, or mark them False in `mask` where there is one."
    return check_values(array, jnp.any(bad), f"{message}. {way_out} {hint}".rstrip())


def check_seen(call: str, name: str, array: Array, seen, valid=None) -> Array:
    """Returns observations; raises where one is NaN or infinite that is valid, by default
    where it was `seen`, which `None` says of all.
    """
    hint = ""
    if seen is None:
        hint = "Where NaN says that nothing was seen, drive the model by `Gaps(drive)`."
    return check_finite(call, name, array, seen if valid is None else valid, hint)


def check_increasing(call: str, array: Array, ts: Array, reset=None) -> Array:
    """Returns `array`; raises where the times `ts` run backwards, but for a `reset`."""
    back = jnp.diff(ts) < 0
    if reset is not None:
        back = back & ~reset[len(reset) - len(back) :]
    message = f"`{call}` needs times that never decrease"
    # Inside `jit` even known times give unknown differences.
    if is_concrete(back) and jnp.any(back):
        i = int(jnp.argmax(back))
        message += f"; got {ts[i]} before {ts[i + 1]}"
    return check_values(array, jnp.any(back), f"{message}. Sort the sequence by time.")


def check_values(array, bad: Bool[Array, ""], message: str):
    """Returns `array`; raises `message` where `bad`, now or when the values are known."""
    if is_concrete(bad):
        if bad:
            raise ValueError(message)
        return array
    if several_devices():
        return _poisoned(array, bad)
    return eqx.error_if(array, bad, message)


def check_steps(
    array,
    bad: Bool[Array, ""],
    find: Callable[..., Int[Array, ""]],
    operands: tuple,
    length: int,
    message: str,
):
    """Returns `array`; raises `message` where `bad`, with the step in the place of its
    `{}`, now or when the values are known.

    **Arguments:**

    - `find`: `operands -> step`, the first bad one, below `length`. Runs where something
        is bad and nowhere else, so that it may do much; closes over no array.
    """
    if is_concrete(bad):
        if bad:
            raise ValueError(message.format(f"step {find(*operands)} of {length}"))
        return array
    if several_devices():
        return _poisoned(array, bad)
    # Of a batch equinox reports the largest index, and the earliest step is wanted.
    index = _found(bad, operands, find=find, length=length)
    return eqx.branched_error_if(array, bad, index, _AtStep(message, length))


class _AtStep(Sequence):
    """The messages for `length` minus the step, each made when it is asked for."""

    def __init__(self, message: str, length: int):
        self.message, self.length = message, length

    def __len__(self) -> int:
        return self.length + 1

    def __getitem__(self, index):
        return self.message.format(f"step {self.length - index} of {self.length}")

    def __eq__(self, other) -> bool:
        return isinstance(other, _AtStep) and vars(self) == vars(other)

    def __hash__(self) -> int:
        return hash((self.message, self.length))


# A search has no derivative, and must leave nothing behind for a backward pass.
@eqx.filter_custom_jvp
def _found(bad, operands, *, find, length):
    def search():
        return jnp.where(bad, length - find(*operands), 0)

    return lax.cond(_any_of_batch(bad), search, lambda: jnp.zeros((), int))


@_found.def_jvp
def _found_jvp(primals, tangents, *, find, length):
    return _found(*primals, find=find, length=length), None


@jax.custom_batching.custom_vmap
def _any_of_batch(bad: Bool[Array, ""]) -> Bool[Array, ""]:
    """Returns `bad`, or in a batch whether any is, so that a `cond` on it stays one."""
    return bad


@_any_of_batch.def_vmap
def _any_rule(axis_size, in_batched, bad):
    return _any_of_batch(jnp.any(bad)), False
