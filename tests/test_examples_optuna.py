# SPDX-License-Identifier: Apache-2.0
"""The example of a search with Optuna prunes, chooses by validation, and draws."""

import re

import pytest
from example import drawn, load

import jaxnn as nn

pytest.importorskip("optuna", reason="an extra of jaxnn")


@pytest.mark.slow
def test_optuna_prunes_and_tests_the_winner_once(
    tmp_path, capsys, offline, monkeypatch
):
    (_, test), asked = nn.data.digits(), []
    evaluate = nn.evaluate

    def noted(net, state, data, **options):
        asked.append(len(data[1]))
        return evaluate(net, state, data, **options)

    example = load("optuna_search")
    monkeypatch.setattr(nn, "evaluate", noted)
    result = example.main(["--small", "--out", str(tmp_path)])
    printed = capsys.readouterr().out
    assert asked == [len(test[1])] and result["accuracy"] > 0.8
    trials = re.findall(r"trial +\d+: .* \(epochs: (\d)(, pruned)?\);", printed)
    assert len(trials) == 8
    assert {epochs for epochs, pruned in trials if not pruned} == {"3"}
    assert any(pruned for _, pruned in trials)
    assert f"accuracy {result['accuracy']:.2%}" in printed.strip().splitlines()[-1]
    assert drawn(tmp_path / "trials.png")
