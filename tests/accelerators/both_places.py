"""What a device computes, beside what the CPU does."""

import copy
from collections.abc import Callable, Iterable
from dataclasses import fields, is_dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch_geometric.data import Data

from nn_graphs.graphs.graph_template import GraphTemplate

SAME = {"rtol": 1e-9, "atol": 1e-9}


def there(value: Any, device: torch.device) -> Any:
    """A copy of tensors, modules and graphs on a device; anything else as it is."""
    if isinstance(value, list | tuple):
        return type(value)(there(each, device) for each in value)
    if isinstance(value, nn.Module | Data):
        return copy.deepcopy(value).to(device)
    return value.to(device) if hasattr(value, "to") else value


def tensors_of(value: Any) -> Iterable[Tensor]:
    """All tensors in lists, dictionaries and dataclasses, of graphs their features."""
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, Data):
        yield from (value.node_features, value.edge_features)
    elif isinstance(value, dict):
        yield from tensors_of(list(value.values()))
    elif isinstance(value, list | tuple):
        for each in value:
            yield from tensors_of(each)
    elif is_dataclass(value) and not isinstance(value, GraphTemplate):
        yield from tensors_of([getattr(value, one.name) for one in fields(value)])


def assert_same_there(function: Callable, device: torch.device, *args: Any) -> None:
    """`function(*args)` of arguments on the device is there, with the values of the CPU."""
    torch.manual_seed(0)
    expected = [*tensors_of(function(*there(args, torch.device("cpu"))))]
    torch.manual_seed(0)
    found = [*tensors_of(function(*there(args, device)))]
    assert expected
    assert {value.device for value in found} == {device}
    torch.testing.assert_close([value.cpu() for value in found], expected, **SAME)


def outputs_and_gradients(model: nn.Module, graphs: Any) -> list[Tensor]:
    """Outputs, and the gradient of the sum of their squares by each parameter that has one."""
    model.zero_grad()
    outputs = [*tensors_of(model(graphs))]
    sum(value.square().sum() for value in outputs).backward()
    return outputs + [p.grad for p in model.parameters() if p.grad is not None]
