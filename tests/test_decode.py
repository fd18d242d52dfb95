"""Decoding: greedy, sampling, beams, against the network applied to whole texts."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxnn as nn

PROMPT = jnp.array([[1, 2, 3], [4, 3, 1]])
V = 5


def transformer(**options):
    return nn.Sequential(
        nn.Embed(V, 6),
        nn.LearnedPositions(12),
        nn.TransformerEncoder(2, 2, hidden=8, causal=True, **options),
        nn.Dense(V),
    )


TRANSFORMER = transformer()
NETS = {
    "transformer": TRANSFORMER,
    "repeated": transformer(repeat=True),
    "lstm": nn.Sequential(nn.Embed(V, 6), nn.lstm(6), nn.Dense(V)),
}


def made(net, scale=6.0):
    """Parameters whose logits differ enough to make texts of several ids."""
    params, state = net.init(jax.random.key(3), PROMPT)
    head = params["dense_1"]
    params["dense_1"] = {**head, "w": scale * head["w"]}
    return params, state


VARIABLES = {name: made(net) for name, net in NETS.items()}
each_net = pytest.mark.parametrize("name", NETS)


def uncached(net, variables, prompt, tokens):
    """The whole text anew for each token."""
    apply, text = jax.jit(net.apply), np.asarray(prompt)
    for _ in range(tokens):
        padded = np.zeros((len(text), prompt.shape[1] + tokens), np.int32)
        padded[:, : text.shape[1]] = text
        logits = apply(*variables, padded)[0][:, text.shape[1] - 1]
        text = np.concatenate([text, np.asarray(logits).argmax(-1)[:, None]], 1)
    return text[:, prompt.shape[1] :]


@each_net
def test_greedy_is_the_uncached_text_and_beam_1_is_greedy(name):
    net, variables = NETS[name], VARIABLES[name]
    tokens = nn.decode.greedy(net, variables, PROMPT, 6)
    assert tokens.dtype == jnp.int32
    np.testing.assert_array_equal(tokens, uncached(net, variables, PROMPT, 6))
    assert len(set(tokens.ravel().tolist())) > 1
    for penalty in (0.0, 1.0):
        kept, _ = nn.decode.beam(
            net, variables, PROMPT, 6, beams=1, length_penalty=penalty
        )
        np.testing.assert_array_equal(kept[:, 0], tokens)


@pytest.mark.slow
@each_net
def test_prompts_of_other_lengths_are_as_if_alone(name):
    net, variables = NETS[name], VARIABLES[name]
    prompt = PROMPT.at[1, 2].set(0)
    tokens = nn.decode.greedy(net, variables, prompt, 5, lengths=jnp.array([3, 2]))
    for row, length in enumerate((3, 2)):
        alone = nn.decode.greedy(net, variables, PROMPT[row : row + 1, :length], 5)
        np.testing.assert_array_equal(tokens[row], alone[0])


def test_behind_the_end_comes_only_the_end():
    variables = VARIABLES["transformer"]
    free = np.asarray(nn.decode.greedy(TRANSFORMER, variables, PROMPT, 6))
    end = int(free[0, 2])
    tokens = nn.decode.greedy(TRANSFORMER, variables, PROMPT, 6, end=end)
    kept, _ = nn.decode.beam(TRANSFORMER, variables, PROMPT, 6, beams=1, end=end)
    np.testing.assert_array_equal(kept[:, 0], tokens)
    for before, after in zip(free, np.asarray(tokens), strict=True):
        at = before.tolist().index(end) if end in before else 6
        np.testing.assert_array_equal(after, [*before[: at + 1], *[end] * (5 - at)])


class Counted(nn.Layer):
    """Counts how often it is traced and how often it runs."""

    def apply(self, params, state, x, *, key=None, train=False):
        TRACES.append(x.shape)
        jax.debug.callback(lambda: RUNS.append(1))
        return x, state


TRACES, RUNS = [], []


def test_one_call_a_token_and_one_program_for_all_prompts():
    net = nn.Sequential(nn.Embed(V, 6), Counted(), nn.lstm(6), nn.Dense(V))
    variables = made(net)
    for prompt in (PROMPT, PROMPT[::-1], PROMPT + 0):
        before = len(TRACES)
        RUNS.clear()
        written = np.asarray(nn.decode.greedy(net, variables, prompt, 7))
        jax.effects_barrier()
        assert len(RUNS) == 7  # the prompt at once, and the tokens but the last
    assert len(TRACES) == before  # the last two compiled nothing
    assert {shape[1] for shape in TRACES} == {3, 1}
    RUNS.clear()
    unwritten = min(set(range(V)) - set(written.ravel().tolist()))
    nn.decode.greedy(net, variables, prompt, 7, end=unwritten).block_until_ready()
    jax.effects_barrier()
    assert len(RUNS) == 7
    first = nn.decode.greedy(net, variables, PROMPT[:1], 1)
    RUNS.clear()
    nn.decode.greedy(net, variables, PROMPT[:1], 7, end=int(first[0, 0]))
    jax.effects_barrier()
    assert len(RUNS) == 1  # all rows have ended: it stops


def chi_square(drawn, likelihood):
    """Σ (seen - expected)² / expected over what can be drawn at all."""
    seen = np.bincount(drawn, minlength=V)
    assert (seen[likelihood == 0] == 0).all()
    expected = likelihood[likelihood > 0] * len(drawn)
    return (((seen[likelihood > 0] - expected) ** 2) / expected).sum()


def exact(logits, temperature=1.0, top_k=V, top_p=1.0):
    """The probabilities that sampling is to have, in NumPy."""
    p = np.exp(logits / temperature - (logits / temperature).max())
    order = np.argsort(-p, kind="stable")
    p[order[top_k:]] = 0
    p /= p.sum()
    before = np.cumsum(p[order]) - p[order]
    p[order[(before >= top_p) & (np.arange(V) > 0)]] = 0
    return p / p.sum()


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"temperature": 2.5},
        {"top_k": 2},
        {"top_p": 0.6},
        {"temperature": 1.5, "top_k": 4, "top_p": 0.8},
        {"top_k": 100, "top_p": 1.0},
    ],
)
def test_samples_have_the_exact_probabilities(options, key):
    net, variables = NETS["lstm"], made(NETS["lstm"], scale=3.0)
    prompt = jnp.repeat(PROMPT[:1], 4000, 0)
    tokens = nn.decode.sample(net, variables, prompt, 2, key=key, **options)
    tokens = np.asarray(tokens)
    logits = np.asarray(net.apply(*variables, PROMPT[:1])[0][0, -1], np.float64)
    assert chi_square(tokens[:, 0], exact(logits, **options)) < 20  # 1 in 2000, 4 dof
    first = np.bincount(tokens[:, 0]).argmax()
    text = jnp.concatenate([PROMPT[:1], jnp.full((1, 1), first, jnp.int32)], 1)
    logits = np.asarray(net.apply(*variables, text)[0][0, -1], np.float64)
    second = tokens[tokens[:, 0] == first, 1]
    assert chi_square(second, exact(logits, **options)) < 20


def test_the_key_decides_and_extremes_are_greedy(key):
    variables = VARIABLES["transformer"]

    def draw(key, **options):
        return nn.decode.sample(TRANSFORMER, variables, PROMPT, 6, key=key, **options)

    np.testing.assert_array_equal(draw(key), draw(key))
    assert (draw(key, temperature=3.0) != draw(jax.random.key(9))).any()
    greedy = nn.decode.greedy(TRANSFORMER, variables, PROMPT, 6)
    for options in ({"top_k": 1}, {"top_p": 0.0}, {"temperature": 1e-4}):
        np.testing.assert_array_equal(draw(key, **options), greedy)


def score_of(net, variables, prompt, tokens):
    text = np.concatenate([prompt, tokens], 1)
    logits = net.apply(*variables, text)[0][:, prompt.shape[1] - 1 : -1]
    log_p = jax.nn.log_softmax(logits)
    return np.take_along_axis(np.asarray(log_p), tokens[..., None], 2)[..., 0].sum(1)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["transformer", "repeated"])
def test_with_room_for_all_beams_find_the_best_texts_of_all(name):
    net, variables, t = NETS[name], VARIABLES[name], 3
    tokens, scores = nn.decode.beam(
        net, variables, PROMPT, t, beams=V ** (t - 1), length_penalty=0.0
    )
    every = np.array(list(itertools.product(range(V), repeat=t)))
    for row in range(2):
        prompt = np.repeat(np.asarray(PROMPT[row : row + 1]), len(every), 0)
        all_scores = score_of(net, variables, prompt, every)
        best = np.argsort(-all_scores)[: V ** (t - 1)]
        np.testing.assert_allclose(scores[row], all_scores[best], atol=1e-4)
        np.testing.assert_array_equal(tokens[row, :3], every[best[:3]])


def test_beams_that_end_keep_their_score_by_their_length():
    variables, t, end = made(TRANSFORMER, scale=2.0), 3, 2
    tokens, scores = nn.decode.beam(
        TRANSFORMER, variables, PROMPT, t, beams=40, end=end, length_penalty=0.7
    )
    texts = {
        (*p[: p.index(end)], *[end] * (t - p.index(end))) if end in p else p
        for p in itertools.product(range(V), repeat=t)
    }
    lengths = {p: p.index(end) + 1 if end in p else t for p in texts}
    for row in range(2):
        best = []
        for text, length in lengths.items():
            real = np.array([text[:length]])
            prompt = np.asarray(PROMPT[row : row + 1])
            padded = np.concatenate([real, np.zeros((1, t - length), int)], 1)
            logits = TRANSFORMER_APPLY(*variables, np.concatenate([prompt, padded], 1))
            log_p = np.asarray(jax.nn.log_softmax(logits[0]))[0, 2 : 2 + length]
            total = log_p[np.arange(length), real[0]].sum()
            best.append((total / length**0.7, text))
        best.sort(reverse=True)
        np.testing.assert_allclose(scores[row, 0], best[0][0], atol=1e-4)
        assert tuple(np.asarray(tokens[row, 0])) == best[0][1]
    finite = np.asarray(scores)[np.isfinite(scores)]
    assert (np.diff(np.asarray(scores)[:, :20], axis=1) <= 0).all() and finite.size


TRANSFORMER_APPLY = jax.jit(TRANSFORMER.apply)


class Decoder(nn.Composite):
    """From (ids, (memory, lengths)) to logits."""

    embed: nn.Layer
    body: nn.Layer
    head: nn.Layer

    def forward(self, run, x):
        ids, (memory, lengths) = x
        asked = nn.Attend(run("embed", ids), memory, memory_lengths=lengths)
        return run("head", run("body", asked))


@pytest.mark.slow
@pytest.mark.parametrize(
    "body",
    [
        nn.TransformerDecoder(2, 2, repeat=True),
        nn.AttentiveRecurrent(nn.GRUCell(6), nn.AdditiveAttention(4)),
    ],
    ids=["transformer", "gru"],
)
def test_a_decoder_asks_the_same_context_at_every_token(body, key):
    net = Decoder(nn.Embed(V, 6), body, nn.Dense(V))
    context = (3 * jax.random.normal(key, (2, 4, 6)), jnp.array([4, 2]))
    params, state = net.init(key, (PROMPT, context))
    variables = {**params, "head": jax.tree.map(lambda a: 8 * a, params["head"])}, state
    tokens = nn.decode.greedy(net, variables, PROMPT, 5, context=context)
    text = PROMPT
    for _ in range(5):
        logits, _ = net.apply(*variables, (text, context))
        text = jnp.concatenate([text, logits[:, -1].argmax(-1)[:, None]], 1)
    np.testing.assert_array_equal(tokens, text[:, 3:])
    kept, scores = nn.decode.beam(net, variables, PROMPT, 5, beams=3, context=context)
    alone, alone_scores = nn.decode.beam(
        net, variables, PROMPT[1:], 5, beams=3, context=jax.tree.map(_last, context)
    )
    np.testing.assert_allclose(scores[1], alone_scores[0], atol=1e-5)
    np.testing.assert_array_equal(kept[1, 0], alone[0, 0])
    assert (kept[:, 0] == tokens).all() or (scores[:, 0] > -jnp.inf).all()


def _last(a):
    return a[1:]


def test_where_logits_are_nan_the_token_is_minus_one():
    params, state = VARIABLES["lstm"]
    table = params["embed_1"]["table"].at[4].set(jnp.nan)
    broken = {**params, "embed_1": {"table": table}}, state
    net = NETS["lstm"]
    fine = nn.decode.greedy(net, VARIABLES["lstm"], PROMPT, 4)
    tokens = nn.decode.greedy(net, broken, PROMPT, 4)
    assert tokens[1].tolist() == [-1] * 4  # its prompt holds the 4
    before = fine[0].tolist().index(4) + 1 if 4 in fine[0].tolist() else 4
    assert tokens[0].tolist() == [*fine[0].tolist()[:before], *[-1] * (4 - before)]
    kept, scores = nn.decode.beam(net, broken, PROMPT, 4, beams=2)
    assert kept[1].tolist() == [[-1] * 4] * 2 and jnp.isneginf(scores[1]).all()
    assert jnp.isfinite(scores[0, 0])


def test_a_network_without_a_memory_goes_on_too():
    net = nn.Sequential(nn.Embed(V, 6), nn.Dense(V))
    variables = made(net)
    tokens = nn.decode.greedy(net, variables, PROMPT, 4)
    np.testing.assert_array_equal(tokens, uncached(net, variables, PROMPT, 4))


IDS = jnp.zeros((2, 3), jnp.int32)


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"prompt": IDS.at[1, 0].set(V)}, IndexError, r"0 to 4.*got 5 at \[1, 0\]"),
        ({"prompt": IDS - 1}, IndexError, r"got -1 at \[0, 0\]"),
        ({"prompt": IDS[0]}, ValueError, r"ids \[N, T\].*int32\[3\].*prompt\[None\]"),
        ({"prompt": IDS[:, :0]}, ValueError, r"at least one.*int32\[2,0\]"),
        ({"prompt": jnp.ones((2, 3))}, TypeError, "prompt must be integers"),
        ({"tokens": 0}, ValueError, "tokens must be a positive int"),
        ({"tokens": 11}, ValueError, "13 steps, more than the 12 of LearnedPositions"),
        ({"lengths": jnp.array([4, 1])}, ValueError, "1 to 3.*got 4 for example 0"),
        ({"lengths": jnp.array([0, 1])}, ValueError, "1 to 3.*got 0 for example 0"),
        ({"lengths": jnp.array([1])}, ValueError, "each of the 2 examples"),
        ({"variables": {}}, TypeError, "TrainState or a pair"),
    ],
)
def test_what_does_not_fit_is_an_error(options, error, message):
    given = {
        "variables": VARIABLES["transformer"],
        "prompt": IDS,
        "tokens": 4,
        **options,
    }
    with pytest.raises(error, match=message):
        nn.decode.greedy(TRANSFORMER, **given)


def test_options_of_sampling_and_beams_are_checked(key):
    variables = VARIABLES["lstm"]
    for options in (
        {"temperature": 0.0},
        {"temperature": float("nan")},
        {"top_k": 0},
        {"top_p": 1.5},
    ):
        with pytest.raises(ValueError, match=next(iter(options))):
            nn.decode.sample(NETS["lstm"], variables, IDS, 2, key=key, **options)
    with pytest.raises(TypeError, match="key must be a random key"):
        nn.decode.sample(NETS["lstm"], variables, IDS, 2, key=0)  # type: ignore
    with pytest.raises(ValueError, match="beams must be"):
        nn.decode.beam(NETS["lstm"], variables, IDS, 2, beams=0)


def test_a_network_that_gives_no_logits_is_an_error(key):
    net = nn.Sequential(nn.Embed(V, 6), nn.lstm(4), nn.Flatten())
    variables = net.init(key, IDS)
    with pytest.raises(TypeError, match=r"logits \[N, T, V\].*float32\[2,12\]"):
        nn.decode.greedy(net, variables, IDS, 2)


def test_a_stateful_network_with_a_small_cache_is_refused():
    live = nn.stateful(TRANSFORMER, 5)
    with pytest.raises(ValueError, match="6 steps, more than the 5"):
        nn.decode.greedy(live, VARIABLES["transformer"], PROMPT, 4)
    tokens = nn.decode.greedy(live, VARIABLES["transformer"], PROMPT, 3)
    whole = nn.decode.greedy(TRANSFORMER, VARIABLES["transformer"], PROMPT, 3)
    np.testing.assert_array_equal(tokens, whole)


class Spoken(nn.Composite):
    """A language model that is told who speaks: a table and places of the context's."""

    speaker: nn.Layer
    places: nn.Layer
    embed: nn.Layer
    body: nn.Layer
    head: nn.Layer

    def forward(self, run, x):
        ids, who = x
        told = run("places", run("speaker", who)).mean(1, keepdims=True)
        hidden = run("body", run("embed", ids))
        return run("head", hidden + jnp.broadcast_to(told, hidden.shape))


