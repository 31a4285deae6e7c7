"""What each norm takes mean and deviation over, and which of them see other graphs."""

import pytest
import torch
from torch import Tensor, nn

from nn_graphs.encoders.gnn import NGGNN
from nn_graphs.encoders.norms import (
    EPS,
    FEWEST_GRAPHS,
    MOMENTUM,
    NORM_NAMES,
    NormName,
    make_norm,
)
from nn_graphs.encoders.statistics import GraphDims
from nn_graphs.errors import NNGraphsError
from nn_graphs.graphs.graph_template import NeuralGraphStack
from nn_graphs.testing import assert_batch_independent
from nn_graphs.training import accumulate_gradients, chunks, supervised
from tests.encoders.cases import classifier, inr, networks, randomise
from tests.processes import assert_runs_in_own_process

TEMPLATE = inr(2, 4, 4, 1)
TOPOLOGY = TEMPLATE.topology()
NODES = 2 + 5 * torch.randn(
    3, TEMPLATE.num_nodes, 6, dtype=torch.float64, generator=torch.Generator().manual_seed(0)
)
AXES = {"published": (0, 1, 2), "running": (0, 1, 2), "graph": (1, 2), "layer": (2,)}


def normalised(name: NormName, nodes: Tensor = NODES) -> Tensor:
    return make_norm(name, nodes.shape[-1]).double()(TOPOLOGY, nodes)


@pytest.mark.parametrize(("name", "axes"), AXES.items())
def test_mean_and_deviation(name, axes):
    centred = NODES - NODES.mean(axes, keepdim=True)
    variance = centred.square().mean(axes, keepdim=True)
    deviation = variance.sqrt() + EPS if name == "published" else (variance + EPS).sqrt()
    expected = centred / deviation
    torch.testing.assert_close(normalised(name), expected, rtol=1e-12, atol=1e-12)


def test_root_mean_square_and_factor():
    root = (NODES.square().mean(-1, keepdim=True) + EPS).sqrt()
    torch.testing.assert_close(normalised("rms"), NODES / root, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(normalised("none"), 0.1 * NODES, rtol=1e-6, atol=0)


@pytest.mark.parametrize("name", NORM_NAMES)
def test_channels_are_scaled_and_shifted(name):
    norm = make_norm(name, 6).double()
    before = norm(TOPOLOGY, NODES)
    with torch.no_grad():
        for parameter in norm.parameters():
            parameter.mul_(2)
    torch.testing.assert_close(norm(TOPOLOGY, NODES), 2 * before)


def test_running_averages_are_those_of_the_batches():
    norm = make_norm("running", 6).double()
    batches = [NODES, 3 * NODES - 1]
    mean, variance = 0.0, 1.0
    for nodes in batches:
        norm(TOPOLOGY, nodes)
        mean += MOMENTUM * (nodes.mean().item() - mean)
        variance += MOMENTUM * (nodes.var(unbiased=False).item() - variance)
    expected = (NODES - mean) / (variance + EPS) ** 0.5
    torch.testing.assert_close(norm.eval()(TOPOLOGY, NODES), expected)
    torch.testing.assert_close(norm(TOPOLOGY, NODES[:1]), expected[:1])


@pytest.mark.parametrize("name", NORM_NAMES)
def test_which_predictions_depend_on_company(name):
    encoder = NGGNN([TEMPLATE], dim=6, num_layers=3, dropout=0.0, norm=name).double()
    randomise(encoder)
    model = classifier(encoder, GraphDims.of([TEMPLATE])).eval()
    stack = TEMPLATE.stack(networks(TEMPLATE, 3))
    if name == "published":
        with pytest.raises(AssertionError):
            assert_batch_independent(model, [stack])
    else:
        assert_batch_independent(model, [stack])


@pytest.mark.parametrize("name", NORM_NAMES)
def test_how_many_graphs_come_together(name, monkeypatch):
    model, seen = small_classifier(name), []
    model.register_forward_pre_hook(lambda _, graphs: seen.append(len(graphs[0])))
    monkeypatch.setattr(chunks, "CACHE_VALUES", 10)
    accumulate_gradients(model, MEAN_SQUARE, labelled(40))
    fewest = {"published": 40, "running": FEWEST_GRAPHS}.get(name, 1)
    assert min(seen) >= fewest
    assert max(seen) < 2 * fewest
    assert sum(seen) == 40


def test_running_averages_of_chunks_do_not_depend_on_threads():
    """Each chunk enters by its share, in the order of the chunks."""
    found = []
    for num_workers in (1, 2, 4):
        model = small_classifier("running")
        options = {"chunk_size": 16, "num_workers": num_workers}
        accumulate_gradients(model, MEAN_SQUARE, labelled(50), **options)
        found.append(torch.stack([*model.encoder.norms.buffers()]))
    assert torch.equal(found[0], found[1])
    assert torch.equal(found[0], found[2])
    mean = torch.zeros((), dtype=torch.float64)
    for part in labelled(50)[0].split(16):
        model = small_classifier("running")
        model(part)
        mean.lerp_(model.encoder.norms[0].running_mean / MOMENTUM, MOMENTUM * len(part) / 50)
    torch.testing.assert_close(found[0][0], mean, rtol=1e-9, atol=1e-12)


def small_classifier(norm: NormName) -> nn.Module:
    torch.manual_seed(0)
    encoder = NGGNN([TEMPLATE], dim=6, num_layers=3, dropout=0.0, norm=norm)
    return classifier(encoder, GraphDims.of([TEMPLATE])).double()


def labelled(num_graphs: int) -> tuple[NeuralGraphStack, Tensor]:
    return TEMPLATE.stack(networks(TEMPLATE, num_graphs)), torch.zeros(num_graphs)


MEAN_SQUARE = supervised(lambda outputs, _: outputs.square().mean())


def test_an_unknown_norm():
    assert_runs_in_own_process(make_unknown_norm)


def make_unknown_norm() -> None:
    with pytest.raises(NNGraphsError, match="normalise by 'bach': there is no 'bach'"):
        make_norm("bach", 3)
