"""theta_0, dxs -> thetas."""

from .auto import AutoRoll as AutoRoll
from .base import AbstractRoll as AbstractRoll
from .sequential import SequentialRoll as SequentialRoll