def test_what_a_context_reads_is_not_asked_of_the_prompt(key):
    net = Spoken(
        speaker=nn.Embed(2, 6),
        places=nn.LearnedPositions(2),
        embed=nn.Embed(V, 6),
        body=nn.gru(6),
        head=nn.Dense(V),
    )
    who = jnp.array([[0, 1], [1, 1]])
    variables = net.init(key, (PROMPT, who))
    tokens = nn.decode.greedy(net, variables, PROMPT, 4, context=who)
    first = net.apply(*variables, (PROMPT, who))[0][:, -1].argmax(-1)
    np.testing.assert_array_equal(tokens[:, 0], first)
    with pytest.raises(IndexError, match=f"ids must be from 0 to {V - 1}"):
        nn.decode.greedy(net, variables, PROMPT + V, 4, context=who)


@pytest.mark.parametrize("end", ["<e>", [1, 2], 2.7, -1, True])
def test_the_end_is_an_id(end):
    with pytest.raises(ValueError, match="greedy: end must be the id of a token"):
        nn.decode.greedy(NETS["lstm"], VARIABLES["lstm"], PROMPT, 2, end=end)


def test_an_end_that_no_logit_is_of():
    with pytest.raises(ValueError, match=f"end must be from 0 to {V - 1}"):
        nn.decode.greedy(NETS["lstm"], VARIABLES["lstm"], PROMPT, 2, end=V)


def test_the_smallest_temperature_is_greedy(key):
    drawn = nn.decode.sample(
        NETS["lstm"], VARIABLES["lstm"], PROMPT, 6, key=key, temperature=1e-40
    )
    np.testing.assert_array_equal(
        drawn, nn.decode.greedy(NETS["lstm"], VARIABLES["lstm"], PROMPT, 6)
    )
