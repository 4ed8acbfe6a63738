"""turn, state, inputs -> state, outputs: a model's own scan, by `scan_by_adjoint`."""

from collections.abc import Callable, Sequence
from typing import Any

import equinox as eqx
import jax
import jax.lax as lax
from jaxtyping import Array, Float, PyTree

from .._site import AbstractSite
from .._types import Weights
from .adjoint import scan_by_adjoint, Site


try:
    from jax.extend.core import get_opaque_trace_state
except ImportError:
    # Where it was in earlier versions of JAX.
    from jax.core import get_opaque_trace_state


# (model, state, inputs) -> state, output
Turn = Callable[[Any, Any, Any], tuple[Any, Any]]


class Driven(AbstractSite):
    """Takes the place of a transition or of a site in a model, for one turn."""

    call: Callable[..., PyTree]
    footprint: int = eqx.field(static=True, default=1)

    def __call__(self, *inputs: PyTree) -> PyTree:
        return self.call(*inputs)

    def held(self) -> Callable[..., PyTree]:
        return self.call

    def advance(
        self, theta: Weights, hidden: PyTree, dx: Float[Array, " c"]
    ) -> tuple[Weights, PyTree]:
        """Takes one step of the state and of what is kept beside it."""
        return self.call(theta, hidden, dx)


def scan_driven(model: Any, turn: Turn, state, inputs) -> tuple[Any, Any]:
    """Returns a scan of `turn(model, state, inputs)`, which calls `model.step` once.

    The gradient in `model.transition` is one product over all steps, and so is that in
    the sites of `model.decoder` where a turn calls each of them once; that in all else
    comes sequence by sequence. A small transition and no such sites are left to JAX.
    """
    decoder = _Decoder(model.decoder)
    outputs = _outputs(model, decoder, turn, state, inputs)
    if not outputs:
        if _learnt(model.transition) <= _learnt(model.decoder):
            return lax.scan(lambda *given: turn(model, *given), state, inputs)
        decoder, outputs = _Decoder(model.decoder, sites=False), ()
    transition = Site(
        lambda transition, *inputs: transition.advance(*inputs),
        model.transition,
        model.transition.held().advance,
        (state.theta, state.hidden),
    )
    sites = [
        Site(
            lambda site, *inputs: site(*inputs), site, site.held(), like, site.footprint
        )
        for site, like in zip(decoder.sites, outputs)
    ]

    packing = _Packing()

    def body(calls, operands, state, inputs):
        records, model = _recording(decoder, calls, *operands)
        after, output = turn(model, state, inputs)
        # The states do not tell what drove a step: of a gap they keep no trace.
        return after, output, packing.pack([inputs for ((inputs, _),) in records])

    # Nothing idle takes part.
    idle = eqx.tree_at(_parts, model, (None, None, None))
    return scan_by_adjoint(
        (transition, *sites),
        body,
        lambda outputs, records, carry, inputs: packing.unpack(records),
        (idle, decoder.rest),
        state,
        inputs,
    )


class _Decoder:
    """A decoder, taken apart into its sites and the rest."""

    def __init__(self, decoder: PyTree, sites: bool = True):
        def is_site(part: Any) -> bool:
            return sites and isinstance(part, AbstractSite)

        leaves, self.structure = jax.tree.flatten(decoder, is_leaf=is_site)
        self.places = [i for i, leaf in enumerate(leaves) if is_site(leaf)]
        self.sites = [leaves[i].prepared() for i in self.places]
        self.rest = [leaf for leaf in leaves if not is_site(leaf)]

    def __call__(self, sites: Sequence[Any], rest: Sequence[Any]) -> PyTree:
        """Returns the decoder with these parts."""
        leaves = list(rest)
        for place, site in zip(self.places, sites):
            leaves.insert(place, site)
        return jax.tree.unflatten(self.structure, leaves)


class _Packing:
    """Keeps an array that several calls were given once."""

    def pack(self, records: PyTree) -> list[Array]:
        """Returns the arrays that differ."""
        leaves, self.structure = jax.tree.flatten(records)
        distinct = {id(leaf): leaf for leaf in leaves}
        places = {name: place for place, name in enumerate(distinct)}
        self.order = [places[id(leaf)] for leaf in leaves]
        return list(distinct.values())

    def unpack(self, arrays: Sequence[Array]) -> Any:
        """Undoes the `pack` of the same trace."""
        leaves = [arrays[place] for place in self.order]
        return jax.tree.unflatten(self.structure, leaves)


def _parts(model: Any) -> tuple[Any, ...]:
    return model.transition, model.initial, model.decoder


def _recording(
    decoder: _Decoder, calls: Sequence[Callable], idle: Any, rest: list[Any]
) -> tuple[list[list[tuple[Any, Any]]], Any]:
    """Returns a model whose transition and sites are `calls`, and for each of these a list
    that the inputs and the output of each call are put into.
    """

    def driven(call, record):
        def recorded(*inputs):
            output = call(*inputs)
            record.append((inputs, output))
            return output

        return Driven(call=recorded)

    records: list[list[tuple[Any, Any]]] = [[] for _ in calls]
    transition, *sites = map(driven, calls, records)
    parts = transition, None, decoder(sites, rest)
    return records, eqx.tree_at(_parts, idle, parts, is_leaf=lambda part: part is None)


def _outputs(
    model: Any, decoder: _Decoder, turn: Turn, state, inputs
) -> list[Any] | None:
    """Returns what the sites give, as shapes, or `None` unless a turn calls each once."""

    def probe(model, sites, rest, state, inputs):
        here = get_opaque_trace_state()
        # Inside a transformation, as in a loop of a solver, one call stands for many.
        outside = []

        def watched(call):
            def calling(*inputs):
                outside.append(get_opaque_trace_state() == here)
                return call(*inputs)

            return calling

        idle = eqx.tree_at(_parts, model, (None, None, None))
        calls = model.transition.advance, *map(watched, sites)
        records, driven = _recording(decoder, calls, idle, rest)
        turn(driven, state, inputs)
        if not all(outside) or any(len(record) != 1 for record in records[1:]):
            return None
        return [output for ((_, output),) in records[1:]]

    if not decoder.sites:
        return None
    first = jax.tree.map(lambda array: array[0], inputs)
    return eqx.filter_eval_shape(
        probe, model, decoder.sites, decoder.rest, state, first
    )


def _learnt(part: PyTree) -> int:
    """Returns how many numbers of a part are learnt."""
    return sum(
        leaf.size for leaf in jax.tree.leaves(part) if eqx.is_inexact_array(leaf)
    )
