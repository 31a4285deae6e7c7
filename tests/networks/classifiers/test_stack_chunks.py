"""Chunks in several processes give what one process gives, and leave nothing behind."""

from dataclasses import dataclass

import pytest
import torch

from nn_graphs import workers
from nn_graphs.networks.classifiers import stack_chunks
from nn_graphs.networks.classifiers.stack_chunks import Chunk, train_chunks
from nn_graphs.networks.classifiers.train_stack import Plan, Recipe
from tests.networks.classifiers.stacks import SmallStack, make_data, make_stack

pytestmark = pytest.mark.usefixtures("one_thread")


@dataclass(frozen=True)
class MakeChunk:
    def __call__(self, number: int) -> Chunk:
        params, buffers = make_stack(number + 1)
        recipes = tuple(Recipe(seed=number) for _ in params)
        return Chunk(SmallStack(), params, buffers, recipes)


def train(folder, *, num_workers: int) -> dict[int, torch.Tensor]:
    found = {}

    def on_done(number, checkpoints):
        found[number] = checkpoints[-1].params

    plan = Plan(2, 8, is_compiled=False, save_seconds=0.0)
    sizes = {number: number + 1 for number in range(3)}
    train_chunks(
        MakeChunk(), sizes, make_data(), plan,
        folder=folder, on_done=on_done, num_workers=num_workers,
    )  # fmt: skip
    assert not list(folder.iterdir())
    return found


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_processes_give_what_one_gives(tmp_path, monkeypatch, method):
    monkeypatch.setattr(workers, "start_method", lambda: method)
    one, two = (train(tmp_path / f"{number}", num_workers=number) for number in (1, 2))
    assert sorted(one) == sorted(two) == [0, 1, 2]
    assert all(torch.equal(one[number], two[number]) for number in one)


@pytest.mark.parametrize(("is_compiled", "expected"), [(False, 3), (True, 1)])
def test_a_process_pays_sooner_where_nothing_is_compiled(
    tmp_path, monkeypatch, is_compiled, expected
):
    asked = []
    monkeypatch.setattr(workers, "num_cores", lambda: 8)
    monkeypatch.setattr(
        stack_chunks, "work_off", lambda *args, num_workers, on_done: asked.append(num_workers)
    )
    plan = Plan(2, 8, is_compiled=is_compiled)
    train_chunks(
        MakeChunk(), {0: 1, 1: 2, 2: 3}, make_data(), plan,
        folder=tmp_path, on_done=lambda number, kept: None,
    )  # fmt: skip
    assert asked == [expected]
