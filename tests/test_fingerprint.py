"""Fingerprints tell contents apart, whatever they look like, and are the same in any process."""

import torch
from torch import nn

from nn_graphs.fingerprint import describe_module, fingerprint, settings_of
from tests.processes import start_program


def test_contents_types_shapes_and_order_count():
    values = torch.arange(6.0)
    different = [
        [values],
        [values + torch.tensor([0.0, 0, 0, 0, 0, 1e-6])],
        [values.double()],
        [values.view(2, 3)],
        [values[:3], values[3:]],
        [values[3:], values[:3]],
        [values.int()],
        [values.bfloat16()],
        [torch.tensor(True)],
        [torch.zeros(0)],
        ["values"],
        ["val", "ues"],
        ["ues", "val"],
        [],
    ]
    assert len({fingerprint(parts) for parts in different}) == len(different)
    assert fingerprint([values.view(3, 2).t()]) == fingerprint([values.view(3, 2).t().contiguous()])
    assert len(fingerprint([])) == 16


CODE = """
import torch
from torch import nn
from nn_graphs.fingerprint import describe_module, fingerprint
print(fingerprint(["text", torch.arange(3), describe_module(nn.Sequential(nn.Dropout(0.5)))]))
"""


def test_another_process_finds_the_same():
    said = start_program(CODE).communicate()
    module = nn.Sequential(nn.Dropout(0.5))
    here = fingerprint(["text", torch.arange(3), describe_module(module)])
    assert said.strip() == here


class Module(nn.Module):
    """A module that shows where in memory a function of it lies, but not its share."""

    def __init__(self, *, share: float):
        super().__init__()
        self.share, self._cache, self.fn = share, 3, lambda: None
        self.inner = nn.Linear(2, 2)

    def extra_repr(self) -> str:
        return f"{self.fn}"


def test_modules_by_their_settings_alone():
    one, other = Module(share=0.5), Module(share=0.5)
    assert repr(one) != repr(other)
    assert not torch.equal(one.inner.weight, other.inner.weight)
    assert describe_module(one) == describe_module(other.eval())
    different = [one, Module(share=0.4), nn.Sequential(one), nn.Linear(2, 2), nn.Linear(2, 3)]
    assert len({describe_module(module) for module in different}) == len(different)


def test_settings_are_plain_and_public():
    module = Module(share=0.5)
    assert settings_of(module) == {"training": True, "share": 0.5}
