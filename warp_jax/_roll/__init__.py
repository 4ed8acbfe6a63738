"""theta_0, dxs -> thetas."""

from .associative import AssociativeRoll as AssociativeRoll
from .auto import AutoRoll as AutoRoll
from .base import (
    AbstractParallelRoll as AbstractParallelRoll,
    AbstractRoll as AbstractRoll,
    Fresh as Fresh,
    moved as moved,
    Read as Read,
)
from .chunked import ChunkedRoll as ChunkedRoll
from .convolution import ConvolutionRoll as ConvolutionRoll
from .driven import scan_driven as scan_driven
from .merged import over_all_steps as over_all_steps
from .segments import (
    read_in_turns as read_in_turns,
    scan_in_segments as scan_in_segments,
    segment_for as segment_for,
)
from .sequence_parallel import SequenceParallelRoll as SequenceParallelRoll
from .sequential import SequentialRoll as SequentialRoll
