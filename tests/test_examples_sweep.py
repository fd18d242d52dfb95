"""The example of a sweep runs, chooses by the validation set, and draws."""

import re

import numpy as np
import pytest
from example import drawn, load

import jaxnn as nn


@pytest.mark.slow
def test_sweep_chooses_by_validation_and_tests_once(
    tmp_path, capsys, offline, monkeypatch
):
    (_, test), asked = nn.data.digits(), []
    evaluate = nn.evaluate

    def noted(net, state, data, **options):
        asked.append(len(data[1]))
        return evaluate(net, state, data, **options)

    example = load("sweep")
    monkeypatch.setattr(nn, "evaluate", noted)
    result = example.main(["--small", "--out", str(tmp_path)])
    printed = capsys.readouterr().out
    assert asked == [len(test[1])]
    assert re.search(r"halving: 9 to epoch 1, 3 to epoch 3; 27 epochs without", printed)
    assert result["accuracy"] > 0.5
    last = printed.strip().splitlines()[-1]
    assert f"accuracy {result['accuracy']:.2%}" in last
    assert drawn(tmp_path / "settings.png") and drawn(tmp_path / "halving.png")
    table = (tmp_path / "table.txt").read_text()
    assert len(table.splitlines()) == 3 + 1 + 1 + 9
    state = nn.load(tmp_path / "network.safetensors")
    assert np.isfinite(state["params"]["dense_1"]["w"]).all()
