# SPDX-License-Identifier: Apache-2.0
"""Generate text: greedy decoding, sampling, beam search; each is one program.

A network from ids `[N, T]` to logits `[N, T, V]`, such as a language model, continues
a prompt. It is made stateful (`nn.stateful`), so that the prompt is read at once and
each new token takes a single-step call, however long the text is. Everything, the
prompt and the loop over tokens, is compiled as one program, once per shape.

>>> import jax, jax.numpy as jnp, jaxnn as nn
>>> net = nn.Sequential(nn.Embed(5, 8), nn.lstm(8), nn.Dense(5))
>>> prompt = jnp.array([[1, 2, 3]])
>>> variables = net.init(jax.random.key(0), prompt)
>>> nn.decode.greedy(net, variables, prompt, 4).shape
(1, 4)
>>> tokens, scores = nn.decode.beam(net, variables, prompt, 4, beams=2)
>>> tokens.shape, scores.shape
((1, 2, 4), (1, 2))

A decoder that attends to a memory takes `(ids, context)`: pass the memory as `context`,
any tree of arrays `[N, ...]`; it stays fixed during decoding:

    class Translator(nn.Composite):
        encoder: nn.Layer  # from the source to a memory
        decoder: nn.Layer  # from (ids, memory) to logits

        def forward(self, run, x):
            source, target = x
            return run("decoder", (target, run("encoder", source)))

    memory, _ = net.encoder.apply(params["encoder"], {}, source)
    tokens = nn.decode.greedy(
        net.decoder, (params["decoder"], {}), begin, 50, end=2, context=memory
    )

In all three functions a row is filled with `end` after its first `end`; if the logits
become NaN, that token and all later ones are -1.
"""

import numbers
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

from jaxnn import checks
from jaxnn.core import Key, Layer, as_layer, check_key, trace
from jaxnn.inputs.entry import on_device
from jaxnn.inputs.steps import check_integers, check_lengths
from jaxnn.layers import Embed, LearnedPositions
from jaxnn.layers.attention import CachedAttention
from jaxnn.layers.embed import check_ids
from jaxnn.layers.stateful import stateful, zero_carry
from jaxnn.messages import public
from jaxnn.messages.phrases import describe
from jaxnn.messages.tracebacks import entrance
from jaxnn.surgery import layer_paths
from jaxnn.train.programs import program
from jaxnn.train.state import variables as parts_of
from jaxnn.train.traced_once import traced_once
from jaxnn.trees import abstract


@entrance
def greedy(
    net: Layer,
    variables: Any,
    prompt: Any,
    tokens: int,
    *,
    end: int | None = None,
    lengths: Any = None,
    context: Any = None,
) -> jax.Array:
    """Greedy decoding: the most likely token at every step.

    Args:
        net: a network from ids `[N, T]` (or `(ids, context)`) to logits `[N, T, V]`.
        variables: its `(params, state)`, or a `TrainState`.
        prompt: ids `[N, T]`, at least one per row.
        tokens: how many tokens to generate after each prompt.
        end: the id that ends a row, or None.
        lengths: `[N]`, how many ids of each prompt are real; all by default.
        context: a tree of arrays `[N, ...]` passed to the network with every token.

    Returns:
        `[N, tokens]`, int32: the new tokens only.

    Raises:
        IndexError: an id of the prompt is not in the vocabulary.
        ValueError: the prompt and the tokens take more steps than there are positions;
            the prompt is empty, or the lengths do not fit it.
        TypeError: the prompt is not integers, or the network does not output logits.
    """
    plan, given = _prepare(
        "greedy", net, variables, prompt, tokens, end, lengths, context
    )
    return _generate(given, {}, plan=plan, choose=_likeliest)


