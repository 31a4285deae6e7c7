"""What must hold for the graph of any module: parameters come back, symmetries and runs agree."""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from nn_graphs.graphs.execution import module_outputs
from nn_graphs.graphs.graph_template import GraphTemplate
from nn_graphs.graphs.symmetry import apply_symmetries, sample_symmetries
from nn_graphs.graphs.tracing import Unknown, trace

TOLERANCE = 1e-9


class Written(nn.Module):
    """A forward function over submodules, parameters and buffers of the given names."""

    def __init__(self, forward_fn: Callable, **parts):
        super().__init__()
        self.forward_fn = forward_fn
        for name, part in parts.items():
            if isinstance(part, Tensor) and not isinstance(part, nn.Parameter):
                self.register_buffer(name, part)
            else:
                setattr(self, name, part)

    def forward(self, *inputs):
        return self.forward_fn(self, *inputs)


@torch.no_grad()
def assert_faithful(
    module: nn.Module, *inputs: Tensor, seed: int = 0, unknown: Unknown = "error"
) -> GraphTemplate:
    """Traces a module in float64 and compares its graph with it."""
    module = module.double().eval()
    inputs = tuple(x.double() if x.is_floating_point() else x for x in inputs)
    template = trace(module, inputs, unknown=unknown)
    params = template.parameters.flatten(module)
    assert torch.equal(template.invert(template(module)), params)
    expected = _outputs(module, inputs)
    if template.is_runnable:
        found = [values[0] for values in module_outputs(template.stack(params[None]), *inputs)]
        _assert_close(found, expected)
    generator = torch.Generator().manual_seed(seed)
    element = sample_symmetries(template, 3, generator=generator, dtype=torch.float64)
    stack = template.stack(params.expand(3, -1))
    for moved in apply_symmetries(template, stack.params, element):
        module.load_state_dict(template.parameters.unflatten(moved), strict=False)
        _assert_close(_outputs(module, inputs), expected)
    module.load_state_dict(template.parameters.unflatten(params), strict=False)
    return template


def _outputs(module: nn.Module, inputs: tuple[Tensor, ...]) -> list[Tensor]:
    outputs = module(*inputs)
    return list(outputs) if isinstance(outputs, tuple) else [outputs]


def _assert_close(found: list[Tensor], expected: list[Tensor]) -> None:
    assert len(found) == len(expected)
    for mine, theirs in zip(found, expected, strict=True):
        scale = max(theirs.abs().max(), torch.tensor(1e-3).double())
        error = (mine - theirs).abs().max() / scale
        assert error < TOLERANCE, f"{error:.1e} off"
