"""x_0 -> theta_0."""

from .base import AbstractInitial as AbstractInitial
from .hypernetwork import Hypernetwork as Hypernetwork
from .learnt import LearntInitial as LearntInitial
from .noisy import NoisyInitial as NoisyInitial
