"""inputs -> output of a part whose parameters all steps of a scan share: the interface."""

import abc
from collections.abc import Callable

import equinox as eqx
from jaxtyping import PyTree


class AbstractSite(eqx.Module):
    """A part of a decoder that a turn of a scan calls once, as a layer of its network.

    A scan over turns then makes the gradient in its parameters as one product over all
    steps, see `scan_driven`.
    """

    footprint: eqx.AbstractVar[int]
    """Numbers that one call holds, roughly."""

    @abc.abstractmethod
    def __call__(self, *inputs: PyTree) -> PyTree:
        """Returns the output."""

    def prepared(self) -> "AbstractSite":
        """Returns the site as a scan of many calls wants it, with what these share made
        once; by default there is nothing to make.
        """
        return self

    @abc.abstractmethod
    def held(self) -> Callable[..., PyTree]:
        """Returns a function with the numbers of a call, for a scan that is differentiated
        in the inputs alone: without a gradient in the parameters.
        """
