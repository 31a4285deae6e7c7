"""The progress bar moves in a terminal, writes lines into a file, and is silent when told so."""

import io
import sys
from types import SimpleNamespace

import pytest

from nn_graphs.progress import progress_bar


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def shown(monkeypatch, stream: io.StringIO, *, setting: str | None = "1", steps: int = 4) -> str:
    """What a bar from 2 to 10 writes."""
    monkeypatch.setattr(sys, "stderr", stream)
    monkeypatch.setenv("NN_GRAPHS_PROGRESS", setting)
    with progress_bar(10, unit="fits", description="fitting", done=2) as bar:
        for step in range(steps):
            bar.advance(2, {"PSNR": f"{30 + step} dB"})
    return stream.getvalue()


def test_file_gets_lines(monkeypatch):
    text = shown(monkeypatch, io.StringIO())
    assert "\r" not in text
    first, last = text.splitlines()
    assert text.endswith("\n")
    assert first.startswith("fitting:  20%")
    assert "2/10" in first
    assert last.startswith("fitting: 100%")
    assert "10/10" in last
    assert "PSNR=33 dB" in last
    assert "fits/s" in last


def test_terminal_gets_a_moving_bar(monkeypatch):
    text = shown(monkeypatch, Terminal())
    assert text.count("\r") >= 2
    assert "10/10" in text.rsplit("\r", 1)[1]


def test_a_notebook_gets_a_moving_bar(monkeypatch):
    shell = SimpleNamespace(kernel=object())
    monkeypatch.setitem(sys.modules, "IPython", SimpleNamespace(get_ipython=lambda: shell))
    assert "\r" in shown(monkeypatch, io.StringIO())


def test_a_process_that_has_merely_imported_a_notebook_gets_lines(monkeypatch):
    monkeypatch.setitem(sys.modules, "IPython", SimpleNamespace(get_ipython=lambda: None))
    assert "\r" not in shown(monkeypatch, io.StringIO())


@pytest.mark.parametrize("stream", [io.StringIO(), Terminal()])
def test_silence(monkeypatch, stream):
    assert shown(monkeypatch, stream, setting="0") == ""


def test_bar_that_breaks_off_ends_its_line(monkeypatch):
    assert shown(monkeypatch, io.StringIO(), steps=1).splitlines()[-1].startswith("fitting:  40%")


def test_figures_without_a_step_are_shown_at_once_and_taken_away(monkeypatch):
    stream = io.StringIO()
    monkeypatch.setattr(sys, "stderr", stream)
    monkeypatch.setenv("NN_GRAPHS_PROGRESS", "1")
    with progress_bar(10, unit="fits", description="fitting") as bar:
        bar.advance(0, {"step": "compiling"})
        assert "0/10" in stream.getvalue().splitlines()[-1]
        assert "step=compiling" in stream.getvalue().splitlines()[-1]
        bar.advance(0, {})
        bar.advance(10)
    assert "10/10" in stream.getvalue().splitlines()[-1]
    assert "compiling" not in stream.getvalue().splitlines()[-1]
