"""GPT-2, BERT and ViT against PyTorch code with the published names."""

import math
from collections import OrderedDict

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from safetensors.numpy import save_file

import jaxnn as nn

torch = pytest.importorskip("torch")
T = torch.nn
IDS = np.random.default_rng(0).integers(0, 61, (2, 9))
FEATURES, HEADS, LAYERS, HIDDEN = 24, 3, 2, 48


class Conv1D(T.Module):
    """A dense layer as GPT-2 has it: inputs by outputs."""

    def __init__(self, inputs, outputs):
        super().__init__()
        self.weight = T.Parameter(torch.zeros(inputs, outputs))
        self.bias = T.Parameter(torch.zeros(outputs))

    def forward(self, x):
        return x @ self.weight + self.bias


def attend(q, k, v, mask):
    def split(a):
        return a.unflatten(-1, (HEADS, -1)).transpose(1, 2)

    q, k, v = map(split, (q, k, v))
    fit = q @ k.transpose(-1, -2) / math.sqrt(q.shape[-1])
    weights = fit.masked_fill(~mask, -1e30).softmax(-1)
    return (weights @ v).transpose(1, 2).flatten(-2)


class GPT2Block(T.Module):
    def __init__(self):
        super().__init__()
        self.ln_1, self.ln_2 = T.LayerNorm(FEATURES), T.LayerNorm(FEATURES)
        self.attn, self.mlp = T.Module(), T.Module()
        self.attn.c_attn = Conv1D(FEATURES, 3 * FEATURES)
        self.attn.c_proj = Conv1D(FEATURES, FEATURES)
        self.attn.register_buffer("bias", torch.ones(1, 1, 16, 16).tril())
        self.mlp.c_fc = Conv1D(FEATURES, 4 * FEATURES)
        self.mlp.c_proj = Conv1D(4 * FEATURES, FEATURES)

    def forward(self, x):
        steps = x.shape[1]
        mask = self.attn.bias[0, 0, :steps, :steps] > 0
        q, k, v = self.attn.c_attn(self.ln_1(x)).split(FEATURES, -1)
        x = x + self.attn.c_proj(attend(q, k, v, mask))
        up = T.functional.gelu(self.mlp.c_fc(self.ln_2(x)), approximate="tanh")
        return x + self.mlp.c_proj(up)


class GPT2(T.Module):
    def __init__(self):
        super().__init__()
        self.transformer = body = T.Module()
        body.wte, body.wpe = T.Embedding(61, FEATURES), T.Embedding(16, FEATURES)
        body.h = T.ModuleList(GPT2Block() for _ in range(LAYERS))
        body.ln_f = T.LayerNorm(FEATURES)
        self.lm_head = T.Linear(FEATURES, 61, bias=False)
        self.lm_head.weight = body.wte.weight

    def forward(self, ids):
        body = self.transformer
        x = body.wte(ids) + body.wpe(torch.arange(ids.shape[1]))
        for block in body.h:
            x = block(x)
        return self.lm_head(body.ln_f(x))


class BERTBlock(T.Module):
    def __init__(self):
        super().__init__()
        self.attention, self.intermediate, self.output = (T.Module() for _ in range(3))
        own, out = T.Module(), T.Module()
        self.attention.self, self.attention.output = own, out
        own.query, own.key, own.value, out.dense = (
            T.Linear(FEATURES, FEATURES) for _ in range(4)
        )
        out.LayerNorm = T.LayerNorm(FEATURES, eps=1e-12)
        self.intermediate.dense = T.Linear(FEATURES, HIDDEN)
        self.output.dense = T.Linear(HIDDEN, FEATURES)
        self.output.LayerNorm = T.LayerNorm(FEATURES, eps=1e-12)

    def forward(self, x, mask):
        own, out = self.attention.self, self.attention.output
        y = attend(own.query(x), own.key(x), own.value(x), mask)
        x = out.LayerNorm(x + out.dense(y))
        up = T.functional.gelu(self.intermediate.dense(x))
        return self.output.LayerNorm(x + self.output.dense(up))