@entrance
def sample(
    net: Layer,
    variables: Any,
    prompt: Any,
    tokens: int,
    *,
    key: Key,
    temperature: float = 1.0,
    top_k: int | None = None,
    top_p: float | None = None,
    end: int | None = None,
    lengths: Any = None,
    context: Any = None,
) -> jax.Array:
    """Sampling: tokens drawn from the network's `softmax(logits / temperature)`.

    Args:
        net, variables, prompt, tokens, end, lengths, context: as for `greedy`.
        key: a random key; the same key draws the same text.
        temperature: above 0; below 1, likely tokens become more likely. As it
            approaches 0 this becomes `greedy`.
        top_k: draw only from the k most likely tokens.
        top_p: draw only from the smallest set of most likely tokens whose total
            probability is at least this, 0 to 1; at least one token (applied after
            `top_k`, to what is left).

    Returns:
        `[N, tokens]`, int32: the new tokens only.

    Raises:
        ValueError, IndexError, TypeError: as for `greedy`; or an option is out of
            range.

    Reference: Fan et al., Hierarchical Neural Story Generation, 2018 (top k); Holtzman
    et al., The Curious Case of Neural Text Degeneration, 2019 (top p).
    """
    check_key(key, "sample")
    _check_options(temperature, top_k, top_p)
    plan, given = _prepare(
        "sample", net, variables, prompt, tokens, end, lengths, context
    )
    options: dict[str, Any] = {"key": key, "temperature": jnp.float32(temperature)}
    if top_k is not None or top_p is not None:
        options["top_k"] = jnp.int32(2**31 - 1 if top_k is None else int(top_k))
        options["top_p"] = jnp.float32(1 if top_p is None else top_p)
    return _generate(given, options, plan=plan, choose=_drawn)


@entrance
def beam(
    net: Layer,
    variables: Any,
    prompt: Any,
    tokens: int,
    *,
    beams: int,
    end: int | None = None,
    length_penalty: float = 1.0,
    lengths: Any = None,
    context: Any = None,
) -> tuple[jax.Array, jax.Array]:
    """Beam search: keep the `beams` best continuations at each step.

    The score is `log p / L^length_penalty`, with L the number of tokens, including the
    `end` if there is one. A finished continuation is kept as long as it is among the
    best. With one beam this is `greedy`.

    Args:
        net, variables, prompt, tokens, end, lengths, context: as for `greedy`.
        beams: how many continuations to keep.
        length_penalty: 0 scores by the log probability, which favors short texts; 1 by
            its mean per token.

    Returns:
        `(tokens, scores)`, `[N, beams, tokens]` int32 and `[N, beams]`, best first. A
        beam that no continuation reached has the score -inf.

    Raises:
        ValueError, IndexError, TypeError: as for `greedy`; or an option is out of
            range.

    Reference: Graves, Sequence Transduction with Recurrent Neural Networks, 2012; Wu
    et al., Google's Neural Machine Translation System, 2016 (penalty).
    """
    checks.positive_int("beam", "beams", beams)
    if not isinstance(length_penalty, numbers.Real):
        raise ValueError(
            f"beam: length_penalty must be a number, got {length_penalty!r}"
        )
    plan, given = _prepare(
        "beam", net, variables, prompt, tokens, end, lengths, context
    )
    return _search(given, jnp.float32(length_penalty), plan=plan, beams=int(beams))


class _Plan(NamedTuple):
    """What a program is compiled for, besides shapes."""

    live: Layer
    tokens: int
    end: int | None


class _Given(NamedTuple):
    """The arrays passed to the program on each call."""

    params: Any
    state: Any
    prompt: Any
    lengths: Any
    context: Any


def _prepare(owner, net, variables, prompt, tokens, end, lengths, context):
    """Check everything and make the network stateful; return `(plan, given)`."""
    net, (params, state) = as_layer(net, owner), parts_of(variables, owner)
    checks.positive_int(owner, "tokens", tokens)
    prompt = on_device(f"{owner}: prompt", prompt)
    lengths = on_device(f"{owner}: lengths", lengths)
    context = on_device(f"{owner}: context", context)
    _check_prompt(owner, prompt, lengths)
    layers = [net, *layer_paths(net).values()]
    x = _inputs(prompt, lengths, context)
    reading = layers if context is None else _reading(net, params, state, x)
    for layer in reading:
        if isinstance(layer, Embed):
            check_ids(owner, prompt, lengths, vocabulary=layer.vocabulary)
            break
    steps = prompt.shape[1] + tokens - 1  # the last token is not read
    _check_room(owner, reading, steps)
    _check_end(owner, end)
    remembers = any(hasattr(layer, "as_stateful") for layer in layers)
    live = stateful(net, steps) if remembers else net
    plan = _Plan(live, int(tokens), None if end is None else int(end))
    return plan, _Given(params, state, prompt, lengths, context)


