"""name -> arrays: one file for each data set, behind one `Dataset`."""

from .celeba import load_celeba as load_celeba
from .cheetah import load_cheetah as load_cheetah
from .dataset import (
    data_folder as data_folder,
    Dataset as Dataset,
    Split as Split,
)
from .digits import load_digits as load_digits
from .ett import load_ett as load_ett
from .forecasting import (
    load_file as load_file,
    load_series as load_series,
    SERIES as SERIES,
)
from .gathered import Gathered as Gathered
from .image_sets import IMAGES as IMAGES, load_images as load_images
from .images import Images as Images, Pictures as Pictures
from .in_context import (
    Contexts as Contexts,
    Fresh as Fresh,
    Linear as Linear,
    make_in_context as make_in_context,
    Regressions as Regressions,
    Sinusoids as Sinusoids,
)
from .irregular import check_sampling as check_sampling, Sampling as Sampling
from .labelled import (
    Labelled as Labelled,
    load_labelled as load_labelled,
    with_validation as with_validation,
)
from .lorenz import make_lorenz as make_lorenz
from .lotka_volterra import make_lotka_volterra as make_lotka_volterra
from .mnist import (
    load_fashion_mnist as load_fashion_mnist,
    load_mnist as load_mnist,
)
from .msd import make_msd as make_msd, make_msd_zero as make_msd_zero
from .series import min_max as min_max, Series as Series, standard as standard
from .silverbox import (
    load_irregular_silverbox as load_irregular_silverbox,
    load_silverbox as load_silverbox,
)
from .sine import make_sine as make_sine
from .spirals import make_spirals as make_spirals
from .traffic import load_metr_la as load_metr_la, load_pems08 as load_pems08
from .uea import load_uea as load_uea, SEEDS as SEEDS
