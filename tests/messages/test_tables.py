"""Tables for terminals and notebooks."""

from xml.etree import ElementTree

from jaxnn.messages import tables


def test_cells_are_aligned():
    rows = [["name", "loss"], ["a", "0.25"], ["longer", "1"]]
    assert tables.text(rows, left=1).splitlines() == [
        "name    loss",
        "a       0.25",
        "longer     1",
    ]
    assert tables.text([]) == ""


def test_text_is_escaped_in_html():
    bad = "<script>&\"'"
    shown = tables.html(bad, [bad], [[bad], [bad]], bad)
    assert "<script>" not in shown
    texts = [t for t in ElementTree.fromstring(shown).itertext() if t]
    assert texts == [bad] * 5


def test_memory_has_a_unit():
    assert [tables.memory(n) for n in (0, 999, 1000, 2_500_000)] == [
        *("0 B", "999 B", "1.0 kB", "2.5 MB")
    ]