def _inputs(ids: Any, lengths: Any, context: Any) -> Any:
    """The network's input for ids."""
    x = ids if lengths is None else (ids, lengths)
    return x if context is None else (x, context)


@traced_once
def _reading(net: Layer, params: Any, state: Any, x: Any) -> list[Layer]:
    """The layers that read the prompt, rather than a context of another length."""
    n_by_steps = jax.tree.leaves(x[0])[0].shape

    def reads(call):
        return any(a.shape[:2] == n_by_steps for a in jax.tree.leaves(call.x))

    return [call.layer for call in trace(net, x) if reads(call)]


def _check_end(owner: str, end: Any) -> None:
    whole = isinstance(end, numbers.Integral) and not isinstance(end, bool)
    if end is not None and not (whole and int(end) >= 0):
        raise ValueError(
            f"{owner}: end must be the id of a token, or None, got {end!r}"
        )


def _check_prompt(owner: str, prompt: Any, lengths: Any) -> None:
    check_integers(owner, "prompt", prompt)
    if len(prompt.shape) != 2 or 0 in prompt.shape:
        raise ValueError(
            f"{owner}: prompt must be ids [N, T], at least one for each row, got "
            f"{describe(prompt)}; one text becomes a batch by prompt[None]"
        )
    check_lengths(owner, lengths, prompt)


def _check_room(owner: str, layers: list[Layer], steps: int) -> None:
    for layer in layers:
        if isinstance(layer, LearnedPositions | CachedAttention):
            room = layer.length or 0
            if steps > room:
                raise ValueError(
                    f"{owner}: the prompt and the tokens but the last are {steps} "
                    f"steps, more than the {room} of {layer!r:.100}"
                )


def _read_prompt(plan: _Plan, given: _Given) -> tuple[jax.Array, Any]:
    """Logits for the first new token, `[N, V]`, and the state after the prompt."""
    ids, lengths = given.prompt, given.lengths
    x = _inputs(ids, lengths, given.context)
    state = zero_carry(plan.live, x, given.state)
    logits, state = _call(plan, given, state, x, ids)
    if plan.end is not None and plan.end >= logits.shape[-1]:
        raise ValueError(
            f"decode: end must be from 0 to {logits.shape[-1] - 1}, the network giving "
            f"logits [N, T, {logits.shape[-1]}], got {plan.end}"
        )
    if lengths is None:
        return logits[:, -1], state
    last = (lengths - 1).astype(jnp.int32)[:, None, None]
    return jnp.take_along_axis(logits, last, 1)[:, 0], state


def _read(plan: _Plan, given: _Given, token: jax.Array, state: Any):
    """The logits `[N, V]` and the state after one more token, `[N]`."""
    ids = token[:, None]
    x = _inputs(ids, None, given.context)
    logits, state = _call(plan, given, state, x, ids)
    return logits[:, 0], state


def _call(plan: _Plan, given: _Given, state: Any, x: Any, ids: jax.Array):
    logits, state = plan.live.apply(given.params, state, x)
    if getattr(logits, "shape", ())[:-1] != ids.shape or not checks.is_float(logits):
        raise TypeError(
            f"decode: the network must give logits [N, T, V] for ids [N, T], got "
            f"{describe(logits):.100} for {describe(ids)}"
        )
    return logits, state


