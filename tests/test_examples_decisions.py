"""The examples of decisions: they run in a small form, learn and draw."""

import json
import runpy
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from example import drawn, load

import jaxnn as nn

BENCHMARK = Path(__file__).parents[1] / "benchmarks" / "train_agents.py"


@pytest.fixture
def run(tmp_path, capsys):
    """Run an example; its numbers, pictures and what it said."""

    def run(name, *options):
        numbers = load(name).main(["--out", str(tmp_path), *options])
        pictures = {path.stem for path in tmp_path.glob("*.png") if drawn(path)}
        pictures |= {path.stem for path in tmp_path.glob("*.gif") if frames(path) > 5}
        return numbers, pictures, capsys.readouterr().out.strip().splitlines()

    return run


def frames(path):
    from PIL import Image

    with Image.open(path) as film:
        return film.n_frames


@pytest.mark.slow
def test_two_agents_balance_a_pole(run):
    numbers, pictures, lines = run("cartpole", "--small")
    assert set(numbers) == {"DQN", "PPO"} and pictures == {"returns", "episode"}
    assert "runs reach 475 of 500" in lines[-1]


@pytest.mark.slow
def test_an_arm_reaches(run):
    numbers, pictures, lines = run("arm", "--small", "--iterations", "10")
    assert 0 <= numbers["reached"] <= 1
    assert pictures == {"learning_curves", "paths", "episodes"}
    assert "of fresh targets reached" in lines[-1]


@pytest.mark.slow
def test_a_car_is_driven_by_its_picture(run):
    numbers, pictures, lines = run("drive", "--small")
    assert set(numbers) == {"cloning", "corrected"}
    assert pictures == {"roads", "saliency", "lap"}
    assert "unseen tracks" in lines[-1]


@pytest.mark.slow
def test_a_car_too_weak_for_its_hill(run):
    numbers, pictures, _ = run("mountain_car", "--small")
    assert set(numbers) == {"DQN", "DQN with a bonus", "PPO"}
    assert all(-200 <= mean < 0 for mean in numbers.values())
    assert pictures == {"paths", "episode"}


@pytest.mark.slow
def test_tic_tac_toe_is_learned_from_nothing(run):
    numbers, pictures, lines = run("tictactoe", "--small")
    assert numbers["optimal"] > 0.85 and "4,520 positions" in lines[0]
    assert pictures == {"learning_curves", "optimal"}


def test_the_perfect_player_loses_to_nobody():
    example, game = load("tictactoe"), nn.rl.TicTacToe()
    table = example.solve()
    assert len(table) == 4520 and max(table[(0,) * 9].values()) == 0
    best, anyone = example.perfect(table), nn.rl.random_player(game)
    key = jax.random.key(0)
    assert nn.rl.match(game, best, anyone, key, 100).min() == 0
    assert nn.rl.match(game, anyone, best, key, 100).max() == 0
    assert example.optimal(best, table) == 1.0
    assert not nn.rl.match(game, best, best, key, 50).any()


@pytest.mark.slow
def test_connect_four_is_learned_from_nothing(run):
    options = ("--minutes", "0.1", "--games", "5", "--rollouts", "8")
    numbers, pictures, lines = run("connect_four", "--small", *options)
    assert numbers["random"] > 0.4 and pictures == {"learning_curves", "strength"}
    assert "of the points against chance" in lines[-1]


def test_the_kept_network_plays_connect_four(monkeypatch, capsys):
    answers = iter(["3", "3", ""])
    monkeypatch.setattr("builtins.input", lambda text: next(answers))
    example = load("connect_four")
    assert example.KEPT.stat().st_size < 2e6
    assert example.main(["--play"]) == {"won": -1.0}
    assert "I play" in capsys.readouterr().out


@pytest.mark.slow
def test_a_shop_is_kept_by_search_between_greed_and_the_optimum(run):
    with jax.numpy_dtype_promotion("standard"), jax.numpy_rank_promotion("allow"):
        # (mctx needs both)
        numbers, pictures, _ = run("decide", "--small")
    assert numbers["greedy"] < numbers["search"] < numbers["optimum"] + 3
    assert pictures == {"orders"}


def test_the_shops_optimum_is_that_of_every_way_to_decide(monkeypatch):
    """With two days and little room, all rules can be tried."""
    example = load("decide")
    monkeypatch.setattr(example, "DAYS", 2)
    monkeypatch.setattr(example, "ROOM", 3)
    q, _ = example.exact()
    order, rest = np.meshgrid(np.arange(4), np.arange(len(example.SHARES)))
    today, left = example.profit(0, jnp.asarray(order), jnp.asarray(rest))
    last = q[1].max(1)[np.asarray(left)]
    expected = (example.SHARES[:, None] * (np.asarray(today) + last)).sum(0)
    np.testing.assert_allclose(q[0, 0], expected, rtol=1e-6)


@pytest.mark.slow
def test_the_benchmark_of_agents_has_a_row_for_each(tmp_path, monkeypatch, capsys):
    pytest.importorskip("torch")
    pytest.importorskip("gymnasium")
    arguments = [str(BENCHMARK), "--small", "--rounds", "1", "--out", str(tmp_path)]
    monkeypatch.setattr(sys, "argv", arguments)
    monkeypatch.syspath_prepend(str(BENCHMARK.parent))
    runpy.run_path(str(BENCHMARK), run_name="__main__")
    report = json.loads((tmp_path / "train_agents.json").read_text())
    rows = {(r["kind"], r["name"]) for r in report["results"]}
    assert rows == {(k, n) for k in ("dqn", "ppo") for n in ("jaxnn", "torch", "jax")}
    assert all(r["speed"] > 0 and r["return"] > 5 for r in report["results"])
    assert [r["seeds"] for r in report["seeds"]] == [1, 2, 1, 2]
    assert "steps a second" in capsys.readouterr().out


def test_the_solver_is_brute_force_on_small_boards(monkeypatch):
    monkeypatch.syspath_prepend(str(BENCHMARK.parent))
    from connect_four_solver import Solver, late_positions

    game = nn.rl.ConnectFour(4, 4)
    solver, memory = Solver(4, 4), {}
    play, moves = jax.jit(game.play), jax.jit(game.moves)
    outcome = jax.jit(game.outcome)

    def worth(position):
        name = np.asarray(position.stones).tobytes()
        if name not in memory:
            legal = np.flatnonzero(moves(position)).tolist()
            if not legal:
                return int(outcome(position)) * int(position.turn)
            memory[name] = max(-worth(play(position, m)) for m in legal)
        return memory[name]

    for position in late_positions(game, 12, 9, 0):
        found = solver.values(*solver.bits(position.stones, int(position.turn)))
        legal = np.flatnonzero(moves(position)).tolist()
        assert found == {m: -worth(play(position, m)) for m in sorted(found)}
        assert sorted(found) == legal
