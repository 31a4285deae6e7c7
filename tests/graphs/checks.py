"""What holds for the graphs of any architecture, and what its modules put out."""

import torch
from torch import Tensor

from nn_graphs.graphs.graph_template import GraphTemplate
from tests.graphs.convolutional import Case

SAME = {"rtol": 1e-9, "atol": 1e-9}


def outputs_of(case: Case, template: GraphTemplate, params: Tensor) -> list[Tensor]:
    """What torch's own module puts out with each of the parameter vectors."""
    module, outputs = case.module(), []
    for row in params:
        module.load_state_dict(template.parameters.unflatten(row), strict=False)
        outputs.append(case.outputs(module))
    return [torch.stack(values) for values in zip(*outputs, strict=True)]


def assert_all_close(found: list[Tensor], expected: list[Tensor]) -> None:
    for mine, theirs in zip(found, expected, strict=True):
        scale = theirs.abs().max()
        assert scale > 1e-3  # else nothing would be compared
        torch.testing.assert_close(mine / scale, theirs / scale, **SAME)


def assert_inverts(template: GraphTemplate, params: Tensor) -> None:
    """Graphs, one or many, give their parameters back bit for bit, all of which they show."""
    stack = template.stack(params)
    assert torch.equal(template.invert(stack), params)
    assert torch.equal(template.invert(stack, base=params), params)
    assert torch.equal(template.invert(stack[0]), params[0])
    assert template.is_shown.all()


def assert_ordered(template: GraphTemplate) -> None:
    """Edges run from earlier to later layers, and are ordered by target."""
    source, target = template.structure().edge_index
    layer_id = template.structure().layer_id
    assert (layer_id[source] < layer_id[target]).all()
    assert (layer_id[target].diff() >= 0).all()
