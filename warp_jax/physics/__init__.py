"""Decoders that know a law: state, coordinate -> y by a formula or an equation."""

from .features import (
    AbstractFeatures as AbstractFeatures,
    Steps as Steps,
    Tokens as Tokens,
)
from .law import AbstractLawDecoder as AbstractLawDecoder, Parameters as Parameters
from .least_squares import (
    FirstProducts as FirstProducts,
    least_squares as least_squares,
    LeastSquaresDecoder as LeastSquaresDecoder,
    oscillator_constants as oscillator_constants,
)
from .linear_ode import LinearODEDecoder as LinearODEDecoder
from .ode import ODEDecoder as ODEDecoder
from .oscillator import OscillatorDecoder as OscillatorDecoder
from .parameters import (
    AbstractParameter as AbstractParameter,
    Constant as Constant,
    Exponential as Exponential,
    Free as Free,
    Interval as Interval,
    Known as Known,
    Positive as Positive,
)
from .sinusoid import SinusoidDecoder as SinusoidDecoder
