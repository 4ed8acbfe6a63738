"""xs, ts, mask -> dxs."""

from .base import (
    AbstractDrive as AbstractDrive,
    advancing as advancing,
    counting as counting,
    filled as filled,
    hold as hold,
    hold_seen as hold_seen,
)
from .convolution import (
    CausalConvolution as CausalConvolution,
    NoncausalConvolution as NoncausalConvolution,
)
from .elapsed import Elapsed as Elapsed
from .gaps import Gaps as Gaps
from .joined import EmbeddedDrive as EmbeddedDrive, JoinedDrive as JoinedDrive
from .log_signature import LogSignature as LogSignature
from .pairwise import (
    AbstractPairwiseDrive as AbstractPairwiseDrive,
    Increments as Increments,
    Values as Values,
)
from .products import (
    AbstractPairs as AbstractPairs,
    normal_equations as normal_equations,
    Products as Products,
    products as products,
    products_size as products_size,
)
