# SPDX-License-Identifier: Apache-2.0
"""Diffusion models and flow matching: learn to remove noise, then sample from it.

A model is a network with inputs `(x, t)` or `(x, t, condition)`, or a function of
these. t is `[N]`, from 0, data, to 1, noise. There are two ways from one to the other:

    flow      x_t = (1 − t) x + t ε            flow_objective()        euler, heun
    Schedule  x_t = √ᾱ_t x + √(1 − ᾱ_t) ε      noise_objective(...)    ddpm, ddim
                                               velocity_objective(...)

The objectives are those of `nn.fit(net, x, objective=...)`, or `(x, condition)`. The
samplers take a network with its variables, as `nn.predict` does, and are each one
compiled program.

>>> import jax, jax.numpy as jnp, optax, jaxnn as nn
>>> class Velocity(nn.Composite):
...     body: nn.Layer = nn.Sequential(nn.Dense(16), jax.nn.silu, nn.Dense(2))
...     def forward(self, run, inputs):
...         x, t = inputs
...         return run("body", jnp.concatenate([x, t[:, None]], axis=1))
>>> x = jax.random.normal(jax.random.key(1), (64, 2)) + 3
>>> state, history = nn.fit(
...     Velocity(), x, objective=nn.diffusion.flow_objective(), epochs=2, batch_size=32,
...     optimizer=optax.adam(1e-3), key=jax.random.key(0), progress=False,
... )
>>> made = nn.diffusion.heun(
...     Velocity(), state, (16, 2), steps=8, key=jax.random.key(2)
... )
>>> made.shape
(16, 2)
"""

from jaxnn.diffusion.denoising import ddim as ddim
from jaxnn.diffusion.denoising import ddpm as ddpm
from jaxnn.diffusion.flows import euler as euler
from jaxnn.diffusion.flows import heun as heun
from jaxnn.diffusion.objectives import flow_loss as flow_loss
from jaxnn.diffusion.objectives import flow_objective as flow_objective
from jaxnn.diffusion.objectives import noise_loss as noise_loss
from jaxnn.diffusion.objectives import noise_objective as noise_objective
from jaxnn.diffusion.objectives import velocity_loss as velocity_loss
from jaxnn.diffusion.objectives import velocity_objective as velocity_objective
from jaxnn.diffusion.schedules import Flow as Flow
from jaxnn.diffusion.schedules import Schedule as Schedule
from jaxnn.diffusion.schedules import cosine_betas as cosine_betas
from jaxnn.diffusion.schedules import cosine_schedule as cosine_schedule
from jaxnn.diffusion.schedules import flow as flow
from jaxnn.diffusion.schedules import linear_betas as linear_betas
from jaxnn.diffusion.schedules import linear_schedule as linear_schedule
from jaxnn.diffusion.schedules import noised as noised
from jaxnn.messages import public

public.show(__name__)
