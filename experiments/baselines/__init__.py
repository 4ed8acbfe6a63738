"""Rivals of WARP, behind the same interface."""

from .gru import GRU as GRU
from .linoss import LinOSS as LinOSS
from .lru import LRU as LRU
from .lstm import LSTM as LSTM
from .neural_ode import (
    neural_ode as neural_ode,
    NeuralODEDecoder as NeuralODEDecoder,
)
from .recurrent import (
    HeadDecoder as HeadDecoder,
    Model as Model,
    Recurrent as Recurrent,
    recurrent as recurrent,
)
from .transformer import Transformer as Transformer
