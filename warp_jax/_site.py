"""weights, v -> y of a layer whose parameters all steps of a scan share: the interface."""

import abc
from collections.abc import Callable

import equinox as eqx
from jaxtyping import Array, Float


class AbstractSite(eqx.Module):
    """A layer of a decoder's network, which a turn of a scan may call once.

    A scan over turns then makes the gradient in its parameters as one product over all
    steps, see `scan_driven`.
    """

    footprint: eqx.AbstractVar[int]
    """Numbers that one call holds, roughly."""

    @abc.abstractmethod
    def __call__(
        self, weights: Float[Array, " n"], v: Float[Array, " i"], /
    ) -> Float[Array, " o"]:
        """Returns the output, of what the layer is made with and of its input."""

    def prepared(self) -> "AbstractSite":
        """Returns the site as a scan of many calls wants it, with what these share made
        once; by default there is nothing to make.
        """
        return self

    @abc.abstractmethod
    def held(self) -> Callable[..., Array]:
        """Returns a function with the numbers of a call, for a scan that is differentiated
        in the inputs alone: without a gradient in the parameters.
        """