class BERT(T.Module):
    def __init__(self):
        super().__init__()
        self.embeddings, self.encoder, self.pooler = (T.Module() for _ in range(3))
        self.embeddings.word_embeddings = T.Embedding(61, FEATURES)
        self.embeddings.position_embeddings = T.Embedding(16, FEATURES)
        self.embeddings.token_type_embeddings = T.Embedding(2, FEATURES)
        self.embeddings.LayerNorm = T.LayerNorm(FEATURES, eps=1e-12)
        self.encoder.layer = T.ModuleList(BERTBlock() for _ in range(LAYERS))
        self.pooler.dense = T.Linear(FEATURES, FEATURES)

    def forward(self, ids, segments, lengths):
        own, places = self.embeddings, torch.arange(ids.shape[1])
        x = own.word_embeddings(ids) + own.position_embeddings(places)
        x = own.LayerNorm(x + own.token_type_embeddings(segments))
        mask = (places < lengths[:, None])[:, None, None]
        for block in self.encoder.layer:
            x = block(x, mask)
        return x, self.pooler.dense(x[:, 0]).tanh()


class ViTBlock(T.Module):
    def __init__(self):
        super().__init__()
        self.ln_1, self.ln_2 = (T.LayerNorm(FEATURES, eps=1e-6) for _ in range(2))
        self.self_attention = T.MultiheadAttention(FEATURES, HEADS, batch_first=True)
        up, down = T.Linear(FEATURES, HIDDEN), T.Linear(HIDDEN, FEATURES)
        self.mlp = T.Sequential(up, T.GELU(), T.Dropout(0), down)

    def forward(self, x):
        y = self.ln_1(x)
        x = x + self.self_attention(y, y, y, need_weights=False)[0]
        return x + self.mlp(self.ln_2(x))


class ViT(T.Module):
    def __init__(self):
        super().__init__()
        self.class_token = T.Parameter(torch.zeros(1, 1, FEATURES))
        self.conv_proj = T.Conv2d(3, FEATURES, 4, 4)
        self.encoder = T.Module()
        self.encoder.pos_embedding = T.Parameter(torch.zeros(1, 10, FEATURES))
        blocks = ((f"encoder_layer_{i}", ViTBlock()) for i in range(LAYERS))
        self.encoder.layers = T.Sequential(OrderedDict(blocks))
        self.encoder.ln = T.LayerNorm(FEATURES, eps=1e-6)
        self.heads = T.Sequential(OrderedDict(head=T.Linear(FEATURES, 5)))

    def forward(self, x):
        x = self.conv_proj(x).flatten(2).transpose(1, 2)
        x = torch.cat([self.class_token.expand(len(x), -1, -1), x], 1)
        x = self.encoder.layers(x + self.encoder.pos_embedding)
        return self.heads(self.encoder.ln(x)[:, 0])


def random(module):
    """The module with random weights, norms included."""
    torch.manual_seed(0)
    for p in module.parameters():
        T.init.normal_(p, std=0.3)
    return module.eval()


SIZES = {"features": FEATURES, "layers": LAYERS, "heads": HEADS}
OURS = nn.models.gpt2(61, length=16, **SIZES)
BOTH_WAYS = nn.models.bert(61, length=16, hidden=HIDDEN, **SIZES)
PICTURES = nn.models.vit(5, size=12, patch=4, hidden=HIDDEN, **SIZES)
IMAGES = np.random.default_rng(1).standard_normal((2, 12, 12, 3)).astype(np.float32)
close = {"rtol": 1e-4, "atol": 1e-4}


def test_gpt2_gives_the_same_logits_from_a_file_too(tmp_path):
    model, ids = random(GPT2()), jnp.asarray(IDS)
    variables = nn.io.from_torch(OURS, ids, model.state_dict())
    expected = model(torch.tensor(IDS)).detach().numpy()
    chex.assert_trees_all_close(OURS.apply(*variables, ids)[0], expected, **close)
    names = {n.removeprefix("transformer."): a for n, a in model.state_dict().items()}
    arrays = {n: a.numpy().copy() for n, a in names.items() if n != "lm_head.weight"}
    save_file(arrays, tmp_path / "model.safetensors")
    again = nn.io.from_torch(OURS, ids, tmp_path / "model.safetensors")
    chex.assert_trees_all_equal(again, variables)