@program()
def _generate(
    given: _Given, options: dict, *, plan: _Plan, choose: Callable
) -> jax.Array:
    """Read the prompt, then choose and read token by token until all rows end."""

    def pick(i, logits, token, done):
        new = choose(logits, i, **options)
        new = jnp.where(jnp.isnan(logits).any(-1), -1, new)
        new = jnp.where(done, token, new).astype(jnp.int32)
        return new, _is_last(new, plan.end)

    def more(loop):
        i, _, done, _, _ = loop
        return (i < plan.tokens) & ~done.all()

    def body(loop):
        i, token, done, state, out = loop
        logits, state = _read(plan, given, token, state)
        token, done = pick(i, logits, token, done)
        return i + 1, token, done, state, out.at[:, i].set(token)

    logits, state = _read_prompt(plan, given)
    n = logits.shape[0]
    token, done = pick(0, logits, jnp.zeros(n, jnp.int32), jnp.zeros(n, bool))
    out = jnp.zeros((n, plan.tokens), jnp.int32).at[:, 0].set(token)
    i, token, _, _, out = lax.while_loop(more, body, (1, token, done, state, out))
    return jnp.where(jnp.arange(plan.tokens)[None] < i, out, token[:, None])


def _is_last(token: jax.Array, end: int | None) -> jax.Array:
    """Whether a row has ended: by its end token, or by the -1 after NaN logits."""
    return (token == -1) if end is None else (token == -1) | (token == end)


def _likeliest(logits: jax.Array, i: Any) -> jax.Array:
    del i
    return jnp.argmax(logits, -1)


def _drawn(logits, i, key, temperature, top_k=None, top_p=None) -> jax.Array:
    """A random token for each row, `[N]`."""
    key, logits = jax.random.fold_in(key, i), logits.astype(jnp.float32)
    # (relative to the largest, which stays finite even at tiny temperatures)
    logits = (logits - logits.max(-1, keepdims=True)) / temperature
    if top_k is None or top_p is None:  # both are set or neither is
        return jax.random.categorical(key, logits)
    order = jnp.argsort(logits, descending=True)
    ranked = jnp.take_along_axis(logits, order, -1)
    rank = jnp.arange(logits.shape[-1])[None]
    ranked = jnp.where(rank < top_k, ranked, -jnp.inf)
    likelihood = jax.nn.softmax(ranked)
    before = jnp.cumsum(likelihood, -1) - likelihood
    keep = (before < top_p) | (top_p >= 1) | (rank == 0)
    chosen = jax.random.categorical(key, jnp.where(keep, ranked, -jnp.inf))
    return jnp.take_along_axis(order, chosen[:, None], -1)[:, 0]


def _check_options(temperature: Any, top_k: Any, top_p: Any) -> None:
    is_number = isinstance(temperature, numbers.Real)
    if not is_number or not 0 < float(temperature) < float("inf"):
        raise ValueError(
            f"sample: temperature must be a number above 0, got {temperature!r}; "
            "nn.decode.greedy takes the likeliest token"
        )
    if top_k is not None:
        checks.positive_int("sample", "top_k", top_k)
    if top_p is not None:
        checks.probability("sample", "top_p", top_p)


class _Beams(NamedTuple):
    """The kept continuations, `[N, B]`, best first."""

    log_p: jax.Array
    length: jax.Array
    done: jax.Array
    token: jax.Array  # the last one
    out: jax.Array  # [N, B, tokens]


