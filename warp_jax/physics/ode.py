"""state, coordinate -> the solution of any ordinary differential equation."""

from collections.abc import Callable, Mapping
from typing import Any

import diffrax
import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PyTree

from .._check import check_integer, check_positive, check_values
from .._types import State
from .law import AbstractLawDecoder, check_observation, elapsed, Parameters, Values
from .parameters import AbstractParameter, as_parameter, Free


VectorField = Callable[[Any, Float[Array, " y"], Values], Float[Array, " y"]]


class ODEDecoder(AbstractLawDecoder):
    """The solution of `dy/dt = vector_field(t, y, parameters)`, from the latest observation
    to the time asked for, by a solver of diffrax (Kidger 2021, arXiv 2202.02435).
    """

    law: Parameters
    vector_field: VectorField
    solver: diffrax.AbstractSolver
    stepsize_controller: diffrax.AbstractStepSizeController | None
    adjoint: diffrax.AbstractAdjoint
    dt0: float | None = eqx.field(static=True)
    max_steps: int = eqx.field(static=True)
    inputs: int = eqx.field(static=True)
    time_scale: float = eqx.field(static=True)
    out_size: int = eqx.field(static=True)

    def __init__(
        self,
        network: PyTree | None,
        vector_field: VectorField,
        solver: diffrax.AbstractSolver = diffrax.Tsit5(),
        *,
        size: int | None = None,
        parameters: Mapping[str, float | AbstractParameter] | None = None,
        inputs: int = 0,
        stepsize_controller: diffrax.AbstractStepSizeController | None = None,
        adjoint: diffrax.AbstractAdjoint = diffrax.RecursiveCheckpointAdjoint(),
        dt0: float | None = None,
        max_steps: int = 256,
        time_scale: float = 1.0,
        at: float | None = 0.0,
    ):
        """**Arguments:**

        - `network`: gives the raw numbers of the parameters in their order, but for those
            that are numbers or `Constant`. Or a decoder; or `None` where none is left.
        - `vector_field`: `(t, y, parameters) -> dy/dt`, both of shape `(size,)`, with the
            parameters as a dictionary by name and t in the unit of the times `ts` times
            `time_scale`. Weights in it, as in an Equinox module, are trained.
        - `solver`: by default `diffrax.Tsit5()`.
        - `size`: how many channels y has: the first ones of an observation. By default the
            one number of up to 32 that the vector field takes and returns.

        Other arguments:

        - `parameters`: the parameters by name; by default one, `p`, all raw numbers as
            they are, of shape `(network's outputs,)`.
        - `inputs`: how many channels after y are inputs. The vector field finds them as
            `parameters["inputs"]`, `(inputs,)`; they stay what they were. By default none.
        - `stepsize_controller`: by default steps that keep the error below 1e-8 of y in
            double and 1e-5 in single precision.
        - `adjoint`: how to differentiate; by default through the solver's steps.
        - `dt0`: the first step as a part of the interval from the observation to the
            reading; by default the controller's choice. Steps of constant size need it.
        - `max_steps`: of one reading, at most; by default 256.
        - `time_scale`: how many units of the law's time are in one of the times `ts`; by
            default 1.
        - `at`: the coordinate at which the network is read, a single number, by default 0;
            `None` reads it at the coordinate asked for.

        **Raises:** `ValueError` where the network has another number of outputs, the size
        of the law cannot be told, or a number is outside its range; when run, where
        `max_steps` are not enough. `TypeError` for an argument of another kind.
        """
        call = "ODEDecoder(network, vector_field, solver)"
        self.inputs = check_integer(call, "inputs", inputs, 0)
        if not callable(vector_field):
            raise TypeError(
                f"`{call}` needs a function `(t, y, parameters) -> dy/dt` for "
                f"`vector_field`; got {vector_field!r:.80}."
            )
        for name, part, kind in (
            ("solver", solver, diffrax.AbstractSolver),
            ("adjoint", adjoint, diffrax.AbstractAdjoint),
        ):
            if not isinstance(part, kind):
                raise TypeError(
                    f"`{call}` needs a {kind.__name__} for `{name}`; got "
                    f"{type(part).__name__}: {part!r:.80}."
                )
        if dt0 is None and isinstance(stepsize_controller, diffrax.ConstantStepSize):
            raise ValueError(
                f"`{call}` needs `dt0`, a part of the interval, with steps of constant "
                "size; got dt0=None. For ten steps give dt0=0.1."
            )
        if parameters is None:
            parameters = {"p": Free(shape=(_outputs(call, network),))}
        if "inputs" in parameters:
            raise ValueError(
                f"`{call}` keeps the name 'inputs' for the inputs; got a parameter of "
                "that name. Rename it."
            )
        kinds = {name: as_parameter(call, name, p) for name, p in parameters.items()}
        self.law = Parameters(call, network, kinds, at)
        if size is None:
            size = _size(call, vector_field, kinds, self.inputs)
        self.out_size = check_integer(call, "size", size, 1)
        self.vector_field = vector_field
        self.solver = solver
        self.stepsize_controller = stepsize_controller
        self.adjoint = adjoint
        self.dt0 = dt0 if dt0 is None else check_positive(call, "dt0", dt0)
        self.max_steps = check_integer(call, "max_steps", max_steps, 1)
        self.time_scale = check_positive(call, "time_scale", time_scale)

    def __call__(
        self, state: State, coordinate: Float[Array, " q"]
    ) -> Float[Array, " y"]:
        call = "ODEDecoder(network, vector_field, solver)"
        size, channels = self.out_size, f"{self.out_size} and {self.inputs} inputs"
        check_observation(call, state.x, channels, size + self.inputs)
        parameters = self.law(state, coordinate)
        if self.inputs:
            parameters["inputs"] = state.x[size:]
        span = elapsed(state, coordinate, self.time_scale)
        start = self.time_scale * state.t

        # Time runs from 0 to 1: an interval of no length is then no special case.
        def slope(s, y, args):
            start, span, parameters = args
            return span * self.vector_field(start + s * span, y, parameters)

        solution = diffrax.diffeqsolve(
            diffrax.ODETerm(slope),
            self.solver,
            t0=0.0,
            t1=1.0,
            dt0=self.dt0,
            y0=state.x[:size],
            args=(start, span, parameters),
            stepsize_controller=self.stepsize_controller or _controller(state.x.dtype),
            adjoint=self.adjoint,
            max_steps=self.max_steps,
            throw=False,
        )
        message = (
            f"`{call}` came to no end within max_steps={self.max_steps}. Raise it, allow "
            "larger errors by `stepsize_controller=diffrax.PIDController(rtol, atol)`, "
            "take `diffrax.Kvaerno5()` for a stiff law, or bound the parameters, as by "
            "`Interval`: far-off ones make laws stiff or unstable."
        )
        failed = solution.result != diffrax.RESULTS.successful
        (last,) = jax.tree.leaves(solution.ys)
        return check_values(last[-1], failed, message)


