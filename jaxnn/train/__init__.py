# SPDX-License-Identifier: Apache-2.0
"""Training: pure steps, an epoch as one program, and `fit` around them."""

from jaxnn.messages import public
from jaxnn.train import callbacks as callbacks
from jaxnn.train.early_stopping import EarlyStopping as EarlyStopping
from jaxnn.train.early_stopping import Plateau as Plateau
from jaxnn.train.ensemble import Ensemble as Ensemble
from jaxnn.train.ensemble import ensemble as ensemble
from jaxnn.train.ensemble import member as member
from jaxnn.train.epoch import epoch_order as epoch_order
from jaxnn.train.epoch import train_epoch as train_epoch
from jaxnn.train.evaluate import evaluate as evaluate
from jaxnn.train.fit import fit as fit
from jaxnn.train.freezing import freeze_statistics as freeze_statistics
from jaxnn.train.history import Callback as Callback
from jaxnn.train.history import History as History
from jaxnn.train.players import Player as Player
from jaxnn.train.players import players as players
from jaxnn.train.predict import predict as predict
from jaxnn.train.replay import NonFiniteError as NonFiniteError
from jaxnn.train.run import run as run
from jaxnn.train.start import train_state as train_state
from jaxnn.train.state import TrainState as TrainState
from jaxnn.train.step import TrainStep as TrainStep
from jaxnn.train.step import train_step as train_step

public.show(__name__, ["callbacks"])
