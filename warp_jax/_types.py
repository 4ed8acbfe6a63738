"""The vocabulary: shape letters, array aliases, and the state that everything passes on.

Shape letters, in every annotation and docstring of the package:

| letter | size of |
|--------|---------|
| `t`    | time: steps of a sequence |
| `d`    | input: channels of an observation |
| `c`    | drive: channels of what drives the recurrence |
| `p`    | state: weights of the auxiliary network |
| `q`    | coordinate: where the auxiliary network is read |
| `y`    | output |
| `r`    | rank |
| `k`    | columns: directions that the state can move in |

One sequence in, `jax.vmap` outside: no array has a batch axis.
"""

from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax.random as jr
from jaxtyping import Array, Bool, Float, PRNGKeyArray, PyTree, Shaped


Observation = Float[Array, " d"]
Observations = Float[Array, "t d"]
Weights = Float[Array, " p"]
Times = Float[Array, " t"]
Mask = Bool[Array, " t"]
Scalar = Float[Array, ""]
ScalarLike = float | int | Shaped[Array, ""]
BoolLike = bool | Bool[Array, ""]
Key = PRNGKeyArray
Output = PyTree[Any]


class State(eqx.Module):
    """What a model remembers after an observation: all that streaming needs.

    A batch call, a streamed step and a forecast hand the same object on, so a sequence
    can be cut anywhere and continued.

    **Arguments:**

    - `theta`: the weights of the auxiliary network, of shape `(state,)`.
    - `x`: the latest observation, of shape `(input,)`.
    - `t`: the time of the latest observation, a scalar.
    - `memory`: what a drive that looks further back than one observation keeps; `None`,
        the default, for a drive that does not.
    - `hidden`: what a transition keeps beside the weights, as `SubspaceTransition` its
        coefficients; `None`, the default, for a transition on the weights alone.
    """

    theta: Weights
    x: Observation
    t: Scalar
    memory: PyTree = None
    hidden: PyTree = None


class Gaussian(eqx.Module):
    """A normal distribution for each entry, independent of the others.

    **Arguments:**

    - `mean`, `std`: of one shape, `(out,)` for one step or `(time, out)` for a sequence.
    """

    mean: Float[Array, "*y"]
    std: Float[Array, "*y"]

    def sample(self, key: Key) -> Float[Array, "*y"]:
        """Draws once, differentiably in `mean` and `std`, in the shape of `mean`."""
        return self.mean + self.std * jr.normal(key, self.mean.shape, self.mean.dtype)


def point(output: Output) -> Output:
    """Returns the one value that an output stands for: a distribution's mean, or itself.

    **Arguments:**

    - `output`: a `Gaussian`, or an array.
    """
    return output.mean if isinstance(output, Gaussian) else output


def on_point(function: Callable, output: Output) -> Output:
    """Applies `function` to the one value that an output stands for."""
    if isinstance(output, Gaussian):
        return Gaussian(function(output.mean), output.std)
    return function(output)


def draw(output: Output, key: Key) -> Output:
    """Returns a sample of a distribution, or an output that is certain as it is.

    **Arguments:**

    - `output`: a `Gaussian`, or an array.
    - `key`: for the sample.
    """
    return output.sample(key) if isinstance(output, Gaussian) else output
