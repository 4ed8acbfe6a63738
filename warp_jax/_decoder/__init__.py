"""state, coordinate -> y."""

from .activated import (
    ActivatedDecoder as ActivatedDecoder,
    Clip as Clip,
    DynamicTanh as DynamicTanh,
    Gain as Gain,
    NormBound as NormBound,
)
from .base import AbstractDecoder as AbstractDecoder
from .gaussian import GaussianDecoder as GaussianDecoder
from .network import NetworkDecoder as NetworkDecoder
from .skip import SkipDecoder as SkipDecoder
