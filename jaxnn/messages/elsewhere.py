# SPDX-License-Identifier: Apache-2.0
"""Names from Keras, PyTorch and Flax, and what to write for them here.

`NAMES` answers a name that a module of jaxnn does not have. Each entry is `(code,
note)`: code that runs, or "", and what else there is to know. What is given to a layer
or asked of it by other names is in `elsewhere_calls.py`.
"""

_IN = "the input size is found by `init`"
_RANK = "the kernel's length is the number of axes: 3, (3,) or (3, 3, 3)"
_OPTAX = "optimizers are those of Optax"
_PLAIN = "a plain function is a layer"
_PER_EXAMPLE = "it gives one value per example; `fit` averages"


def _activations() -> dict[str, tuple[str, str]]:
    """Activations are functions of `jax.nn`, whatever they are called elsewhere."""
    names = "relu gelu silu sigmoid tanh softmax log_softmax elu selu celu leaky_relu"
    names += " softplus swish mish relu6 hard_tanh hard_sigmoid glu log_sigmoid"
    classes = "ReLU GELU SiLU Sigmoid Tanh Softmax LogSoftmax ELU SELU CELU LeakyReLU"
    classes += " Softplus Swish Mish ReLU6 Hardtanh Hardsigmoid GLU LogSigmoid"
    found = {}
    for name, kind in zip(names.split(), classes.split(), strict=True):
        found[name] = found[kind] = (f"jax.nn.{name}", _PLAIN)
    return found


def _numbered(kinds: dict[str, tuple[str, str]], *endings: str) -> dict:
    """The same answer for `Conv1d`, `Conv2d`, `Conv3d` and so on."""
    return {f"{kind}{end}": to for kind, to in kinds.items() for end in endings}


