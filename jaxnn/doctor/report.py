# SPDX-License-Identifier: Apache-2.0
"""The doctor's report: findings as data, and as plain text to read."""

import textwrap
from collections.abc import Iterable
from typing import Any, NamedTuple

from jaxnn.doctor.recipe import ILLNESSES
from jaxnn.messages.phrases import nearest

#: Below this likelihood a finding is only possible and does not explain others.
SURE = 0.5
#: How likely, in words, from each lower bound up.
WORDS = {0.85: "very likely", 0.6: "likely", 0.0: "possible"}
WIDTH = 80
RATE = "learning rate too large"


class Finding(NamedTuple):
    """One thing that is wrong with a run.

    Attributes:
        name: a key of `jaxnn.doctor.recipe.ILLNESSES`.
        likelihood: how likely it is, 0 to 1.
        words: the evidence in words.
        evidence: the numbers in it, by name.
        remedy: the recipe's remedies, most helpful first.
        cause: the finding that caused this one, or None.
    """

    name: str
    likelihood: float
    words: str
    evidence: dict[str, Any]
    remedy: str
    cause: str | None = None


def finding(name: str, likelihood: float, words: str, **evidence: Any) -> Finding:
    """A finding with the recipe's remedy."""
    remedy = ILLNESSES[name].remedy
    return Finding(name, round(min(likelihood, 1.0), 2), words, evidence, remedy)


class Report(NamedTuple):
    """What `nn.diagnose` found; print it.

    Attributes:
        findings: most likely first, causes before their effects.
        summary: what was examined, line by line.
        skipped: what could not be examined, and why.

    `report["overfitting"]` is the finding of that name, or None.
    """

    findings: tuple[Finding, ...]
    summary: tuple[str, ...]
    skipped: tuple[str, ...] = ()

    @property
    def healthy(self) -> bool:
        """Whether no problem was found."""
        return not self.findings

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the findings, in order."""
        return tuple(f.name for f in self.findings)

    def __getitem__(self, name: Any) -> Any:
        if not isinstance(name, str):
            return tuple(self)[name]
        if name not in ILLNESSES:
            raise KeyError(
                f"report: the doctor knows no {name!r}{nearest(name, ILLNESSES)}; it "
                f"knows {', '.join(ILLNESSES)}"
            )
        return next((f for f in self.findings if f.name == name), None)

    def __str__(self) -> str:
        lines = [*self.summary, ""]
        if self.healthy:
            lines.append("healthy: nothing wrong was found")
        for number, found in enumerate(self.findings, 1):
            lines += _entry(number, found)
        if self.skipped:
            lines += ["", *_field("not told: ", "; ".join(self.skipped))]
        return "\n".join(lines)

    def __repr__(self) -> str:
        return str(self)


def ordered(found: Iterable[Finding]) -> tuple[Finding, ...]:
    """Sort findings, most likely first; those explained by others come last."""
    found = sorted(found, key=_rank)
    explained = [f._replace(cause=_cause(f, found)) for f in found]
    return tuple(sorted(explained, key=lambda f: (f.cause is not None, *_rank(f))))


def _rank(found: Finding) -> tuple:
    """Sort key: most likely first; ties in the order of the recipe."""
    return -found.likelihood, list(ILLNESSES).index(found.name)


def _cause(finding: Finding, found: list[Finding]) -> str | None:
    """The most likely finding that explains this one, preferably a root cause."""
    why = [f for f in found if f.likelihood >= SURE and _explains(f, finding)]
    roots = [f for f in why if not any(_explains(g, f) for g in found)]
    return next((f.name for f in (*roots, *why)), None)


def _explains(cause: Finding, effect: Finding) -> bool:
    """Whether one finding causes the other.

    What was already present before the first step is not an effect of the learning
    rate, and what was not present then does not make the rate too large.
    """
    if effect.name not in ILLNESSES[cause.name].causes:
        return False
    if cause.name == RATE:
        return not effect.evidence.get("at_start", False)
    return effect.name != RATE or cause.evidence.get("at_start", True)


def _entry(number: int, found: Finding) -> list[str]:
    """A finding as a few aligned lines."""
    how = next(word for bound, word in WORDS.items() if found.likelihood >= bound)
    if found.cause:
        how = f"follows from: {found.cause}"
    lines = [f"{number}. {found.name} ({how})"]
    lines += _field("   evidence: ", found.words)
    if not found.cause:
        lines += _field("   remedy:   ", found.remedy)
    return lines


def _field(label: str, text: str) -> list[str]:
    indent = " " * len(label)
    return textwrap.wrap(text, WIDTH, initial_indent=label, subsequent_indent=indent)
