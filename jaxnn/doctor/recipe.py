# SPDX-License-Identifier: Apache-2.0
"""The problems that the doctor can find, with their remedies and effects."""

from typing import NamedTuple


class Illness(NamedTuple):
    """A problem that a run can have.

    Attributes:
        remedy: the remedies, starting with the one that helps most often.
        causes: the illnesses that it causes.
    """

    remedy: str
    causes: tuple[str, ...] = ()


SLOW = ("learning rate too small", "too few epochs", "underfitting")
DULL = ("vanishing gradients", "saturated units", "dead ReLUs", *SLOW)

ILLNESSES = {
    "wrong output/loss pair": Illness(
        "another loss: for classes raw outputs with softmax_cross_entropy, for yes or "
        "no raw outputs with sigmoid_cross_entropy, for numbers raw outputs with "
        "mean_squared_error",
        ("learning rate too large", "labels out of balance", "overfitting", *DULL),
    ),
    "inputs not scaled": Illness(
        "scale the inputs: pictures by 1/255, other features to mean 0 and deviation "
        "1 (with the training set's numbers, on every set); or begin with BatchNorm",
        (
            *("exploding gradients", "learning rate too large", "overfitting"),
            *("too much regularization", *DULL),
        ),
    ),
    "targets not scaled": Illness(
        "scale the targets to mean 0 and deviation 1, and undo it on the predictions",
        (
            *("exploding gradients", "learning rate too large", "dead ReLUs"),
            *("saturated units", *SLOW),
        ),
    ),
    "sets that differ": Illness(
        "treat both sets alike: scale validation inputs with the training set's "
        "numbers, and shuffle the examples before splitting them",
        ("overfitting",),
    ),
    "padding read as data": Illness(
        "give the lengths along: inputs (x, lengths), as nn.data.pad makes them; every "
        "layer then ignores what stands past the ends, and nn.LastStep() or "
        "nn.GlobalMaxPool() reads real steps only",
        ("overfitting", "underfitting"),
    ),
    "overlapping sets": Illness(
        "take the copies out of the validation set: split first, then augment or "
        "repeat; the validation numbers of this run are too good",
    ),
    "leaking features": Illness(
        "leave the feature out, unless it will be known when the network is used",
        ("overfitting",),
    ),
    "constant features": Illness(
        "leave these features out, or mend what records them",
    ),
    "noisy labels": Illness(
        "look at examples and labels side by side: were they shuffled apart? Then "
        "early stopping, dropout and label smoothing keep noise from being learned",
        ("overfitting", "underfitting", "too few epochs"),
    ),
    "too few examples": Illness(
        "more data: collect them, or make them by augmentation (rotate, shift); a "
        "smaller network, dropout, L2",
        ("overfitting",),
    ),
    "labels out of balance": Illness(
        "count rare classes more (class_weight of fit), or show them more often; "
        "judge by recall or F1 of each class, not by accuracy",
        ("underfitting", "overfitting"),
    ),
    "equal initial values": Illness(
        "draw the initial weights at random (w_init=nn.initializers.glorot_uniform(), "
        "the default)",
        DULL,
    ),
    "saturated units": Illness(
        "another activation (ReLU); smaller initial weights; batch normalization",
        (
            *("vanishing gradients", "exploding gradients", "learning rate too large"),
            *("overfitting", *SLOW),
        ),
    ),
    "exploding gradients": Illness(
        "smaller initial weights (the default initializer); clip the gradient "
        "(optax.clip_by_global_norm(1.0)); batch normalization; LSTM in place of a "
        "plain recurrent network",
        (
            *("learning rate too large", "dead ReLUs", "vanishing gradients"),
            *("overfitting", *SLOW),
        ),
    ),
    "learning rate too large": Illness(
        "a learning rate 3 to 10 times smaller (nn.find_learning_rate suggests one); "
        "Adam; clip the gradient",
        ("dead ReLUs", "saturated units", "overfitting", *SLOW),
    ),
    "dead ReLUs": Illness(
        "biases that begin at zero; a smaller learning rate; leaky ReLU or ELU; "
        "batch normalization",
        ("vanishing gradients", *SLOW),
    ),
    "vanishing gradients": Illness(
        "ReLU in place of sigmoid and tanh; larger initial weights (He, Glorot); "
        "batch normalization; shortcuts (nn.Residual); fewer layers",
        SLOW,
    ),
    "stale batch statistics": Illness(
        "a smaller BatchNorm momentum (0.9), more steps, or larger batches, so that "
        "the running statistics are those of the data",
        ("learning rate too large", "overfitting", *SLOW),
    ),
    "too much regularization": Illness(
        "a smaller dropout rate, a smaller L1, L2 or weight decay",
        (*SLOW, "overfitting"),
    ),
    "learning rate too small": Illness(
        "a learning rate 3 to 10 times larger, and again "
        "(nn.find_learning_rate suggests one); an adaptive rate (Adam); momentum",
        ("too few epochs", "underfitting"),
    ),
    "too few epochs": Illness(
        "more epochs (fit goes on from state=); momentum; an adaptive rate (Adam)",
        ("underfitting",),
    ),
    "overfitting": Illness(
        "early stopping; L1 or L2 (weight decay); dropout; more data by augmentation; "
        "a different structure (fewer units); an ensemble",
    ),
    "underfitting": Illness(
        "a different structure (more layers, more units); another activation (ReLU); "
        "another loss; mini-batches, an adaptive learning rate (Adam), momentum",
    ),
}
