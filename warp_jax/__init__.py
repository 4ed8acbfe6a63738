"""Weight-space linear recurrent networks: a state that is a network's weights.

    xs ──drive──▶ dxs ─┐
    xs[0] ─initial─▶ theta_0 ─┴─roll(transition)──▶ thetas ──decoder(·, coordinate)──▶ ys
    ys ──loss──▶ scalar ──fit (optax)──▶ new parameters

Everything is an `equinox.Module` or a pure function of one sequence; `jax.vmap` makes
batches. The model is WARP (arXiv 2506.01153): `theta_t = A theta_{t-1} + B dx_t`,
`y_t = f_{theta_t}(tau_t)`.
"""

from importlib.metadata import version as _version

from . import physics as physics
from ._abstract_model import AbstractModel as AbstractModel
from ._batches import (
    Batches as Batches,
    Bucket as Bucket,
    bucket as bucket,
    Window as Window,
    Windows as Windows,
)
from ._coordinates import (
    AbstractCoordinates as AbstractCoordinates,
    RasterCoordinates as RasterCoordinates,
    SinusoidalCoordinates as SinusoidalCoordinates,
    TimeCoordinate as TimeCoordinate,
)
from ._decoder import (
    AbstractDecoder as AbstractDecoder,
    ActivatedDecoder as ActivatedDecoder,
    Clip as Clip,
    DynamicTanh as DynamicTanh,
    Gain as Gain,
    GaussianDecoder as GaussianDecoder,
    NetworkDecoder as NetworkDecoder,
    NormBound as NormBound,
    SkipDecoder as SkipDecoder,
)
from ._drive import (
    AbstractDrive as AbstractDrive,
    AbstractPairs as AbstractPairs,
    AbstractPairwiseDrive as AbstractPairwiseDrive,
    CausalConvolution as CausalConvolution,
    Elapsed as Elapsed,
    EmbeddedDrive as EmbeddedDrive,
    Gaps as Gaps,
    Increments as Increments,
    JoinedDrive as JoinedDrive,
    LogSignature as LogSignature,
    NoncausalConvolution as NoncausalConvolution,
    Products as Products,
    Values as Values,
)
from ._fit import fit as fit
from ._forecast import forecast as forecast, unroll as unroll
from ._initial import (
    AbstractInitial as AbstractInitial,
    Hypernetwork as Hypernetwork,
    LearntInitial as LearntInitial,
    NoisyInitial as NoisyInitial,
)
from ._layout import SplitRows as SplitRows
from ._loss import (
    bits_per_dim as bits_per_dim,
    cross_entropy as cross_entropy,
    gaussian_nll as gaussian_nll,
    mse as mse,
)
from ._model import WARP as WARP
from ._precision import cast as cast
from ._readout import (
    AbstractPooled as AbstractPooled,
    AbstractReadout as AbstractReadout,
    AttentionPooled as AttentionPooled,
    Bidirectional as Bidirectional,
    Pooled as Pooled,
)
from ._roll import (
    AbstractParallelRoll as AbstractParallelRoll,
    AbstractRoll as AbstractRoll,
    AssociativeRoll as AssociativeRoll,
    AutoRoll as AutoRoll,
    ChunkedRoll as ChunkedRoll,
    ConvolutionRoll as ConvolutionRoll,
    SequenceParallelRoll as SequenceParallelRoll,
    SequentialRoll as SequentialRoll,
)
from ._save import load as load, save as save
from ._span import Span as Span
from ._spectrum import (
    RadiusBound as RadiusBound,
    Spectrum as Spectrum,
    spectrum as spectrum,
)
from ._stacked import Stacked as Stacked, StackedLayer as StackedLayer
from ._training import (
    History as History,
    print_progress as print_progress,
    Progress as Progress,
    Stopped as Stopped,
)
from ._transition import (
    AbstractModalTransition as AbstractModalTransition,
    AbstractTransition as AbstractTransition,
    BlockDiagonalTransition as BlockDiagonalTransition,
    ContinuousTime as ContinuousTime,
    DenseTransition as DenseTransition,
    DiagonalTransition as DiagonalTransition,
    LowRankTransition as LowRankTransition,
    ModeDropout as ModeDropout,
    OscillatoryTransition as OscillatoryTransition,
    Reduction as Reduction,
    SpectralTransition as SpectralTransition,
    SubspaceTransition as SubspaceTransition,
    SumTransition as SumTransition,
)
from ._types import (
    draw as draw,
    Gaussian as Gaussian,
    point as point,
    State as State,
)
from ._weightspace import WeightSpace as WeightSpace


__version__ = _version("warp_jax")
