"""The plain twins for convolutional networks compute what our encoders compute."""

import pytest
import torch
from benchmarks.cnn_steps import CNNStepSetting, batch_maker, in_degrees, make_model, make_specs
from benchmarks.published_cnns import PublishedCNNGNN
from torch_geometric.data import Batch

from nn_graphs.encoders.statistics import GraphDims
from nn_graphs.graphs.builder import template_from_spec
from nn_graphs.graphs.graph_template import NeuralGraphStack
from nn_graphs.graphs.neural_graph import NeuralGraph
from tests.encoders.cases import randomise
from tests.experiments.test_published_twins import TwoPassStd, relative_error

pytestmark = pytest.mark.usefixtures("one_thread")

GNN = {"networks": "park", "batch_size": 4, "num_architectures": 3, "dim": 8}
ZOO = {"networks": "zoo", "batch_size": 2}


def both_outputs(plain: str, ours: str, **options) -> tuple[torch.Tensor, torch.Tensor]:
    """Of the twin with our parameters, and of ours, for the same networks."""
    settings = [CNNStepSetting(variant, **options) for variant in (plain, ours)]
    templates = [template_from_spec(spec) for spec in make_specs(settings[0])]
    twin, model = (make_model(setting, templates) for setting in settings)
    if plain == "gnn_published":
        degrees = in_degrees(templates)
        twin = PublishedCNNGNN(GraphDims.of(templates), degrees, dim=8, std=TwoPassStd())
    randomise(model)
    twin.double().load_ours(model.double().state_dict())
    batches = (batch_maker(setting, templates)() for setting in settings)
    with torch.no_grad():
        return tuple(
            m.eval()(doubled(batch)) for m, batch in zip((twin, model), batches, strict=True)
        )


def doubled(batch: Batch | NeuralGraphStack) -> Batch | NeuralGraphStack:
    if isinstance(batch, NeuralGraph | NeuralGraphStack):
        return batch.with_features(batch.node_features.double(), batch.edge_features.double())
    return batch.apply(lambda values: values.double() if values.is_floating_point() else values)


@pytest.mark.parametrize(
    ("plain", "ours", "options"),
    [
        ("gnn_published", "gnn", GNN),
        ("gnn_published", "gnn", GNN | {"networks": "zoo"}),
        ("transformer_published", "transformer_all_pairs", ZOO),
    ],
)
def test_twin_is_ours(plain, ours, options):
    assert relative_error(*both_outputs(plain, ours, **options)) < 1e-9


def test_attention_along_edges_is_another_function():
    outputs = both_outputs("transformer_published", "transformer_edges", **ZOO)
    assert relative_error(*outputs) > 1e-3
