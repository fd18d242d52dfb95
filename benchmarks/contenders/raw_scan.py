# SPDX-License-Identifier: Apache-2.0
"""Raw JAX: a whole epoch as one `lax.scan`, written by hand."""

from functools import partial

import jax

from contenders import raw_step


@partial(jax.jit, static_argnames="rate", donate_argnames="params")
def scan_epoch(params, images, labels, order, rate):
    """An epoch over the data in an order `[steps, batch size]`."""

    def body(params, rows):
        return raw_step.descend(rate, params, images[rows], labels[rows])

    params, losses = jax.lax.scan(body, params, order)
    return params, losses.mean()


class Contender(raw_step.Contender):
    """Only the epoch's order goes to the device, only its loss comes back."""

    title = "a scan an epoch"

    def epoch(self):
        order = next(self.orders)
        self.params, loss = jax.block_until_ready(
            scan_epoch(self.params, *self.data, order, self.task.learning_rate)
        )
        return float(loss)
