"""The example of transfer: small mode, its draws and its rates."""

import jax
import numpy as np
import pytest
from example import drawn, load

import jaxnn as nn

transfer = load("transfer")


@pytest.mark.slow
def test_what_was_learned_helps_where_there_is_little(offline, tmp_path, capsys):
    result = transfer.main(["--small", "--out", str(tmp_path)])
    assert result["frozen body, 20"] > result["from nothing, 20"]
    assert drawn(tmp_path / "transfer.png")
    lines = capsys.readouterr().out.strip().splitlines()
    assert lines[-1].startswith("accuracy with 20 and with 100 pictures: from nothing")


def test_as_many_pictures_of_each_class_are_drawn():
    labels = np.arange(500) % 5
    rows = transfer.few(labels, 50, 1)
    assert np.bincount(labels[rows]).tolist() == [10] * 5
    assert len(np.unique(rows)) == 50
    assert not np.array_equal(rows, transfer.few(labels, 50, 2))


def test_the_classes_are_halved_and_counted_anew():
    (first, _), (second, _) = transfer.load(small=True)
    for images, labels in (first, second):
        assert set(np.unique(labels)) == {*range(5)} and len(images) == len(labels)


@pytest.mark.parametrize(
    "way, moves", [("rates by depth", True), ("frozen body", False)]
)
def test_what_is_frozen_stays(way, moves, key):
    net = transfer.network(nn.models.cifar_resnet(8, width=4)[:-1])
    assert transfer.stages_of(net) == ["body/stage1", "body/stage2", "body/stage3"]
    data = np.ones((4, 8, 8, 3), np.float32), np.arange(4)
    optimizer = transfer.optimizer_of(net, way, 10)
    before = nn.train_state(net, optimizer, data[0], key=key)
    after, _ = nn.train_step(net, transfer.loss, optimizer)(before, data)
    for part, own in before.params["body"].items():
        same = [
            np.array_equal(a, b)
            for a, b in zip(
                jax.tree.leaves(own),
                jax.tree.leaves(after.params["body"][part]),
                strict=True,
            )
        ]
        assert all(same) is not moves
    assert (after.params["head"]["w"] != before.params["head"]["w"]).any()
