"""name, number of parameters -> a rival of WARP of about that many: the table of all."""

from collections.abc import Callable
from typing import Any

import jax

import warp_jax as wj

from ._models import sized
from .baselines import (
    AbstractCell,
    AbstractField,
    BracketField,
    Controlled,
    DLinear,
    Driven,
    FACTS,
    Field,
    Gated,
    GRU,
    implicit_explicit,
    LinOSS,
    LRU,
    LSTM,
    Model,
    Recurrent,
    recurrent,
    RGLRU,
    S4D,
    S5,
    S6,
    SignatureField,
    Stack,
    Thinned,
    Transformer,
    unwrapped,
    Wrap,
)


# Input size, size, length of the sequences and key -> cell.
Maker = Callable[[int, int, int, Any], AbstractCell]


def stacked(make: Callable[[int, Any], AbstractCell]) -> Maker:
    """Returns a maker of two blocks around the cells of `make`, `features, key -> cell`."""

    def maker(inputs: int, size: int, length: int, key: Any) -> AbstractCell:
        return Stack(inputs, size, make, key=key)

    return maker


def _half(size: int) -> int:
    return -(-size // 2)


def _mamba(size: int, key: Any) -> AbstractCell:
    inner, outer = jax.random.split(key)
    return Gated(size, S6(2 * size, key=inner), key=outer)


def _griffin(size: int, key: Any) -> AbstractCell:
    inner, outer = jax.random.split(key)
    cell = RGLRU(size, key=inner)
    return Gated(size, cell, before=jax.nn.identity, gate=jax.nn.gelu, key=outer)


def _facts(size: int, key: Any) -> AbstractCell:
    inner, outer = jax.random.split(key)
    factors = 4
    cell = FACTS(factors * -(-size // factors), factors, key=inner)
    return Gated(size, cell, before=jax.nn.identity, key=outer)


def _controlled(field: Callable[..., AbstractField], windows: int | None) -> Maker:
    """Returns a maker of differential equations driven by the observations themselves: no
    block is around them.

    - `windows`: how many a sequence has, about, but of two steps at least; `None` has a
        window for each step.
    """

    def maker(inputs: int, size: int, length: int, key: Any) -> AbstractCell:
        window = 1 if windows is None else max(2, length // windows)
        field_key, first_key = jax.random.split(key)
        made = field(inputs + 1, size, size, key=field_key)
        return Controlled(inputs, made, length=length, window=window, key=first_key)

    return maker


def _transformer(inputs: int, size: int, length: int, key: Any) -> AbstractCell:
    return Transformer(inputs, 2 * _half(size), heads=2, window=length, key=key)


CELLS: dict[str, Maker] = {
    "GRU": stacked(lambda size, key: GRU(size, size, key=key)),
    "LSTM": stacked(lambda size, key: LSTM(size, size, key=key)),
    "Transformer": _transformer,
    "LRU": stacked(lambda size, key: LRU(size, _half(size), key=key)),
    "S4D": stacked(lambda size, key: S4D(size, key=key)),
    "S5": stacked(lambda size, key: S5(size, _half(size), key=key)),
    "S6": stacked(lambda size, key: S6(size, key=key)),
    "Mamba": stacked(_mamba),
    "LinOSS-IM": stacked(lambda size, key: LinOSS(size, _half(size), key=key)),
    "LinOSS-IMEX": stacked(
        lambda size, key: LinOSS(size, _half(size), scheme=implicit_explicit, key=key)
    ),
    "RG-LRU": stacked(_griffin),
    "FACTS": stacked(_facts),
    "neural CDE": _controlled(Field, None),
    "NRDE": _controlled(SignatureField, 16),
    "Log-NCDE": _controlled(BracketField, 16),
}


def rival(
    name: str | Maker,
    inputs: int,
    outputs: int,
    *,
    length: int,
    parameters: int,
    coordinates: wj.AbstractCoordinates = wj.TimeCoordinate(),
    wrap: Wrap = unwrapped,
    key: Any,
) -> Recurrent:
    """Returns the rival of that name with about `parameters`, read by a perceptron of its
    hidden vector and the coordinate that WARP is read at.

    - `name`: a key of `CELLS`, or a maker as those are.
    - `length`: of the sequences, roughly.
    - `wrap`: what turns the perceptron into another decoder.
    """

    maker = CELLS[name] if isinstance(name, str) else name

    def make(size: int) -> Recurrent:
        cell_key, head_key = jax.random.split(key)
        cell = maker(inputs, size, length, cell_key)
        return recurrent(
            cell, outputs, size, coordinates=coordinates, wrap=wrap, key=head_key
        )

    return sized(make, parameters)


def thinned(
    model: Recurrent, drive: wj.AbstractPairwiseDrive, dropout: float
) -> Thinned:
    """Returns the rival driven as a WARP is, with whole modes left out as of one.

    - `dropout`: the share of modes that a sequence in training leaves out.
    """
    driven = Driven(model.cell, model.decoder, model.coordinates, drive)
    return Thinned(driven, dropout)


def state_size(model: Model | Thinned | wj.Stacked | DLinear) -> int:
    """Returns how many real numbers a stream keeps: of a WARP the weights, of a stack those
    of its layers, of a rival what it says.
    """
    if isinstance(model, wj.WARP):
        return model.decoder.state_size
    if isinstance(model, wj.Stacked):
        parts: list[Any] = [*(layer.model for layer in model.layers), model.model]
        return sum(map(state_size, parts))
    return model.state_size
