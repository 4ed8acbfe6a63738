"""Recurrent rivals of WARP, behind the same interface."""

from .gru import GRU as GRU
from .linoss import LinOSS as LinOSS
from .lru import LRU as LRU
from .recurrent import (
    HeadDecoder as HeadDecoder,
    Model as Model,
    Recurrent as Recurrent,
    recurrent as recurrent,
)
