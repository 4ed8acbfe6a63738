"""theta_0, dxs -> thetas."""

from .adjoint import Driven as Driven, scan_by_adjoint as scan_by_adjoint
from .associative import AssociativeRoll as AssociativeRoll
from .auto import AutoRoll as AutoRoll
from .base import (
    AbstractParallelRoll as AbstractParallelRoll,
    AbstractRoll as AbstractRoll,
    moved as moved,
    Read as Read,
)
from .chunked import ChunkedRoll as ChunkedRoll
from .convolution import ConvolutionRoll as ConvolutionRoll
from .segments import (
    read_in_turns as read_in_turns,
    scan_in_segments as scan_in_segments,
    segment_for as segment_for,
)
from .sequential import SequentialRoll as SequentialRoll
