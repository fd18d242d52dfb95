# SPDX-License-Identifier: Apache-2.0
"""What all examples have in common; `test_examples_*.py` test what each does."""

import pytest
from example import EXAMPLES, load

NAMES = [
    p.stem for p in sorted(EXAMPLES.glob("*.py")) if "def main(" in p.read_text("utf8")
]


@pytest.mark.parametrize("name", NAMES)
def test_help_explains_the_example(name, capsys):
    if name == "optuna_search":
        pytest.importorskip("optuna")
    example = load(name)
    with pytest.raises(SystemExit) as end:
        example.main(["--help"])
    assert end.value.code == 0
    said = capsys.readouterr().out
    assert example.__doc__.splitlines()[0] in said
    assert all(flag in said for flag in ("--small", "--out", "--seed"))
