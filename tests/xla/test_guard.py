"""Sums that XLA's CPU compiler gets wrong come out right, in processes of their own."""

import os
import subprocess
import sys
import textwrap

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from catalogue import CATALOGUE, example

import jaxnn as nn
from jaxnn.train.programs import Program
from jaxnn.xla import guard

KNOWN = guard.FIRST <= guard.jaxlib_version() <= guard.LAST
known = pytest.mark.skipif(not KNOWN, reason="this jaxlib is not known to be wrong")

TRY = "print(guard.wrong_patterns())"
IMPORT = "from jaxnn.xla import guard"
OPEN = "import jax; jax.numpy.ones(1)"


def run(*lines, **environment):
    """What a fresh process prints, without the flag of this one; and its warnings."""
    clean = {k: v for k, v in os.environ.items() if k not in ("XLA_FLAGS",)}
    clean |= {"JAX_ENABLE_COMPILATION_CACHE": "false"}
    made = subprocess.run(
        [sys.executable, "-c", textwrap.dedent("\n".join(lines))],
        env={**clean, **environment},
        capture_output=True,
        text=True,
        check=False,
    )
    assert made.returncode == 0, made.stderr
    return made.stdout.strip(), made.stderr


@pytest.mark.quick
def test_a_users_own_jit_is_right_after_import():
    said, warned = run(IMPORT, TRY)
    assert (said, warned) == ("[]", "")


@known
@pytest.mark.quick
def test_without_the_guard_the_patterns_are_wrong():
    said, warned = run(IMPORT, TRY, JAXNN_XLA_GUARD="0")
    assert guard.PATTERNS[0].name in said
    assert warned == ""


@known
def test_too_late_is_said_once_with_the_line_that_mends_it():
    said, warned = run(OPEN, IMPORT, "import jaxnn", TRY)
    assert said != "[]"
    assert warned.count("RuntimeWarning") == 1
    assert f"XLA_FLAGS={guard.FLAG}" in warned
    said, warned = run(OPEN, IMPORT, TRY, XLA_FLAGS=guard.FLAG)
    assert (said, warned) == ("[]", "")
    assert run(OPEN, IMPORT, JAXNN_XLA_GUARD="0")[1] == ""


FIT = """
import jax, numpy as np, optax, jaxnn as nn
x = np.linspace(-1, 1, 64 * 64, dtype=np.float32).reshape(64, 64)
def loss(y, t):  # a sum over a product with a constant, inside fit's own program
    return ((y @ jax.numpy.full((64, 64), 0.5)) * y).sum(1)
data = (x, x)
options = dict(optimizer=optax.sgd(0.0), batch_size=64, key=jax.random.key(0))
options |= dict(epochs=1, progress=False)
state, history = nn.fit(nn.Identity(), data, loss=loss, **options)
found = nn.evaluate(nn.Identity(), state, data, loss=loss, batch_size=64)
want = (0.5 * x.astype(np.float64).sum(1) ** 2).mean()
print([round(float(v / want), 3) for v in (history["loss"][0], found["loss"])])
"""


@known
@pytest.mark.parametrize("before", ["", OPEN], ids=["in time", "too late"])
def test_the_programs_of_fit_and_evaluate_are_right_even_where_it_is_too_late(before):
    assert run(before, FIT)[0] == "[1.0, 1.0]"


@known
def test_a_flag_that_was_lost_is_said():
    other = "--xla_force_host_platform_device_count=2"
    lose = f"import os; os.environ['XLA_FLAGS'] = '{other}'"
    said, warned = run(IMPORT, lose, FIT)
    assert said == "[1.0, 1.0]"
    assert "has lost the flag" in warned


def test_a_flag_of_the_users_own_is_kept():
    own = f"--{guard.OPTION}=individual_dot"
    show = "import os; print(os.environ.get('XLA_FLAGS'))"
    assert run(IMPORT, show, XLA_FLAGS=own)[0] == own
    other = "--xla_force_host_platform_device_count=2"
    flags = f"{other} {guard.FLAG}" if KNOWN else other
    assert run(IMPORT, show, XLA_FLAGS=other)[0] == flags


