# SPDX-License-Identifier: Apache-2.0
"""Figures: written to a path, or shown where there is a window, once."""

import sys
from types import SimpleNamespace

import matplotlib
import pytest
from matplotlib import pyplot
from matplotlib.backend_bases import FigureManagerBase
from matplotlib.backends.backend_agg import FigureCanvasAgg

import jaxnn as nn
from jaxnn.files import figures


@pytest.fixture
def history():
    record = nn.History()
    record.add(1, {"loss": 0.5, "val_loss": 0.6})
    record.add(2, {"loss": 0.4, "val_loss": 0.5})
    return record


@pytest.fixture
def shown(monkeypatch):
    """The figures that a backend with windows shows, as one of a desktop would."""
    found = []

    class Manager(FigureManagerBase):
        @classmethod
        def pyplot_show(cls, *, block=None):
            for number in pyplot.get_fignums():
                found.append(pyplot.figure(number))
                pyplot.close(number)

    class Canvas(FigureCanvasAgg):
        required_interactive_framework = "test"
        manager_class = Manager

    backend = SimpleNamespace(FigureCanvas=Canvas, __name__="windows")
    monkeypatch.setitem(sys.modules, "windows", backend)
    monkeypatch.setattr(
        "matplotlib.cbook._get_running_interactive_framework", lambda: None
    )
    before = matplotlib.get_backend()
    pyplot.switch_backend("module://windows")
    yield found
    pyplot.switch_backend(before)


def test_a_script_with_a_window_shows_the_figure_once(history, shown):
    figure = history.plot()
    assert shown == [figure] and pyplot.get_fignums() == []


def test_a_figure_with_a_path_is_written_and_not_shown(history, shown, tmp_path):
    history.plot(tmp_path / "deep" / "curves.png")
    assert (tmp_path / "deep" / "curves.png").exists()
    assert shown == [] and pyplot.get_fignums() == []


def test_without_windows_a_figure_is_returned_and_none_is_left_open(history):
    assert history.plot().axes and pyplot.get_fignums() == []


def test_a_backend_that_cannot_be_opened_is_no_error(history, monkeypatch):
    def refuse():
        raise ImportError("Cannot load backend 'TkAgg'")

    monkeypatch.setattr(pyplot, "figure", refuse)
    assert history.plot().axes


def test_a_notebook_shows_what_its_cell_returns_and_nothing_else(history, monkeypatch):
    monkeypatch.setattr(figures, "in_notebook", lambda: True)
    monkeypatch.setattr(pyplot, "show", lambda: pytest.fail("shown twice"))
    figure = history.plot()
    assert figure.axes and pyplot.get_fignums() == []
