"""theta_{t-1}, dx_t -> theta_t."""

from .base import AbstractTransition as AbstractTransition, Reduction as Reduction
from .block_diagonal import BlockDiagonalTransition as BlockDiagonalTransition
from .continuous import ContinuousTime as ContinuousTime
from .dense import DenseTransition as DenseTransition
from .diagonal import DiagonalTransition as DiagonalTransition
from .dropout import ModeDropout as ModeDropout
from .logarithm import log_one_plus as log_one_plus
from .low_rank import LowRankTransition as LowRankTransition
from .modal import (
    AbstractModalTransition as AbstractModalTransition,
    OscillatoryTransition as OscillatoryTransition,
    SpectralTransition as SpectralTransition,
)
from .subspace import SubspaceTransition as SubspaceTransition
from .sum import SumTransition as SumTransition
