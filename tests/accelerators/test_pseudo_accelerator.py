"""The pseudo-accelerator: what fails on a GPU fails on it, and what works there has its values."""

import copy
import io
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from nn_graphs.workers import start_method
from tests.accelerators.pseudo_accelerator import NAME, pseudo_accelerator


@pytest.fixture(autouse=True)
def accelerator():
    with pseudo_accelerator() as device:
        yield device


def ours(*shape: int) -> Tensor:
    return torch.arange(1.0, 1 + torch.Size(shape).numel(), device=NAME).reshape(shape)


FAULTS: dict[str, tuple[Callable[[], object], str]] = {
    "a sum": (lambda: ours(3) + torch.ones(3), "mixes devices"),
    "a number of ours with many of the CPU": (lambda: ours(1)[0] + torch.ones(3), "mixes devices"),
    "a product": (lambda: torch.ones(2, 3) @ ours(3, 2), "mixes devices"),
    "a number of the CPU as target": (lambda: torch.ones(()).add_(ours(1)[0]), "mixes devices"),
    "numbers in a stack": (lambda: torch.stack([ours(1)[0], torch.ones(())]), "mixes devices"),
    "indices of the CPU": (lambda: ours(3)[torch.tensor([0, 2])], "mixes devices"),
    "indices of ours": (lambda: torch.ones(3)[ours(2).long()], "mixes devices"),
    "a copy": (lambda: torch.ones(3).copy_(ours(3)), "without a word"),
    "a part that is set": (lambda: torch.ones(3).__setitem__(0, ours(1)), "without a word"),
    "a layer": (lambda: nn.Linear(3, 2)(ours(3)), "mixes devices"),
    "a loss": (lambda: nn.functional.cross_entropy(ours(2, 3), torch.zeros(2).long()), "mixes"),
    "draws": (lambda: torch.rand(3, generator=torch.Generator(), device=NAME), "generator"),
}


@pytest.mark.parametrize("name", FAULTS)
def test_faults(name):
    fault, message = FAULTS[name]
    with pytest.raises(RuntimeError, match=message):
        fault()


def test_no_array_of_numpy():
    with pytest.raises((RuntimeError, TypeError)):
        ours(3).numpy()


def test_values_are_those_of_the_cpu():
    values = torch.linspace(-1, 1, 12).reshape(3, 4)
    there = values.to(NAME)
    assert there.device == torch.device(NAME, 0)
    for function in (
        lambda x: x @ x.T + 2 * x[:, :1],
        lambda x: x.softmax(dim=1)[x.argmax(dim=0)],
        lambda x: torch.cat([x, torch.zeros_like(x)]).view(2, -1),
        lambda x: torch.linalg.eigh(x @ x.T)[0],
        lambda x: x[x > 0.3],
        lambda x: torch.func.vmap(lambda row: row.sin() * row.sum())(x),
        lambda x: nn.functional.scaled_dot_product_attention(x[None], x[None], x[None]),
    ):
        found = function(there)
        assert found.device == there.device
        assert torch.equal(found.cpu(), function(values))
    assert there.tolist() == values.tolist()
    assert there[0, 1].item() == values[0, 1].item()
    assert float(there.sum() * torch.tensor(2.0)) == float(values.sum() * 2)


def test_writing_in_place_goes_through_views():
    values, there = torch.zeros(3, 4), torch.zeros(3, 4, device=NAME)
    for each in (values, there):
        each[0] = 7
        each[:, 1] += 2
        each.t()[2].fill_(5)
        each.view(-1)[-1] = torch.tensor(1.0)
    assert torch.equal(there.cpu(), values)


def test_modules_are_trained_copied_and_saved():
    torch.manual_seed(0)
    modules = [nn.Sequential(nn.Linear(4, 3), nn.BatchNorm1d(3), nn.Tanh(), nn.Linear(3, 1))]
    modules.append(copy.deepcopy(modules[0]).to(NAME))
    inputs = torch.randn(5, 4)
    for module in modules:
        optimizer = torch.optim.AdamW(module.parameters(), amsgrad=True)
        module(inputs.to(module[0].weight.device)).square().mean().backward()
        nn.utils.clip_grad_norm_(module.parameters(), 0.1)
        optimizer.step()
    for here, there in zip(*(module.state_dict().values() for module in modules), strict=True):
        assert there.device.type == NAME
        assert torch.equal(there.cpu(), here)
    assert copy.deepcopy(modules[1])[0].weight.device.type == NAME
    file = io.BytesIO()
    torch.save(modules[1].state_dict(), file)
    for place, expected in ((None, NAME), ("cpu", "cpu")):
        file.seek(0)
        read = torch.load(file, map_location=place, weights_only=True)
        assert {value.device.type for value in read.values()} == {expected}


def test_generators_are_of_a_device():
    generator = torch.Generator(NAME).manual_seed(3)
    assert isinstance(generator, torch.Generator)
    assert generator.device == torch.device(NAME, 0)
    drawn = torch.rand(4, generator=generator, device=NAME)
    assert torch.equal(drawn.cpu(), torch.rand(4, generator=torch.Generator().manual_seed(3)))


def test_processes_are_not_forked_where_there_is_an_accelerator():
    assert torch.accelerator.is_available()
    assert start_method() == "spawn"
