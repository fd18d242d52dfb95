"""Episodes as pictures."""

import jax
import jax.numpy as jnp
import pytest
from matplotlib.figure import Figure

import jaxnn as nn

KEY = jax.random.key(0)


class Turned(nn.rl.MountainCar):
    """A kind of an environment that is drawn like it."""


class Own(nn.rl.Environment):
    actions = nn.rl.Discrete(2)

    def start(self, key):
        return jnp.zeros(())

    def move(self, place, action, key):
        return place, 0.0, False

    def observe(self, place):
        return place[None]

    def draw(self, place, axis):
        axis.plot([0, 1], [0, float(place)])


class Hidden(nn.rl.Environment):
    actions = nn.rl.Discrete(2)

    def start(self, key):
        return jnp.zeros(())

    def observe(self, place):
        return place[None]


@pytest.mark.parametrize(
    "env",
    [
        *(nn.rl.CartPole(), nn.rl.MountainCar(), nn.rl.MountainCarContinuous()),
        *(nn.rl.Acrobot(), nn.rl.Pendulum(), nn.rl.Arm(), nn.rl.Track()),
        *(nn.rl.GridWorld(), Turned(), Own()),
    ],
    ids=lambda env: type(env).__name__,
)
def test_every_environment_is_drawn(env):
    axis = Figure().subplots()
    nn.rl.draw(env, env.reset(KEY)[0], axis)
    assert axis.lines


def test_a_film_has_a_frame_for_each_step(tmp_path):
    from PIL import Image

    env = nn.rl.Pendulum()
    states, _ = nn.rl.rollout(env, lambda o: jnp.ones(1), KEY, 4)
    path = nn.rl.animate(env, states, tmp_path / "films" / "episode.gif", fps=10)
    with Image.open(path) as film:
        assert film.n_frames == 4 and film.info["duration"] == 100


def test_errors(tmp_path):
    with pytest.raises(TypeError, match="must have a method draw"):
        nn.rl.draw(Hidden(), Hidden().reset(KEY)[0], Figure().subplots())
    states, _ = nn.rl.rollout(nn.rl.CartPole(), lambda o: 1, KEY, 2)
    with pytest.raises(ValueError, match="fps must be"):
        nn.rl.animate(nn.rl.CartPole(), states, tmp_path / "a.gif", fps=0)
