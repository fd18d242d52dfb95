# SPDX-License-Identifier: Apache-2.0
"""Rooms: any number of examples in arrays of few lengths."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxnn.train import rooms


@pytest.mark.parametrize(
    ("examples", "batch_size", "size", "room"),
    [
        (1, 256, 1, 1),
        (5, 256, 8, 8),
        (100, 100, 100, 100),
        (99, 100, 100, 100),
        (129, 256, 256, 256),
        (257, 256, 256, 512),
        (900, 100, 100, 1000),
        (6700, 100, 100, 8000),
    ],
)
def test_a_room_is_a_rounded_number_of_batches(examples, batch_size, size, room):
    x = np.arange(2 * examples).reshape(examples, 2)
    made = rooms.enter({"x": x}, batch_size, "x")
    assert (made.examples, made.batch_size) == (examples, size)
    assert made.data["x"].shape == (room, 2)
    rows = np.asarray(made.data["x"])
    np.testing.assert_array_equal(rows[:examples], x)
    assert (rows[examples:] == x[-1]).all()


def test_rooms_are_few_and_not_much_larger_than_what_is_in_them():
    found = {n: rooms.enter(np.zeros(n, np.int8), 8, "x") for n in range(8, 3000, 7)}
    assert all(n <= len(room.data) < 1.25 * n + 8 for n, room in found.items())
    assert len({len(room.data) for room in found.values()}) <= 8 + 4 * 6


def test_what_was_given_is_left_as_it_is():
    x = np.ones((5, 2), np.float32)
    made = rooms.enter(x, 8, "x")
    x[:] = 7
    assert made.data.shape == (8, 2) and (made.data == 1).all()


def test_the_first_rows_come_out():
    y = jnp.arange(16.0).reshape(8, 2)
    assert rooms.first_rows(y, 8) is y
    np.testing.assert_array_equal(rooms.first_rows(y, 5), y[:5])
    there = jax.device_put(y, jax.devices()[0])
    for a in (y, there):  # tied to its device, or not, as it was
        assert rooms.first_rows(a, 5).committed == a.committed


def test_on_an_accelerator_small_programs_do_it_and_few_are_kept(monkeypatch):
    monkeypatch.setattr(rooms, "_is_host", lambda a: False)
    monkeypatch.setattr(rooms, "MOST_PROGRAMS", 2)
    for n in (5, 6, 7, 9, 11):
        x = jnp.arange(2.0 * n).reshape(n, 2)
        made = rooms.enter(x, 32, "x")
        assert made.data.shape == (rooms.power_of_two(n), 2)
        assert (np.asarray(made.data)[n - 1 :] == np.asarray(x)[-1]).all()
        np.testing.assert_array_equal(rooms.first_rows(made.data, n), x)
    assert rooms._filled._cache_size() <= 3 and rooms._cut._cache_size() <= 3