def test_gpt2_writes_with_a_cache_what_it_writes_without(key):
    ids = jnp.asarray(IDS)
    params, state = OURS.init(key, ids)
    live = nn.stateful(OURS, 16)
    carried = nn.zero_carry(live, ids[:, :4], state)
    first, carried = live.apply(params, carried, ids[:, :4])
    second, _ = live.apply(params, carried, ids[:, 4:])
    whole, _ = OURS.apply(params, state, ids)
    chex.assert_trees_all_close(jnp.concatenate([first, second], 1), whole, **close)


def test_bert_gives_the_same_steps_and_pooled_vector():
    model, ids = random(BERT()), jnp.asarray(IDS)
    segments = (np.arange(9) > 4).astype(int) * np.ones((2, 1), int)
    lengths = np.array([9, 6])
    variables = nn.io.from_torch(BOTH_WAYS, ids, model.state_dict())
    steps, pooled = model(*map(torch.tensor, (IDS, segments, lengths)))
    given = {"ids": ids, "segments": segments, "lengths": lengths}
    y, _ = BOTH_WAYS.apply(*variables, jax.tree.map(jnp.asarray, given))
    real = np.arange(9) < lengths[:, None]
    chex.assert_trees_all_close(y["steps"][real], steps.detach().numpy()[real], **close)
    chex.assert_trees_all_close(y["pooled"], pooled.detach().numpy(), **close)
    plain, _ = BOTH_WAYS.apply(*variables, (ids, jnp.asarray(lengths)))
    zeros = given | {"segments": np.zeros_like(segments)}
    same, _ = BOTH_WAYS.apply(*variables, jax.tree.map(jnp.asarray, zeros))
    chex.assert_trees_all_equal(plain, same)


def test_bert_of_its_pre_training_and_of_older_files_is_read():
    model, ids = random(BERT()), jnp.asarray(IDS)
    expected = nn.io.from_torch(BOTH_WAYS, ids, model.state_dict())
    older = {
        f"bert.{n}".replace("LayerNorm.weight", "LayerNorm.gamma").replace(
            "LayerNorm.bias", "LayerNorm.beta"
        ): a
        for n, a in model.state_dict().items()
    }
    older["cls.predictions.bias"] = torch.zeros(61)
    older["bert.embeddings.position_ids"] = torch.arange(16)[None]
    chex.assert_trees_all_equal(nn.io.from_torch(BOTH_WAYS, ids, older), expected)


def test_vit_gives_the_same_logits():
    model, images = random(ViT()), jnp.asarray(IMAGES)
    variables = nn.io.from_torch(PICTURES, images, model.state_dict())
    expected = model(torch.tensor(IMAGES.transpose(0, 3, 1, 2))).detach().numpy()
    y, _ = PICTURES.apply(*variables, images)
    chex.assert_trees_all_close(y, expected, **close)


def test_a_new_head_is_initialized(key):
    images, weights = jnp.asarray(IMAGES), random(ViT()).state_dict()
    other = nn.models.vit(7, size=12, patch=4, hidden=HIDDEN, **SIZES)
    params, _ = nn.io.from_torch(other, images, weights, skip="head", key=key)
    full, _ = nn.io.from_torch(PICTURES, images, weights)
    assert params["head"]["w"].shape == (FEATURES, 7)
    chex.assert_trees_all_equal(params["encoder"], full["encoder"])


def test_another_size_lists_every_name_and_shape():
    weights = random(GPT2()).state_dict()
    larger = nn.models.gpt2(61, length=16, features=FEATURES, layers=3, heads=HEADS)
    with pytest.raises(ValueError) as caught:
        nn.io.from_torch(larger, jnp.asarray(IDS), weights)
    said = str(caught.value)
    assert "missing: h.2.attn.c_attn.weight" in said and "h.2.mlp.c_proj.bias" in said
    wider = nn.models.gpt2(61, length=32, **SIZES)
    with pytest.raises(ValueError, match=r"wpe.weight is \[16,24\], .* \[32,24\]"):
        nn.io.from_torch(wider, jnp.asarray(IDS), weights)
    fewer = nn.models.gpt2(61, length=16, features=FEATURES, layers=1, heads=HEADS)
    with pytest.raises(ValueError, match=r"unexpected: h.1.ln_1.weight"):
        nn.io.from_torch(fewer, jnp.asarray(IDS), weights)