def test_only_concerned_versions_get_the_flag(monkeypatch):
    def flags(version):
        monkeypatch.setenv("XLA_FLAGS", "")
        monkeypatch.setattr(guard, "_warn", lambda what: None)
        monkeypatch.setattr("jaxlib.version.__version__", version)
        monkeypatch.setattr("jax._src.xla_bridge.backends_are_initialized", bool)
        guard.protect()
        return os.environ["XLA_FLAGS"]

    for version in ("0.10.2", "0.11.0", "0.11.2", "0.12.0", "0.12.0.1"):
        assert flags(version) == guard.FLAG
    for version in ("0.8.0", "0.10.1", "0.12.1", "0.13.0"):
        assert flags(version) == ""


@known
def test_a_newer_version_is_tried_and_a_fault_is_said():
    pretend = "import jax, jaxlib; jaxlib.version.__version__ = '0.99.0'"
    said, warned = run(pretend, IMPORT, FIT)
    assert said == "[1.0, 1.0]"
    assert "newer than this jaxnn knows" in warned
    assert guard.PATTERNS[0].name in warned


@known
@pytest.mark.parametrize("pattern", guard.PATTERNS, ids=lambda p: p.name)
def test_a_wrong_fusion_is_seen_in_the_compiled_text_and_left_out(pattern):
    x = np.linspace(-1, 2, np.prod(pattern.shape), dtype=np.float32)
    x = x.reshape(pattern.shape)
    lowered = jax.jit(pattern.program).lower(x)
    assert guard.is_wrong(lowered.compile(guard.FAST).as_text())
    assert not guard.is_wrong(lowered.compile(guard.SAFE).as_text())
    got = Program(pattern.program)(x)
    np.testing.assert_allclose(
        got, pattern.value(x.astype(float)), rtol=1e-3, atol=1e-3
    )


@pytest.mark.quick
def test_a_product_of_seven_axes_does_not_end_the_process():
    product = """
    import numpy as np
    from jaxnn.train.programs import Program
    x, z = np.ones((4, 4, 2, 4, 4, 4, 4)), np.ones((1, 4, 2, 4, 4, 4, 4))
    given = x.astype(np.float32), z.astype(np.float32)
    program = lambda x, z: (x * z).sum(2)
    print(np.unique(Program(program)(*given)), np.unique(jax.jit(program)(*given)))
    """
    assert run("import jax, jaxnn", textwrap.dedent(product))[0] == "[2.] [2.]"


@known
def test_right_fusions_stay():
    """The fast reductions of a training step are not taken away."""
    x = jnp.ones((256, 256))
    program = Program(lambda x: jnp.square(x).sum(1))
    assert "__ynn_fusion" in program.prepare(x).call.lower(x).compile().as_text()
    assert "__ynn_fusion" not in jax.jit(program.function).lower(x).compile().as_text()


def _wide(tree):
    """Arrays in float64, where they are floating."""
    return jax.tree.map(
        lambda a: a.astype(jnp.float64) if a.dtype == jnp.float32 else a, tree
    )


def _fast_is_right(function, *args):
    """XLA's fast reductions come as near to float64 as its plain ones."""
    lowered = jax.jit(function).lower(*args)
    fast = lowered.compile(guard.FAST)
    if guard.is_wrong(fast.as_text()):
        return  # `Program` leaves it out, as tested above
    found = fast(*args), lowered.compile(guard.SAFE)(*args)
    with jax.enable_x64(True):
        exact = jax.jit(function, compiler_options=guard.SAFE)(*_wide(args))
    for got, plain, want in zip(*map(jax.tree.leaves, (*found, exact)), strict=True):
        if jnp.issubdtype(got.dtype, jnp.floating):
            got, plain, want = (np.asarray(a, float) for a in (got, plain, want))
            scale = np.abs(want).max(initial=0)
            error = np.abs(got - want).max(initial=0)
            assert error <= 10 * np.abs(plain - want).max(initial=0) + 5e-4 * scale


@known
@pytest.mark.slow
@pytest.mark.parametrize("rows", [1, 300])
@pytest.mark.parametrize("entry", CATALOGUE, ids=lambda e: e.name)
def test_layers_and_their_gradients_are_right_at_sizes_where_fusions_begin(entry, rows):
    x = jnp.resize(example(entry), (rows, *entry.shape[1:]))
    params, state = entry.layer.init(jax.random.key(0), x)

    def total(params, x, state):
        y, _ = entry.layer.apply(
            params, state, x, key=jax.random.key(1), train=rows > 1
        )
        parts = [a for a in jax.tree.leaves(y) if jnp.issubdtype(a.dtype, jnp.floating)]
        return sum((a * jnp.full_like(a, 0.5) * a).sum() for a in parts)

    _fast_is_right(jax.value_and_grad(total, argnums=(0, 1)), params, x, state)


