"""Memory kept between the calls of a compiled program."""

import platform
import subprocess
import sys

import pytest

import jaxnn as nn

PROGRAM = """
import resource
import jax, jax.numpy as jnp, numpy as np
import jaxnn as nn
if {keep}:
    assert nn.keep_memory() and nn.keep_memory()
temporary = jax.jit(lambda x: jnp.cumsum(jnp.outer(x, x), 0)[-1])
x = jnp.ones(2048)  # 16 MB of temporaries
def faults():
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(3):
    temporary(x).block_until_ready()
counts = []
for _ in range(11):
    before = faults()
    y = temporary(x).block_until_ready()
    counts.append(faults() - before)
print(sorted(counts)[5], float(y[0]))
"""


def faults_and_value(keep):
    """The faults of a usual call: on a busy machine a thread may free memory late, and
    the heap grows once more.
    """
    command = [sys.executable, "-c", PROGRAM.format(keep=keep)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    count, value = done.stdout.split()
    return int(count), float(value)


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="needs glibc")
def test_a_program_finds_its_memory_again():
    count, value = faults_and_value(keep=True)
    without, same = faults_and_value(keep=False)
    assert value == same == 2048
    assert without > 1_000  # 4,096 pages of 4 KB each time
    assert count < 100


def test_it_is_refused_once_there_are_arrays(key):
    with pytest.raises(RuntimeError, match="keep_memory: must be called before"):
        nn.keep_memory()