_RANKS = ("1d", "2d", "3d", "1D", "2D", "3D")
_LAYERS = {
    **_activations(),
    **_numbered(
        {
            "Conv": ("nn.Conv(32, kernel=3)", f"{_IN}; {_RANK}"),
            "ConvTranspose": ("nn.ConvTranspose(32, kernel=2)", f"{_IN}; {_RANK}"),
            "SeparableConv": ("nn.SeparableConv(32, kernel=3)", _IN),
            "MaxPool": ("nn.MaxPool(2)", _RANK),
            "MaxPooling": ("nn.MaxPool(2)", _RANK),
            "AvgPool": ("nn.AvgPool(2)", _RANK),
            "AveragePooling": ("nn.AvgPool(2)", _RANK),
            "AdaptiveAvgPool": ("nn.AdaptiveAvgPool(7)", "for one bin, GlobalAvgPool"),
            "AdaptiveMaxPool": ("nn.AdaptiveMaxPool(7)", "for one bin, GlobalMaxPool"),
            "GlobalAveragePooling": ("nn.GlobalAvgPool()", ""),
            "GlobalMaxPooling": ("nn.GlobalMaxPool()", ""),
            "BatchNorm": ("nn.BatchNorm()", _IN),
            "InstanceNorm": ("nn.InstanceNorm()", _IN),
            "Dropout": ("nn.SpatialDropout(0.2)", ""),
            "SpatialDropout": ("nn.SpatialDropout(0.2)", ""),
            "UpSampling": ("nn.Upsample(2)", ""),
            "ZeroPad": ("nn.Pad(1)", ""),
            "ZeroPadding": ("nn.Pad(1)", ""),
            "ConstantPad": ("nn.Pad(1, value=0.5)", ""),
            "ReflectionPad": ("nn.Pad(1, mode='reflect')", ""),
            "ReplicationPad": ("nn.Pad(1, mode='replicate')", ""),
            "CircularPad": ("nn.Pad(1, mode='circular')", ""),
            "MaxUnpool": ("nn.MaxUnpool(2)", "of what nn.MaxPoolIndices(2) gives"),
        },
        *_RANKS,
    ),
    "Conv1DTranspose": ("nn.ConvTranspose(32, kernel=(2,))", _IN),
    "Conv2DTranspose": ("nn.ConvTranspose(32, kernel=2)", _IN),
    "DepthwiseConv2D": ("nn.Conv(8, kernel=3, groups=8)", "for 8 channels"),
    "Linear": ("nn.Dense(10)", _IN),
    "LazyLinear": ("nn.Dense(10)", _IN),
    "DenseGeneral": ("nn.Dense(10)", "it works on the last axis"),
    "TimeDistributed": ("nn.Dense(10)", "layers work on each step already"),
    "BatchNormalization": ("nn.BatchNorm()", ""),
    "LayerNormalization": ("nn.LayerNorm()", ""),
    "GroupNormalization": ("nn.GroupNorm(groups=8)", ""),
    "UnitNormalization": ("nn.RMSNorm()", ""),
    "Embedding": ("nn.Embed(1000, 64)", ""),
    "LSTM": ("nn.lstm(64)", "inputs are [N, T, C], or (x, lengths)"),
    "GRU": ("nn.gru(64)", "inputs are [N, T, C], or (x, lengths)"),
    "RNN": ("nn.rnn(64)", "inputs are [N, T, C], or (x, lengths)"),
    "SimpleRNN": ("nn.rnn(64)", "inputs are [N, T, C], or (x, lengths)"),
    "MultiheadAttention": ("nn.MultiHeadAttention(heads=4)", ""),
    "MultiHeadDotProductAttention": ("nn.MultiHeadAttention(heads=4)", ""),
    "Transformer": ("nn.TransformerEncoder(2, heads=4)", ""),
    "TransformerEncoderLayer": ("nn.EncoderBlock(nn.MultiHeadAttention(4))", ""),
    "TransformerDecoderLayer": ("nn.DecoderBlock", "several: nn.TransformerDecoder"),
    "Module": ("nn.Composite", "declare children in the class, write forward(run, x)"),
    "Model": ("nn.Composite", "declare children in the class, write forward(run, x)"),
    "ModuleList": (
        "",
        "write a field that is a tuple, `blocks: tuple`, and run('blocks/0', x)",
    ),
    "ModuleDict": (
        "",
        "write a field that is a dict, `heads: dict`, and run('heads/age', x)",
    ),
    "ParameterList": ("", "a field that is a tuple of nn.Parameter(shape)"),
    "Variable": ("nn.Parameter((3,))", ""),
    "Activation": ("jax.nn.relu", _PLAIN),
    "Lambda": ("nn.Function(jax.numpy.square)", _PLAIN),
    "Add": ("nn.Residual(nn.Dense(8))", "of other branches: nn.Sum(a, b)"),
    "Concatenate": (
        "jax.numpy.concatenate",
        "of branches on one input: nn.Concat(a, b)",
    ),
    "Input": ("", "leave it out; `init(key, x)` and `fit` see the shapes"),
    "InputLayer": ("", "leave it out; `init(key, x)` and `fit` see the shapes"),
    "Unflatten": ("nn.Reshape((8, 8, 1))", ""),
    "Rescaling": ("", "divide the data: images / 255"),
    "functional": ("jax.nn", ""),
    "init": ("nn.initializers", ""),
    "optim": ("optax", _OPTAX),
    "utils": ("", "see dir(nn)"),
    "no_grad": ("", "leave it out; nothing is recorded outside jax.grad"),
    "one_hot": ("nn.data.one_hot", "of a traced array: jax.nn.one_hot"),
    "max_pool": ("nn.MaxPool(2)", ""),
    "avg_pool": ("nn.AvgPool(2)", ""),
    "scan": ("nn.Repeat(nn.Dense(8), 3)", "over time: nn.Recurrent(cell)"),
    "remat": ("nn.Remat(nn.Dense(8))", ""),
    "checkpoint": ("nn.Remat(nn.Dense(8))", "of a training run: nn.callbacks"),
    "compile": ("nn.fit", "it takes the loss and the optimizer"),
    "Trainer": ("nn.fit", ""),
    "DataLoader": ("", "give `fit` arrays and batch_size=, or any iterable of batches"),
    "ModelCheckpoint": ("nn.callbacks.checkpoint('run.safetensors')", ""),
    "ReduceLROnPlateau": ("nn.Plateau(monitor='val_loss')", ""),
    "to_categorical": ("nn.data.one_hot", ""),
    "KFold": ("nn.cross_validate", ""),
    "k_fold": ("nn.cross_validate", ""),
    "lr_find": ("nn.find_learning_rate", ""),
    "LRFinder": ("nn.find_learning_rate", ""),
    "GridSearchCV": ("nn.sweep", ""),
    "cross_val_score": ("nn.cross_validate", ""),
    "load_state_dict": ("nn.io.from_torch", "for files of jaxnn, nn.load"),
    "from_torch": ("nn.io.from_torch", ""),
    "load_torch": ("nn.io.from_torch", ""),
    "load_model": ("nn.load", "nn.io.network gives the network"),
    "random_split": ("nn.data.split", ""),
    "train_test_split": ("nn.data.split", ""),
    "TensorDataset": ("", "give `fit` the arrays, (x, y), and batch_size="),
    "manual_seed": ("jax.random.key(0)", "given to `fit` and `init` as key"),
    "set_random_seed": ("jax.random.key(0)", "given to `fit` and `init` as key"),
    "Tensor": ("jax.numpy.asarray", ""),
    "tensor": ("jax.numpy.asarray", ""),
    "F": ("jax.nn", ""),
    "cuda": ("", "arrays have a device; see jax.devices()"),
    "device": ("", "arrays have a device; see jax.devices()"),
    "StepLR": ("nn.schedules.step_decay", "given as learning rate"),
    "CosineAnnealingLR": ("optax.cosine_decay_schedule", "given as learning rate"),
    "pack_padded_sequence": ("nn.data.pad", "layers take (x, lengths)"),
    "PackedSequence": ("nn.data.pad", "layers take (x, lengths)"),
    "cross_entropy": ("nn.losses.softmax_cross_entropy", "on logits"),
    "concatenate": ("jax.numpy.concatenate", "of branches on one input: nn.Concat"),
}
_MSE = ("nn.losses.mean_squared_error", _PER_EXAMPLE)
_MAE = ("nn.losses.mean_absolute_error", _PER_EXAMPLE)
_SOFTMAX = ("nn.losses.softmax_cross_entropy", f"on logits; {_PER_EXAMPLE}")
_SIGMOID = ("nn.losses.sigmoid_cross_entropy", f"on logits; {_PER_EXAMPLE}")
_BINARY = ("nn.losses.binary_cross_entropy", "on probabilities")
_HUBER = ("nn.losses.huber", _PER_EXAMPLE)
_LOSSES = {
    **dict.fromkeys(("mse", "mse_loss", "MSELoss", "MSE", "l2_loss"), _MSE),
    **dict.fromkeys(("MeanSquaredError", "squared_error"), _MSE),
    **dict.fromkeys(("mae", "l1_loss", "L1Loss", "MAE", "MeanAbsoluteError"), _MAE),
    **dict.fromkeys(("CrossEntropyLoss", "crossentropy"), _SOFTMAX),
    "categorical_crossentropy": _SOFTMAX,
    "sparse_categorical_crossentropy": _SOFTMAX,
    "CategoricalCrossentropy": _SOFTMAX,
    "SparseCategoricalCrossentropy": _SOFTMAX,
    "softmax_cross_entropy_with_integer_labels": _SOFTMAX,
    "BCEWithLogitsLoss": _SIGMOID,
    "binary_cross_entropy_with_logits": _SIGMOID,
    "sigmoid_binary_cross_entropy": _SIGMOID,
    **dict.fromkeys(("bce", "BCELoss", "binary_crossentropy"), _BINARY),
    "BinaryCrossentropy": _BINARY,
    "NLLLoss": ("nn.losses.negative_log_likelihood", "on log probabilities"),
    "nll_loss": ("nn.losses.negative_log_likelihood", "on log probabilities"),
    "KLDivLoss": ("nn.losses.kl_divergence", ""),
    "kl_div": ("nn.losses.kl_divergence", ""),
    "CTCLoss": ("nn.losses.ctc", ""),
    "ctc_loss": ("nn.losses.ctc", ""),
    "huber_loss": _HUBER,
    "HuberLoss": _HUBER,
    "SmoothL1Loss": _HUBER,
    "smooth_l1_loss": _HUBER,
    "Huber": _HUBER,
    "hinge_loss": ("nn.losses.hinge", ""),
    "MultiMarginLoss": ("nn.losses.multi_margin", ""),
    "GaussianNLLLoss": ("nn.losses.gaussian_negative_log_likelihood", ""),
    "PoissonNLLLoss": ("nn.losses.poisson_negative_log_likelihood", ""),
    "CosineEmbeddingLoss": ("nn.losses.cosine_embedding", ""),
    "CosineSimilarity": ("nn.losses.cosine_distance", "1 - the cosine"),
    "TripletMarginLoss": ("nn.losses.triplet_margin", ""),
    "HingeEmbeddingLoss": ("nn.losses.hinge", ""),
}
_METRICS = {
    "acc": ("nn.metrics.accuracy", ""),
    "Accuracy": ("nn.metrics.accuracy", ""),
    "CategoricalAccuracy": ("nn.metrics.accuracy", ""),
    "SparseCategoricalAccuracy": ("nn.metrics.accuracy", ""),
    "BinaryAccuracy": ("nn.metrics.binary_accuracy", ""),
    "TopKCategoricalAccuracy": (
        "functools.partial(nn.metrics.top_k_accuracy, k=3)",
        "",
    ),
    "SparseTopKCategoricalAccuracy": (
        "functools.partial(nn.metrics.top_k_accuracy, k=3)",
        "",
    ),
    "top_k": ("nn.metrics.top_k_accuracy", ""),
    "f1": ("nn.metrics.F1(10)", "with the number of classes"),
    "f1_score": ("nn.metrics.F1(10)", "with the number of classes"),
    "F1Score": ("nn.metrics.F1(10)", "with the number of classes"),
    "precision": ("nn.metrics.Precision(10)", "with the number of classes"),
    "recall": ("nn.metrics.Recall(10)", "with the number of classes"),
    "AUC": ("nn.metrics.RocAuc()", ""),
    "auc": ("nn.metrics.RocAuc()", ""),
    "AUROC": ("nn.metrics.RocAuc()", ""),
    "FID": ("nn.metrics.frechet_distance", "of the features of all samples"),
    "FrechetInceptionDistance": (
        "nn.metrics.frechet_distance",
        "of the features of all samples",
    ),
    "InceptionScore": (
        "nn.metrics.inception_score",
        "of the probabilities of all samples",
    ),
    "confusion_matrix": ("nn.metrics.ConfusionMatrix(10)", "drawn by nn.pictures"),
    "mse": ("nn.metrics.mean_squared_error", ""),
    "mae": ("nn.metrics.mean_absolute_error", ""),
    "rmse": ("nn.metrics.RootMeanSquaredError()", ""),
    "r2_score": ("nn.metrics.R2()", ""),
}
_OPTIMIZERS = {
    "Adam": ("optax.adam(1e-3)", _OPTAX),
    "adam": ("optax.adam(1e-3)", _OPTAX),
    "AdamW": ("optax.adamw(1e-3)", _OPTAX),
    "adamw": ("optax.adamw(1e-3)", _OPTAX),
    "SGD": ("optax.sgd(0.1, momentum=0.9)", _OPTAX),
    "sgd": ("optax.sgd(0.1, momentum=0.9)", _OPTAX),
    "RMSprop": ("optax.rmsprop(1e-3)", _OPTAX),
    "rmsprop": ("optax.rmsprop(1e-3)", _OPTAX),
    "Adagrad": ("optax.adagrad(0.1)", _OPTAX),
    "adagrad": ("optax.adagrad(0.1)", _OPTAX),
    "Adadelta": ("optax.adadelta(1.0)", _OPTAX),
    "NAdam": ("optax.nadam(1e-3)", _OPTAX),
    "Nadam": ("optax.nadam(1e-3)", _OPTAX),
    "RAdam": ("optax.radam(1e-3)", _OPTAX),
    "LBFGS": ("optax.lbfgs()", _OPTAX),
    "Lion": ("optax.lion(1e-4)", _OPTAX),
    "clip_grad_norm_": ("optax.clip_by_global_norm(1.0)", "in an optax.chain"),
    "clip": ("optax.clip_by_global_norm(1.0)", "in an optax.chain"),
    "clip_by_global_norm": ("optax.clip_by_global_norm(1.0)", "in an optax.chain"),
    "lr_scheduler": ("nn.schedules", "or optax.schedules; pass one as learning rate"),
}
_COSINE = ("optax.cosine_decay_schedule(1e-3, 1000)", "rate and steps")
_WARMUP = (
    "optax.warmup_cosine_decay_schedule(0.0, 1e-3, 100, 1000)",
    "first and highest rate, steps of warmup and of all",
)
_EXPONENTIAL = ("optax.exponential_decay(1e-3, 1000, 0.9)", "rate, steps, factor")
_SCHEDULES = {
    **dict.fromkeys(("cosine", "cosine_decay", "CosineDecay"), _COSINE),
    "cosine_annealing": _COSINE,
    "CosineAnnealingLR": _COSINE,
    **dict.fromkeys(("warmup_cosine", "warmup_cosine_decay"), _WARMUP),
    **dict.fromkeys(("exponential", "exponential_decay"), _EXPONENTIAL),
    **dict.fromkeys(("ExponentialDecay", "ExponentialLR"), _EXPONENTIAL),
    "StepLR": ("nn.schedules.step_decay(0.1, 0.5, 1000)", "rate, factor, steps"),
    "MultiStepLR": (
        "optax.piecewise_constant_schedule(0.1, {1000: 0.1, 2000: 0.1})",
        "rate, factor at each step",
    ),
    "PiecewiseConstantDecay": (
        "optax.piecewise_constant_schedule(0.1, {1000: 0.1, 2000: 0.1})",
        "rate, factor at each step",
    ),
    "PolynomialDecay": ("optax.polynomial_schedule(0.1, 0.0, 1, 1000)", ""),
    "LinearLR": ("optax.linear_schedule(0.0, 0.1, 1000)", ""),
    "linear": ("optax.linear_schedule(0.0, 0.1, 1000)", ""),
    "constant": ("optax.constant_schedule(0.1)", "or the number itself"),
    "OneCycleLR": ("optax.cosine_onecycle_schedule(1000, 0.1)", "steps, highest rate"),
    "one_cycle": ("optax.cosine_onecycle_schedule(1000, 0.1)", "steps, highest rate"),
    "ReduceLROnPlateau": ("nn.Plateau(monitor='val_loss')", "fit(plateau=)"),
}
_DATA = {
    "DataLoader": _LAYERS["DataLoader"],
    "Dataset": _LAYERS["DataLoader"],
    "TensorDataset": _LAYERS["DataLoader"],
    "MNIST": ("nn.data.mnist", ""),
    "FashionMNIST": ("nn.data.fashion_mnist", ""),
    "CIFAR10": ("nn.data.cifar10", ""),
    "train_test_split": ("nn.data.split", ""),
    "random_split": ("nn.data.split", ""),
    "to_categorical": ("nn.data.one_hot", ""),
    "pad_sequences": ("nn.data.pad", ""),
    "pad_sequence": ("nn.data.pad", ""),
    "StandardScaler": ("nn.data.standardizer", ""),
    "MinMaxScaler": ("nn.data.standardizer", "mean 0, deviation 1"),
    "normalize": ("nn.data.standardize", ""),
    "timeseries_dataset_from_array": ("nn.data.windows", ""),
    "transforms": ("nn.data.augment", ""),
}
_CALLBACKS = {
    "ModelCheckpoint": _LAYERS["ModelCheckpoint"],
    "EarlyStopping": ("nn.EarlyStopping(monitor='val_loss')", "fit(early_stopping=)"),
    "ReduceLROnPlateau": (_LAYERS["ReduceLROnPlateau"][0], "fit(plateau=)"),
    "LearningRateScheduler": ("nn.schedules", "pass a schedule as learning rate"),
    "CSVLogger": ("nn.History.to_csv", "of the history that fit returns"),
    "TensorBoard": ("nn.callbacks.tensorboard", ""),
    "LambdaCallback": ("", "any function callback(epoch, state, history)"),
}
_INITIALIZERS = {
    "xavier_uniform": ("nn.initializers.glorot_uniform()", ""),
    "xavier_normal": ("nn.initializers.glorot_normal()", ""),
    "xavier_uniform_": ("nn.initializers.glorot_uniform()", ""),
    "xavier_normal_": ("nn.initializers.glorot_normal()", ""),
    "kaiming_uniform": ("nn.initializers.he_uniform()", ""),
    "kaiming_normal": ("nn.initializers.he_normal()", ""),
    "kaiming_uniform_": ("nn.initializers.he_uniform()", ""),
    "kaiming_normal_": ("nn.initializers.he_normal()", ""),
    "GlorotUniform": ("nn.initializers.glorot_uniform()", ""),
    "HeNormal": ("nn.initializers.he_normal()", ""),
    "RandomNormal": ("nn.initializers.normal(0.1)", ""),
    "RandomUniform": ("nn.initializers.uniform(0.1)", "on [0, scale)"),
    "zeros_": ("nn.initializers.zeros()", ""),
    "ones_": ("nn.initializers.ones()", ""),
}

#: By module, what to write for a name that it does not have.
NAMES: dict[str, dict[str, tuple[str, str]]] = {
    "jaxnn": {
        **_OPTIMIZERS,
        **_LOSSES,
        **_LAYERS,
        "dropout": ("nn.Dropout(0.5)", ""),  # nn.layers.dropout is a module
    },
    "jaxnn.layers": _LAYERS,
    "jaxnn.losses": _LOSSES,
    "jaxnn.metrics": _METRICS,
    "jaxnn.optimizers": _OPTIMIZERS,
    "jaxnn.schedules": _SCHEDULES,
    "jaxnn.data": _DATA,
    "jaxnn.train.callbacks": _CALLBACKS,
    "jaxnn.initializers": _INITIALIZERS,
}
