"""The table of a network."""

import re

import jax
import jax.numpy as jnp
import pytest
from jax import lax

import jaxnn as nn
from jaxnn.flops import CONVENTION

X = jax.ShapeDtypeStruct((3, 4), jnp.float32)


def net():
    body = nn.Sequential(fc=nn.Dense(5), act=jax.nn.relu, out=nn.Dense(4))
    return nn.Sequential(body=nn.Residual(body), head=nn.Dense(2))


def test_summary_counts_parameters_flops_and_bytes():
    table = nn.summary(net(), X)
    assert [row.path for row in table.rows] == [
        "body/body/fc",
        "body/body/act",
        "body/body/out",
        "body/shortcut",
        "head",
    ]
    assert table.parameters == (4 * 5 + 5) + (5 * 4 + 4) + (4 * 2 + 2)
    assert table.bytes == 4 * table.parameters
    assert table.flops == 3 * 2 * (4 * 5 + 5 * 4 + 4 * 2)
    fc = table.rows[0]
    assert (fc.output, fc.bytes, fc.flops) == ("float32[3,5]", 4 * 25, 3 * 2 * 4 * 5)
    assert fc.shapes == "b float32[5], w float32[4,5]"


def test_summary_of_a_single_layer_and_of_shared_weights():
    class Shared(nn.Composite):
        layer: nn.Layer

        def forward(self, run, x):
            return run("layer", run("layer", x))

    assert nn.summary(nn.Dense(3), X).parameters == 15
    first, second = nn.summary(Shared(nn.Dense(4)), X).rows
    assert (first.parameters, second.parameters) == (20, 0)
    assert first.flops == second.flops == 2 * 3 * 4 * 4


def test_the_printed_table_names_a_parent_once():
    table = nn.summary(net(), X)
    lines = str(table).splitlines()
    assert [line.split("  ")[0] for line in lines if line[0] not in " -"] == [
        "path",
        "body/body",
        "body",
        "head",
        "total",
        "The parameters take 236 bytes.",
        f"The backward pass keeps {table.activations:,} bytes of activations.",
        f"FLOPs: {CONVENTION}.",
    ]
    assert [line.split()[0] for line in lines if line[0] == " "] == [
        "fc",
        "act",
        "out",
        "shortcut",
    ]


def test_activations_are_what_the_backward_pass_reads():
    x = jnp.ones((8, 4))
    assert nn.summary(nn.Dense(3), x).activations == 0  # it reads x itself
    net = nn.Sequential(nn.Dense(16), jnp.tanh, nn.Dense(3))
    kept = nn.summary(net, x).activations
    assert 8 * 16 * 4 <= kept <= 2 * 8 * 16 * 4
    twice = nn.summary(net, jnp.ones((16, 4))).activations
    assert twice == 2 * kept
    block = nn.Sequential(nn.Dense(16), jnp.tanh, nn.Dense(4))
    plain, remat = (
        nn.summary(nn.Repeat(b, 4), x).activations for b in (block, nn.Remat(block))
    )
    assert remat < plain / 2


def test_a_layer_without_a_gradient_has_no_activations_to_name():
    def outside(x):
        return jax.pure_callback(lambda x: x, jax.ShapeDtypeStruct(x.shape, x.dtype), x)

    summary = nn.summary(nn.Sequential(outside, nn.Dense(2)), X)
    assert summary.activations is not None  # nothing before it has parameters
    summary = nn.summary(nn.Sequential(nn.Dense(2), outside), X)
    assert summary.activations is None and "backward" not in str(summary)


@pytest.mark.parametrize("columns", [80, 120])
def test_no_line_is_longer_than_the_terminal(columns, monkeypatch):
    monkeypatch.setenv("COLUMNS", str(columns))
    images = jax.ShapeDtypeStruct((128, 224, 224, 3), jnp.float32)
    table = nn.summary(nn.models.resnet(18), images)
    lines = str(table).splitlines()
    assert max(map(len, lines)) <= columns
    assert "11,689,512" in lines[-4] and f"{table.flops:,}" in lines[-4]
    assert any("Conv(" in line and "..." in line for line in lines) == (columns == 80)
    assert table.rows[0].layer.endswith("bias=False)")  # in full as data


def test_a_loop_of_unknown_length_is_marked():
    def until(x):
        return lax.while_loop(lambda x: x[0, 0] < 9, lambda x: x @ x, x)

    shown = str(nn.summary(nn.Sequential(nn.Dense(3), until, nn.Dense(2)), X))
    (dense, loop, last, total) = re.findall(r"[\d,]+\+?$", shown, re.M)
    assert dense == "72" and loop == "54+" and last == "36" and total == "162+"
    assert "+: a loop whose number of steps is unknown counts as one." in shown


def test_a_notebook_gets_a_table_with_the_shapes():
    shown = nn.summary(nn.Sequential(nn.Dense(3), lambda x: x), X)._repr_html_()
    assert shown.count("<tr>") == 1 + 2 + 1
    assert "b float32[3], w float32[4,3]" in shown
    assert "&lt;lambda&gt;" in shown and "<lambda>" not in shown
    assert shown.endswith("0 for the rest.</p>")
