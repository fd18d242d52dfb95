"""Writes the golden file of format version 2; run once, when that format was new.

The file stays as it is, so that later versions are known to read it:
`python -m golden.v2` in `tests` would write it with today's code.
"""

from pathlib import Path

import numpy as np
from golden.v1 import train_state

from jaxnn.files import tree_files
from jaxnn.train import History

FOLDER = Path(__file__).parent


def history() -> History:
    """A history of known values, stopped inside its third epoch."""
    made = History()
    made.add(1, {"loss": 0.1, "f1": np.array([0.5, 1.0], np.float32)})
    made.add(2, {"loss": float("inf"), "val_loss": 1 / 3, "note": "ö"})
    made.step_losses = [1.5, float("nan"), 2.5, 1e-300, -0.0, 1.0, 2.0]
    made.seconds["run"], made.programs = 2.25, 3
    made.stopped = "SIGTERM in epoch 3, after 7 steps"
    made.unfinished = {
        "epoch": 2,
        "step": 7,
        "names": ["loss"],
        "parts": [[np.array([[[3.0, 2.0]]], np.float32)]],
    }
    return made


if __name__ == "__main__":
    file = FOLDER / "v2_checkpoint.safetensors"
    tree_files.write(file, train_state(), spec="Dense(3)", record=history().record())
