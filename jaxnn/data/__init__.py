# SPDX-License-Identifier: Apache-2.0
"""Real data sets, and functions that prepare them for training, all in NumPy.

An image data set is two pairs, `(images, labels)` for training and `(images, labels)`
for testing; only `isbi_em`, whose test labels are not public, is a single pair. For
texts, time series, sounds and objects in pictures, each loader documents what it
returns. Nothing here imports JAX or touches a device until `log_mel` or `griffin_lim`
is called, or `augment` or `boxes` is imported, whose functions are for arrays inside a
compiled step.
"""

import importlib
from typing import TYPE_CHECKING, Any

from jaxnn.data import text as text
from jaxnn.data.batches import Padded as Padded
from jaxnn.data.batches import length_buckets as length_buckets
from jaxnn.data.batches import next_tokens as next_tokens
from jaxnn.data.batches import pad as pad
from jaxnn.data.batches import token_streams as token_streams
from jaxnn.data.blood_cells import bccd as bccd
from jaxnn.data.cifar10 import cifar10 as cifar10
from jaxnn.data.corpora import multi30k as multi30k
from jaxnn.data.corpora import rt_polarity as rt_polarity
from jaxnn.data.corpora import tiny_shakespeare as tiny_shakespeare
from jaxnn.data.digits import digits as digits
from jaxnn.data.emojis import emoji as emoji
from jaxnn.data.faces import orl_faces as orl_faces
from jaxnn.data.from_grain import from_grain as from_grain
from jaxnn.data.isbi_em import isbi_em as isbi_em
from jaxnn.data.measurements import airline_passengers as airline_passengers
from jaxnn.data.measurements import beijing_pm25 as beijing_pm25
from jaxnn.data.measurements import etth1 as etth1
from jaxnn.data.measurements import melbourne_temperatures as melbourne_temperatures
from jaxnn.data.measurements import nab as nab
from jaxnn.data.mnist import fashion_mnist as fashion_mnist
from jaxnn.data.mnist import mnist as mnist
from jaxnn.data.prepare import Standardizer as Standardizer
from jaxnn.data.prepare import from_one_hot as from_one_hot
from jaxnn.data.prepare import one_hot as one_hot
from jaxnn.data.prepare import split as split
from jaxnn.data.prepare import standardize as standardize
from jaxnn.data.prepare import standardizer as standardizer
from jaxnn.data.series import fill_forward as fill_forward
from jaxnn.data.series import regular as regular
from jaxnn.data.series import seasonal_naive as seasonal_naive
from jaxnn.data.series import split_in_time as split_in_time
from jaxnn.data.series import windows as windows
from jaxnn.data.sound import griffin_lim as griffin_lim
from jaxnn.data.sound import log_mel as log_mel
from jaxnn.data.sound import mel_frames as mel_frames
from jaxnn.data.spoken_digits import spoken_digits as spoken_digits
from jaxnn.messages import public

if TYPE_CHECKING:
    from jaxnn.data import augment as augment
    from jaxnn.data import boxes as boxes


def __getattr__(name: str) -> Any:
    if name in ("augment", "boxes"):
        return importlib.import_module(f"jaxnn.data.{name}")
    raise AttributeError(name)  # answered by what `public.show` makes of the module


public.show("jaxnn.data.text", ["Pretrained", "Vocabulary", "bert", "gpt2"])
public.show(__name__, ["augment", "boxes", "text"])