@program()
def _search(given: _Given, penalty: jax.Array, *, plan: _Plan, beams: int):
    logits, state = _read_prompt(plan, given)
    n, axes = logits.shape[0], _batch_axes(plan, given)
    wide = given._replace(context=jax.tree.map(_repeat(beams), given.context))
    state = jax.tree.map(lambda a, axis: _repeat(beams, axis)(a), state, axes)
    one = jnp.zeros((n, beams), jnp.int32)
    first = jnp.where(jnp.arange(beams) == 0, 0.0, -jnp.inf)
    kept = _Beams(
        log_p=jnp.broadcast_to(first, (n, beams)),
        length=one,
        done=one > 0,
        token=one,
        out=jnp.zeros((n, beams, plan.tokens), jnp.int32),
    )

    def more(loop):
        i, kept, _, _ = loop
        return (i < plan.tokens) & ~(kept.done | jnp.isneginf(kept.log_p)).all()

    def body(loop):
        i, kept, state, parent = loop
        rows = (parent + beams * jnp.arange(n)[:, None]).reshape(-1)
        state = jax.tree.map(lambda a, axis: _take(a, rows, axis), state, axes)
        logits, state = _read(plan, wide, kept.token.reshape(-1), state)
        kept, parent = _extend(plan, i, kept, logits, penalty)
        return i + 1, kept, state, parent

    kept, parent = _extend(plan, 0, kept, jnp.repeat(logits, beams, 0), penalty)
    i, kept, _, _ = lax.while_loop(more, body, (1, kept, state, parent))
    written = jnp.arange(plan.tokens)[None, None] < i
    out = jnp.where(written, kept.out, kept.token[..., None])
    return out, _score(kept.log_p, kept.length, penalty)


def _extend(plan: _Plan, i, kept: _Beams, logits: jax.Array, penalty: jax.Array):
    """The best continuations by one token, and the parent of each, `[N, B]`."""
    n, b = kept.log_p.shape
    v = logits.shape[-1]
    broken = jnp.isnan(logits).any(-1).reshape(n, b)
    gain = jax.nn.log_softmax(logits.astype(jnp.float32)).reshape(n, b, v)
    same = jnp.where(jnp.arange(v) == 0, 0.0, -jnp.inf)  # kept as it is, once
    gain = jnp.where(kept.done[..., None], same[None, None], gain)
    gain = jnp.where(broken[..., None], -jnp.inf, gain)
    log_p = kept.log_p[..., None] + gain
    length = kept.length + jnp.where(kept.done, 0, 1)
    score = _score(log_p, length[..., None], penalty).reshape(n, b * v)
    index = lax.top_k(score, b)[1]
    parent, token = index // v, (index % v).astype(jnp.int32)

    def of_parent(a):
        return jnp.take_along_axis(a, parent, 1)

    token = jnp.where(of_parent(kept.done), of_parent(kept.token), token)
    token = jnp.where(of_parent(broken), -1, token)
    out = jnp.take_along_axis(kept.out, parent[..., None], 1)
    new = _Beams(
        log_p=jnp.take_along_axis(log_p.reshape(n, b * v), index, 1),
        length=of_parent(length),
        done=of_parent(kept.done) | _is_last(token, plan.end),
        token=token,
        out=out.at[:, :, i].set(token),
    )
    return new, parent


def _score(log_p: jax.Array, length: jax.Array, penalty: jax.Array) -> jax.Array:
    length = jnp.broadcast_to(length, log_p.shape).astype(log_p.dtype)
    return log_p / length**penalty


def _repeat(times: int, axis: int = 0) -> Callable[[jax.Array], jax.Array]:
    """Repeat each example several times; axis -1 means no such axis."""
    return lambda a: a if axis < 0 else jnp.repeat(a, times, axis)


def _take(a: jax.Array, rows: jax.Array, axis: int) -> jax.Array:
    return a if axis < 0 else jnp.take(a, rows, axis)


def _batch_axes(plan: _Plan, given: _Given) -> Any:
    """Which axis of each leaf of the state is the batch axis; -1 for none."""

    def shapes(more: int) -> Any:
        def longer(a):
            return jax.ShapeDtypeStruct((a.shape[0] + more, *a.shape[1:]), a.dtype)

        ids, context = jax.tree.map(longer, abstract((given.prompt, given.context)))
        x = ids if context is None else (ids, context)
        return jax.eval_shape(lambda: zero_carry(plan.live, x, given.state))

    def axis(a, b):
        pairs = zip(a.shape, b.shape, strict=True)
        return next((i for i, (m, n) in enumerate(pairs) if m != n), -1)

    return jax.tree.map(axis, shapes(0), shapes(1))


public.show(__name__)
