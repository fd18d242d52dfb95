# SPDX-License-Identifier: Apache-2.0
"""Arguments and methods from Keras, PyTorch and Flax, and what to write for them here.

`ARGUMENTS` answers an argument that a layer or a function does not take; of several
answers, between bars, the first counts whose argument is taken. `METHODS` answers an
attribute that a layer does not have, `SCALERS` one of `nn.data.Standardizer`.
"""

#: What to write for an argument that a layer does not take.
ARGUMENTS = {
    **dict.fromkeys(
        ("in_features", "in_channels", "input_size", "input_dim", "input_shape", "C"),
        "leave it out; the size of the input is found by init",
    ),
    **dict.fromkeys(
        ("out_features", "out_channels", "units", "filters", "hidden_size", "d_model"),
        "write features",
    ),
    **dict.fromkeys(
        ("num_features", "num_channels", "normalized_shape"),
        "leave it out; the number of channels is found by init",
    ),
    "activation": "write it as the next layer: nn.Sequential(..., jax.nn.relu)",
    "kernel_size": "write kernel",
    "pool_size": "write kernel",
    "strides": "write stride",
    "dilation_rate": "write dilation",
    "feature_group_count": "write groups",
    "num_groups": "write groups",
    "use_bias": "write bias",
    "kernel_init": "write w_init",
    "kernel_initializer": "write w_init",
    "bias_init": "write b_init",
    "bias_initializer": "write b_init",
    "kernel_regularizer": "add it to the optimizer: nn.optimizers.l2(optimizer, 1e-4)",
    "p": "write rate",
    "epsilon": "write eps",
    "num_heads": "write heads",
    "nhead": "write heads",
    "num_embeddings": "write vocabulary",
    "embedding_dim": "write features",
    "num_layers": "write layers",
    "batch_first": "leave it out; inputs are always [N, T, C]",
    "return_sequences": "leave it out; for the last step alone add nn.LastStep()",
    "return_state": "leave it out; nn.stateful keeps it from call to call",
    "padding_idx": "leave it out; pass (ids, lengths) and padding does not count",
    "mask_zero": "leave it out; pass (ids, lengths) and padding does not count",
    "data_format": "leave it out; channels are always last",
    "training": "write train",
    "is_training": "write train",
    "deterministic": "leave it out; without train=True apply evaluates",
    "mutable": "leave it out; apply returns the new state",
    "rngs": "leave it out; init and apply take a key",
    "name": "name it in its network: nn.Sequential(head=nn.Dense(10))",
    "dtype": "leave it out; parameters have the dtype of the input",
    "param_dtype": "leave it out; parameters have the dtype of the input",
    "device": "leave it out; arrays decide, by jax.device_put",
    "inplace": "leave it out; nothing is modified in place",
    "validation_data": "write validation",
    "validation_split": "nn.data.split makes two sets; give one as validation",
    "verbose": "write progress",
    "lr": "the optimizer has it: optax.adam(1e-3)",
    "learning_rate": "the optimizer has it: optax.adam(1e-3)",
    "criterion": "write loss",
    "loss_fn": "write loss",
    "num_epochs": "write epochs",
    "class_weights": "write class_weight",
    "loss_weights": "write pairs (scale, loss): loss={'digit': f, 'angle': (0.1, g)}",
    "num_classes": "write classes",
    "n_classes": "write classes",
    "reduction": "leave it out; a loss gives one value per example, `fit` averages",
    "from_logits": "leave it out; cross_entropy and binary_cross_entropy take "
    "probabilities, the others logits",
    "cv": "write folds",
    "params": "start from them by state=nn.train_state(net, optimizer, x, params=...)",
    "accumulate": "write optimizer=optax.MultiSteps(optimizer, k)",
    "accumulation_steps": "write optimizer=optax.MultiSteps(optimizer, k)",
    "restore_best_weights": "leave it out; the state that fit returns has the best",
    "seed": "write key=jax.random.key(0)",
    "random_state": "write seed | write key=jax.random.key(0)",
    "test_size": "write fraction",
    "train_size": "write fraction, that of the second part",
    "window": "write length",
    "window_size": "write length",
    "sequence_length": "write length",
    "target": "write horizon",
    "maxlen": "write length",
    "max_len": "write length",
    "strict": "leave it out; of a part of the file, load it whole and take that",
    "skip": "of PyTorch's weights: nn.io.from_torch(net, x, path, skip=...)",
    "pretrained": "leave it out; nn.io.from_torch(net, x, path) converts weights",
    "trainable": "write nn.Frozen(layer)",
}

_NO_WEIGHTS = "it holds no weights: params, state = net.init(key, x)"
_FIT = "write nn.fit(net, (x, y), loss=..., optimizer=..., epochs=..., ...)"

#: What to write for an attribute or a method that layers do not have.
METHODS = {
    "compile": _FIT,
    "fit": _FIT,
    "evaluate": "write nn.evaluate(net, state, (x, y), loss=...)",
    "predict": "write nn.predict(net, state, x)",
    "summary": "write nn.summary(net, x)",
    "save": "write nn.save(path, state, spec=net)",
    "save_weights": "write nn.save(path, state, spec=net)",
    "load_weights": "write nn.load(path)",
    "load_state_dict": "write nn.io.from_torch(net, x, state_dict)",
    "add": "give all layers at once: nn.Sequential(*net, layer)",
    "append": "give all layers at once: nn.Sequential(*net, layer)",
    "train": "write net.apply(params, state, x, key=key, train=True)",
    "eval": "write net.apply(params, state, x), which is evaluation",
    "to": "arrays have a device: jax.device_put(params, device)",
    "cuda": "arrays have a device: jax.device_put(params, device)",
    "cpu": "arrays have a device: jax.device_put(params, device)",
    "requires_grad_": "write nn.Frozen(layer)",
    "zero_grad": "leave it out; jax.grad returns new gradients",
    **dict.fromkeys(("parameters", "state_dict", "weights", "weight"), _NO_WEIGHTS),
    **dict.fromkeys(("trainable_variables", "get_weights", "bias"), _NO_WEIGHTS),
    **dict.fromkeys(
        ("w", "b", "kernel"),
        f"{_NO_WEIGHTS}; in the forward of the network, run.params['name']['w']",
    ),
    "named_parameters": f"{_NO_WEIGHTS}, nn.trees.paths(params)",
}

#: What to write for a method that scalers of scikit-learn have.
SCALERS = {
    "fit": "write scaler = nn.data.standardizer(x)",
    "fit_transform": "write scaler = nn.data.standardizer(x), then scaler(x)",
    "transform": "write scaler(x)",
    "inverse_transform": "write scaler.inverse(z)",
}
