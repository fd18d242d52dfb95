# SPDX-License-Identifier: Apache-2.0
"""Raw JAX: a whole epoch as one `lax.scan`, written by hand."""

from functools import partial

import jax

from contenders import raw_step


@partial(jax.jit, static_argnames="rule", donate_argnames="carry")
def scan_epoch(carry, inputs, labels, order, rule):
    """An epoch over the data in an order `[steps, batch size]`."""

    def body(carry, rows):
        return raw_step.descend(rule, carry, inputs[rows], labels[rows])

    carry, losses = jax.lax.scan(body, carry, order)
    return carry, losses.mean()


class Contender(raw_step.Contender):
    """Only the epoch's order goes to the device, only its loss comes back."""

    title = "a scan an epoch"

    def epoch(self):
        self.carry, loss = jax.block_until_ready(
            scan_epoch(self.carry, *self.data, next(self.orders), self.rule)
        )
        return float(loss)
