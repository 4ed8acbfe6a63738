"""x_0 -> theta_0: the interface."""

import abc

import equinox as eqx

from .._types import Key, Observation, Weights


class AbstractInitial(eqx.Module):
    """The state at the first observation: phi in `theta_0 = phi(x_0)`."""

    state_size: eqx.AbstractVar[int]

    @property
    def shared(self) -> bool:
        """Whether all sequences have one initial state, whatever they begin with: then
        rolls have less to do. By default not.
        """
        return False

    @abc.abstractmethod
    def __call__(self, x: Observation, *, key: Key | None = None) -> Weights:
        """**Arguments:**

        - `x`: the first observation, of shape `(input,)`.
        - `key`: for an initial state that is random in training; `None`, the default, gives
            the certain one.

        **Returns:** the state, of shape `(state_size,)`.
        """
