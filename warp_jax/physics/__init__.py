"""Decoders that know a law: state, coordinate -> y by a formula or an equation."""

from .law import AbstractLawDecoder as AbstractLawDecoder, Parameters as Parameters
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