CLASSES = jnp.arange(300) % 128
WIDE = {
    "dense": nn.Sequential(nn.Dense(128), jax.nn.relu, nn.Dense(128)),
    "norms": nn.Sequential(
        nn.Dense(128), nn.LayerNorm(), nn.BatchNorm(), nn.Dense(128)
    ),
    "convolutions": nn.Sequential(
        *(nn.Reshape((8, 8, 2)), nn.Conv(32, 3), nn.GroupNorm(4), jax.nn.relu),
        *(nn.AvgPool(2), nn.Conv(64, 3), nn.MaxPool(3, stride=2), nn.Flatten()),
        nn.Dense(128),
    ),
    "lstm": nn.Sequential(
        nn.Reshape((8, 16)), nn.lstm(64), nn.Flatten(), nn.Dense(128)
    ),
    "attention": nn.Sequential(
        *(
            nn.Reshape((8, 16)),
            nn.TransformerEncoder(1, 4),
            nn.Flatten(),
            nn.Dense(128),
        ),
    ),
}
OPTIMIZERS = {
    "adam": optax.adam(1e-3),
    "lamb": optax.lamb(1e-3),
    "adafactor": optax.adafactor(1e-3),
    "muon": optax.contrib.muon(1e-3),
    "clipped": optax.chain(optax.clip_by_global_norm(1.0), optax.sgd(0.1, 0.9)),
}
LOSSES = {
    "softmax_cross_entropy": (nn.losses.softmax_cross_entropy, CLASSES),
    "mean_squared_error": (nn.losses.mean_squared_error, jnp.full((300, 128), 0.5)),
    "huber": (nn.losses.huber, jnp.full((300, 128), 0.5)),
    "sigmoid_cross_entropy": (nn.losses.sigmoid_cross_entropy, jnp.ones((300, 128))),
}
STEPS = [(net, "adam", "softmax_cross_entropy") for net in WIDE]
STEPS += [("dense", optimizer, "mean_squared_error") for optimizer in OPTIMIZERS]
STEPS += [("dense", "clipped", loss) for loss in LOSSES]


@known
@pytest.mark.slow
@pytest.mark.parametrize(("net", "optimizer", "loss"), STEPS)
def test_a_step_of_training_is_right_at_sizes_where_fusions_begin(net, optimizer, loss):
    x = jnp.linspace(-1, 1, 300 * 128).reshape(300, 128)
    loss, targets = LOSSES[loss]
    step = nn.train_step(WIDE[net], loss, OPTIMIZERS[optimizer])
    state = nn.train_state(WIDE[net], OPTIMIZERS[optimizer], x, key=jax.random.key(0))
    state = state._replace(key=jax.random.key_data(state.key))

    def descend(state, batch):
        key = jax.random.wrap_key_data(state.key)
        state, logs = step(state._replace(key=key), batch)
        return state._replace(key=()), logs

    _fast_is_right(descend, state, (x, targets))


@pytest.mark.parametrize(
    ("version", "environment", "said"),
    [
        ((0, 11), {"XLA_FLAGS": guard.FLAG}, f"on: {guard.FLAG}"),
        ((0, 11), {"XLA_FLAGS": ""}, "too late: the flag is not in XLA_FLAGS"),
        ((0, 11), {"JAXNN_XLA_GUARD": "0"}, "off: JAXNN_XLA_GUARD=0"),
        ((0, 11), {"XLA_FLAGS": f"--{guard.OPTION}=-all"}, "off: XLA_FLAGS sets"),
        ((0, 8, 0), {"XLA_FLAGS": ""}, "not needed for this jaxlib"),
        ((9, 0, 0), {"XLA_FLAGS": ""}, "tries this newer jaxlib before the first"),
    ],
)
def test_what_the_guard_does_is_said(version, environment, said, monkeypatch):
    monkeypatch.setattr(guard, "jaxlib_version", lambda: version)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert guard.said().startswith(said)
