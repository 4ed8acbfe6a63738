"""Rivals of WARP, behind the same interface."""

from .controlled import (
    AbstractField as AbstractField,
    BracketField as BracketField,
    Controlled as Controlled,
    ControlledGaps as ControlledGaps,
    Field as Field,
    SignatureField as SignatureField,
)
from .dlinear import DLinear as DLinear
from .driven import Driven as Driven
from .facts import FACTS as FACTS
from .gated import Gated as Gated
from .gru import GRU as GRU
from .linoss import (
    implicit as implicit,
    implicit_explicit as implicit_explicit,
    LinOSS as LinOSS,
)
from .lru import LRU as LRU
from .lstm import LSTM as LSTM
from .neural_ode import (
    neural_ode as neural_ode,
    NeuralODEDecoder as NeuralODEDecoder,
)
from .recurrent import (
    AbstractCell as AbstractCell,
    HeadDecoder as HeadDecoder,
    Model as Model,
    Recurrent as Recurrent,
    recurrent as recurrent,
    unwrapped as unwrapped,
    Wrap as Wrap,
)
from .rglru import RGLRU as RGLRU
from .ridge import fit_ridge as fit_ridge, WindowRidge as WindowRidge
from .s4d import S4D as S4D
from .s5 import S5 as S5
from .s6 import S6 as S6
from .seasonal import find_season as find_season, repeat as repeat
from .stack import Stack as Stack
from .thinned import Thinned as Thinned
from .told import TOLD as TOLD, Told as Told
from .transformer import Transformer as Transformer
