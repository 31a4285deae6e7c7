"""Interrupting the making of a zoo of stacks, and comparing what comes of it."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import pandas as pd
import pytest
import torch

from nn_graphs.networks.classifiers import stack_chunks
from nn_graphs.networks.classifiers.train_stack import Plan
from nn_graphs.zoos.makers import stacked_zoos
from nn_graphs.zoos.makers.shards import Shards
from nn_graphs.zoos.zoo import Zoo


@contextmanager
def third_stack_interrupted(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Lets two stacks pass, and expects the third to stop after an epoch, its state kept."""
    begun, train = [], stack_chunks.train_classifiers

    def interrupted(*args, progress, **options):
        begun.append(options["state_file"])
        if len(begun) == 3:
            progress = Interrupting()
        return train(*args, progress=progress, **options)

    with monkeypatch.context() as patch:
        patch.setattr(stack_chunks, "train_classifiers", interrupted)
        patch.setattr(stacked_zoos, "Plan", partial(Plan, save_seconds=0.0))
        with pytest.raises(KeyboardInterrupt):
            yield
    assert begun[2].exists()


class Interrupting:
    """Progress that stops in the second epoch."""

    def __init__(self):
        self.calls = 0

    def advance(self, steps, figures=None):
        self.calls += bool(figures)
        if self.calls == 2:
            raise KeyboardInterrupt


def watch_parts(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """A list of the parts that are written from now on."""
    written, write = [], Shards.write
    monkeypatch.setattr(
        Shards,
        "write",
        lambda self, start, arrays: (written.append(start), write(self, start, arrays)),
    )
    return written


def assert_goes_on_bit_for_bit(
    make: Callable[[Path], Zoo], path: Path, expected: Zoo, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A zoo that is interrupted in its third stack ends as one of one run, and leaves no parts."""
    with third_stack_interrupted(monkeypatch):
        make(path)
    written = watch_parts(monkeypatch)
    resumed = make(path)
    assert written[0] == 2
    assert_equal(resumed, expected)
    assert list(path.parent.iterdir()) == [path]


def assert_equal(found: Zoo, expected: Zoo) -> None:
    assert found.specs == expected.specs
    assert all(map(torch.equal, found.params, expected.params))
    pd.testing.assert_frame_equal(found.table, expected.table, check_exact=True)