def _controller(dtype) -> diffrax.AbstractStepSizeController:
    error = 1e-8 if dtype == jnp.float64 else 1e-5
    return diffrax.PIDController(rtol=error, atol=error / 10)


def _size(call: str, vector_field: VectorField, kinds, inputs: int) -> int:
    """Returns how many numbers a vector field takes and returns."""
    dtype = jnp.result_type(float)

    def shape(*shape):
        return jax.ShapeDtypeStruct(shape, dtype)

    parameters = {name: shape(*kind.shape) for name, kind in kinds.items()}
    if inputs:
        parameters["inputs"] = shape(inputs)
    fitting, refused = [], None
    for size in range(1, 33):
        try:
            slope = eqx.filter_eval_shape(
                vector_field, shape(), shape(size), parameters
            )
        except Exception as error:
            # A field of two numbers cannot be asked for the slope of three.
            refused = error
            continue
        if getattr(slope, "shape", None) == (size,):
            fitting.append(size)
    if len(fitting) != 1:
        raise ValueError(
            f"`{call}` cannot tell how many channels the law carries: the vector field "
            f"takes and returns {fitting or 'none'} of the sizes from 1 to 32. Say it: "
            "`size=...`."
        ) from refused
    return fitting[0]


def _outputs(call: str, network: PyTree | None) -> int:
    size = getattr(network, "out_size", getattr(network, "out_features", None))
    if not isinstance(size, int):
        raise ValueError(
            f"`{call}` needs `parameters`, by name, for a network that does not tell its "
            f"`out_size`; got {type(network).__name__}."
        )
    return size
