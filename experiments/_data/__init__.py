"""name -> arrays: one file for each data set, behind one `Dataset`."""

from .dataset import (
    data_folder as data_folder,
    Dataset as Dataset,
    Split as Split,
)
from .digits import load_digits as load_digits
from .sine import make_sine as make_sine
from .spirals import make_spirals as make_spirals
from .uea import load_uea as load_uea
