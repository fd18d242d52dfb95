"""Games and tree search, against rules written out and exact play."""

import builtins
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxnn as nn
from jaxnn.rl.alphazero import Moves, values

KEY = jax.random.key(0)
GAME = nn.rl.TicTacToe()
FOUR = nn.rl.ConnectFour(rows=4, columns=5)


def won(board, length):
    """Who has a row of stones, by looking at every cell: 1, -1 or 0."""
    rows, columns = board.shape
    for r, c in np.ndindex(rows, columns):
        for down, right in ((0, 1), (1, 0), (1, 1), (1, -1)):
            cells = [(r + down * i, c + right * i) for i in range(length)]
            if all(0 <= a < rows and 0 <= b < columns for a, b in cells):
                if abs(total := sum(board[cell] for cell in cells)) == length:
                    return total // length
    return 0


@pytest.mark.parametrize("game", [GAME, FOUR, nn.rl.ConnectFour()], ids=repr)
def test_random_games_go_by_the_rules(game):
    play, moves = jax.jit(game.play), jax.jit(game.moves)
    outcome, draw = jax.jit(game.outcome), np.random.default_rng(0)
    for _ in range(12):
        position, board = game.start(), np.zeros((game.rows, game.columns), int)
        turn = 1
        for _ in range(game.longest + 1):
            legal = np.asarray(moves(position))
            result = won(board, game.in_row)
            assert float(outcome(position)) == result
            full = (board != 0).all()
            assert legal.any() == (not full and not result)
            if not legal.any():
                break
            if isinstance(game, nn.rl.ConnectFour):
                np.testing.assert_array_equal(legal, board[0] == 0)
            move = int(draw.choice(np.flatnonzero(legal)))
            if isinstance(game, nn.rl.ConnectFour):
                board[np.flatnonzero(board[:, move] == 0)[-1], move] = turn
            else:
                board[move // 3, move % 3] = turn
            position, turn = play(position, move), -turn
            np.testing.assert_array_equal(position.stones, board)
            seen = game.look(position)
            np.testing.assert_array_equal(seen[..., 0], board == turn)
            np.testing.assert_array_equal(seen[..., 1], board == -turn)
        assert not legal.any()


def test_an_illegal_move_is_an_error_or_changes_nothing():
    position = GAME.play(GAME.start(), 4)
    with pytest.raises(ValueError, match=r"one of \[0, 1, 2, 3, 5, 6, 7, 8\], got 4"):
        GAME.play(position, 4)
    for move in (4, 9, -1):
        after = jax.jit(GAME.play)(position, move)
        np.testing.assert_array_equal(after.stones, position.stones)
        assert after.turn == position.turn
    for move in (0, 1, 2, 7):
        position = GAME.play(position, move)
    position = GAME.play(position, 8) if GAME.moves(position)[8] else position
    end = functools.reduce(GAME.play, (0, 3, 1, 4, 2), GAME.start())
    with pytest.raises(ValueError, match="the game is over"):
        GAME.play(end, 8)


@pytest.mark.parametrize(
    ("call", "error", "words"),
    [
        (lambda: GAME.play(GAME.start(), 0.5), TypeError, "move must be one int"),
        (lambda: GAME.moves(3), TypeError, "position must be one that start"),
        (lambda: nn.rl.ConnectFour(rows=0), ValueError, "rows must be a positive"),
        (lambda: nn.rl.ConnectFour(3, 3), ValueError, "in_row must fit"),
        (lambda: nn.rl.search_player(GAME, -1), ValueError, "simulations must be"),
        (lambda: nn.rl.match(GAME, 3, 3, KEY, 1), TypeError, "first must be a player"),
        (lambda: nn.rl.random_player(3), TypeError, "game must be a game"),
    ],
)
def test_errors(call, error, words):
    with pytest.raises(error, match=words):
        call()


@pytest.mark.parametrize("game", [GAME, FOUR], ids=repr)
def test_a_position_from_another_side_has_its_moves_there(game):
    position = functools.reduce(game.play, (0, 1, 3), game.start())
    seen, moves = game.look(position), jnp.arange(float(game.actions))
    sides = game.symmetries(seen, moves)
    assert len(sides) == (8 if game is GAME else 2)
    assert len({a.tobytes() + b.tobytes() for a, b in map(np_pair, sides)}) == len(
        sides
    )
    for other, renamed in sides:
        stones = (other[..., 0] - other[..., 1]).astype(jnp.int8) * position.turn
        there = position._replace(stones=stones)
        for i in range(game.actions):
            if game.moves(there)[i]:
                move = int(renamed[i])  # of the board as it was
                after = game.look(game.play(position, move))
                looks = [np.asarray(a) for a, _ in game.symmetries(after, moves)]
                mine = np.asarray(game.look(game.play(there, i)))
                assert any((mine == look).all() for look in looks)


def np_pair(pair):
    return tuple(map(np.asarray, pair))


def test_values_are_how_each_game_ended_for_who_moved():
    # two games in a ring of five slots whose newest is slot 1
    turn = jnp.array([[1, -1], [-1, 1], [0, 0], [1, 1], [-1, -1]], jnp.int8)
    ended = jnp.array([[0, 1], [0, 0], [0, 0], [0, 0], [1, 0]], bool)
    outcome = jnp.array([[0, -1], [0, 0], [0, 0], [0, 0], [1, 0]], jnp.float32)
    moves = Moves(
        jnp.zeros((5, 2, 3, 3, 2)), jnp.zeros((5, 2, 9)), turn, ended, outcome
    )
    worth, known = values(moves, jnp.int32(1))
    assert known.tolist() == [[0, 1], [0, 0], [0, 0], [1, 1], [1, 1]]
    assert worth[3].tolist() == [1, -1] and worth[4].tolist() == [-1, 1]
    assert worth[0, 1] == 1


@pytest.mark.parametrize("judge", ["random games", "a network"])
def test_a_search_wins_and_prevents_loss(judge):
    net, params = None, None
    if judge == "a network":
        value = nn.Sequential(nn.Dense(1), jnp.tanh)
        net = nn.rl.ActorCritic(nn.Dense(9), value, body=nn.Flatten())
        params = net.init(KEY, GAME.look(GAME.start())[None])
    player = jax.jit(nn.rl.search_player(GAME, 64, net, params))
    win = functools.reduce(GAME.play, (0, 3, 1, 4), GAME.start())
    assert int(player(win, KEY)) == 2
    if net is not None:  # it does not know yet what comes of a threat
        return
    threat = functools.reduce(GAME.play, (0, 4, 1), GAME.start())
    assert int(player(threat, KEY)) == 2


def test_a_search_beats_chance_from_either_side():
    player, anyone = nn.rl.search_player(GAME, 32), nn.rl.random_player(GAME)
    first = nn.rl.match(GAME, player, anyone, KEY, 40)
    second = nn.rl.match(GAME, anyone, player, KEY, 40)
    assert first.mean() > 0.7 and second.mean() < -0.4
    fair = nn.rl.match(GAME, anyone, anyone, KEY, 500)
    assert 0.15 < float(fair.mean()) < 0.45  # who begins wins 58 %, the other 29 %


def test_a_person_plays_at_the_terminal():
    lines, answers = [], iter(["4", "4", "9", "x", "0", ""])
    won = nn.rl.play(
        *(GAME, nn.rl.random_player(GAME), KEY),
        ask=lambda text: lines.append(text) or next(answers),
        say=lines.append,
    )
    assert won == -1.0 and sum("not a move" in line for line in lines) >= 2
    assert any(line.startswith("I play") for line in lines)

    def follows(position, key):
        return jnp.flatnonzero(GAME.moves(position), size=1)[0]

    answers = iter("345")
    won = nn.rl.play(GAME, follows, KEY, ask=lambda _: next(answers), say=lines.append)
    assert won == 1.0 and lines[-1] == "You win"


def test_a_search_without_its_package_says_how_to_install_it(monkeypatch):
    real = builtins.__import__

    def absent(name, *args, **options):
        if name == "mctx":
            raise ImportError("No module named 'mctx'")
        return real(name, *args, **options)

    monkeypatch.setattr(builtins, "__import__", absent)
    with pytest.raises(ImportError, match=r"search_player needs mctx .*pip install"):
        nn.rl.search_player(GAME, 8)
