"""xs -> y: one output for a whole sequence."""

from .base import AbstractReadout as AbstractReadout
from .bidirectional import Bidirectional as Bidirectional
from .pooled import (
    AbstractPooled as AbstractPooled,
    AttentionPooled as AttentionPooled,
    Pooled as Pooled,
)
