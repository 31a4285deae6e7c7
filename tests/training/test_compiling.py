"""Encoders compile as one graph, from the first chunk on, and compute the same."""

import pytest
import torch
from torch.nn import functional as F
from torch.testing import assert_close

from nn_graphs.encoders.gnn import NGGNN
from nn_graphs.encoders.heads import GraphHead, GraphModel
from nn_graphs.encoders.pooling import Pooling
from nn_graphs.encoders.relational_transformer import NGT
from nn_graphs.encoders.scalegmn import ScaleGMN
from nn_graphs.encoders.statistics import GraphDims
from nn_graphs.graphs.builder import template_from_spec
from nn_graphs.training import accumulate_gradients, supervised
from tests.processes import assert_runs_in_own_process
from tests.toy_zoos import SMALL

TRANSFORMER = {
    "node_dim": 8,
    "edge_dim": 8,
    "attention_dim": 8,
    "num_heads": 2,
    "num_layers": 2,
    "dropout": 0.0,
}
ENCODERS = {
    "gnn": lambda templates: NGGNN(templates, dim=8, num_layers=2, dropout=0.0),
    "running": lambda templates: NGGNN(templates, dim=8, num_layers=2, dropout=0.0, norm="running"),
    "all_pairs": lambda templates: NGT(templates, attention="all_pairs", **TRANSFORMER),
    "scalegmn": lambda templates: ScaleGMN(templates, dim=8, num_layers=2),
    "scalegmn_nets": lambda templates: ScaleGMN(templates, dim=8, num_layers=2, messages="nets"),
    "edges": lambda templates: NGT(templates, attention="edges", **TRANSFORMER),
}


OFTEN = "running", "edges"  # the others take half a minute, and share their operations


@pytest.mark.parametrize(
    "name",
    [name if name in OFTEN else pytest.param(name, marks=pytest.mark.slow) for name in ENCODERS],
)
def test_encoders_compile_as_one_graph(name):
    """In a process of its own: functions whose shapes are checked cannot be compiled."""
    assert_runs_in_own_process(compile_one, name)


def compile_one(name: str) -> None:
    """Compiles without code generation, forward and backward, and compares."""
    compiled = gradients(name, is_compiled=True)  # with a template that was never used
    assert_close(compiled, gradients(name, is_compiled=False))


def gradients(name: str, *, is_compiled: bool) -> list[torch.Tensor]:
    """The loss of five networks, in chunks of two, its gradients, and running averages."""
    template = template_from_spec(SMALL)
    torch.manual_seed(0)
    encoder = ENCODERS[name]([template])
    pooling = Pooling("cat", dims=GraphDims.of([template]), node_dim=8, edge_dim=8)
    model = GraphModel(encoder, GraphHead(pooling, hidden_dims=[], out_dim=3)).double()
    batch = (
        template.stack(torch.randn(5, template.num_params, dtype=torch.float64)),
        torch.tensor([0, 1, 2, 0, 1]),
    )
    compiled = None
    if is_compiled:
        compiled = torch.compile(model, backend="aot_eager", fullgraph=True, dynamic=False)
    objective = supervised(F.cross_entropy)
    loss = accumulate_gradients(model, objective, batch, chunk_size=2, compiled=compiled)
    gradients = (p.grad for p in model.parameters() if p.grad is not None)
    return [loss, *gradients, *model.buffers()]
