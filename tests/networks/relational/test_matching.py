"""Widths of equal FLOPs: the published ones, of all networks where the raw results are at hand."""

import io
import zipfile

import networkx as nx
import numpy as np
import pytest

from nn_graphs.datasets.dataset_registry import data_root
from nn_graphs.networks.relational.architectures import ARCHITECTURES, mlp
from nn_graphs.networks.relational.graph import RelationalGraph
from nn_graphs.networks.relational.matching import match_widths
from tests.networks.relational.cases import (
    BEST_MLP,
    BEST_RESNET34,
    NARROW_EFFICIENTNET,
    graph_of_row,
    small,
    small_graph,
)


@pytest.mark.parametrize(
    ("name", "row", "widths", "flops", "params"),
    [
        ("mlp", BEST_MLP, (1522,), 2_365_124, 2_375_290),
        ("resnet34", BEST_RESNET34, (165, 328, 659, 1318), 3_664_349_848, 23_047_072),
    ],
)
def test_published_networks(name, row, widths, flops, params):
    graph = graph_of_row(row)
    assert match_widths(ARCHITECTURES[name], graph) == widths
    shape = ARCHITECTURES[name].shape(widths)
    assert (shape.num_flops(graph), shape.num_params(graph)) == (flops, params)


def test_published_efficientnet_has_layers_with_fewer_channels_than_nodes():
    """Its graph is made anew for these; the values are printed in the published results."""
    architecture, graph = ARCHITECTURES["efficientnet_b0"], graph_of_row(NARROW_EFFICIENTNET)
    widths = match_widths(architecture, graph)
    assert widths[0] == 14 < graph.num_nodes
    shape = architecture.shape(widths)
    assert round(shape.num_flops(graph) / 1e9, 3) == 0.386
    assert round(shape.num_params(graph) / 1e6, 3) == 5.269


@pytest.mark.parametrize("name", ["mlp", "cnn6", "resnet34", "resnet34_sep", "resnet50"])
def test_complete_graph_keeps_the_baseline(name):
    graph = RelationalGraph(nx.complete_graph(64))
    architecture = ARCHITECTURES[name]
    assert match_widths(architecture, graph) == architecture.baseline_widths


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_flops_are_not_below_the_target_and_close_to_it(name):
    architecture, graph = small(name), small_graph()
    target = architecture.baseline.num_flops(None)
    flops = architecture.shape(match_widths(architecture, graph)).num_flops(graph)
    assert target <= flops < 1.15 * target


def test_a_target_of_ones_own():
    graph = small_graph()
    narrow, wide = (match_widths(mlp(64), graph, target_flops=n) for n in (250_000, 400_000))
    assert narrow < wide
    assert mlp(64).shape(wide).num_flops(graph) >= 400_000


def test_a_target_below_what_stem_and_head_take_ends():
    graph = RelationalGraph(nx.complete_graph(8), make_resized=nx.complete_graph)
    assert match_widths(mlp(64), graph, target_flops=1) == (1,)


PUBLISHED = [
    pytest.param("mlp", "n64_3942", "mlp_cifar10", 200, 3942, marks=pytest.mark.slow),
    ("cnn6", "n64_52", "cnn6_imagenet_seed2", 100, 52),
    ("resnet34", "n64_52", "resnet34_imagenet_seed2", 100, 52),
    ("resnet34_sep", "n64_52", "resnet34_sep_imagenet_seed3", 100, 52),
    ("resnet50", "n64_52", "resnet50_imagenet_seed2", 100, 52),
    ("efficientnet_b0", "n16_48", "efficientnet_imagenet_seed2", 100, 48),
]


@pytest.mark.data
@pytest.mark.parametrize(("name", "graphs", "run", "epoch", "num_graphs"), PUBLISHED)
def test_every_published_network(name, graphs, run, epoch, num_graphs):
    """First-stage width; FLOPs in G and parameters in M to three digits."""
    folder = data_root() / "graph2nn"
    rows = np.load(folder / f"graphs_{graphs}.npy")
    by_name = {(round(row[1], 6), round(row[2], 6), row[3]): row for row in rows}
    names, results = read_published(folder / "final_results.zip", run, epoch)
    is_relational = np.char.find(names[:, 0], "talk") >= 0
    assert is_relational.sum() == len(rows) == num_graphs
    architecture, found, wanted = ARCHITECTURES[name], [], []
    for label, (params, flops, *_, width, _) in zip(names, results[:, 0], strict=True):
        if "talk" not in label[0]:
            shape, graph, widths = architecture.baseline, None, architecture.baseline_widths
        else:
            graph = graph_of_row(by_name[float(label[4]), float(label[5]), float(label[7])])
            widths = match_widths(architecture, graph)
            shape = architecture.shape(widths)
        counts = shape.num_params(graph) / 1e6, shape.num_flops(graph) / 1e9
        found.append((round(counts[0], 3), round(counts[1], 3), widths[0]))
        wanted.append((round(params, 3), round(flops, 3), int(width)))
    assert found == wanted


@pytest.mark.data
def test_published_connectome():
    lines = (data_root() / "graph2nn" / "mcwhole.txt").read_text().split()
    adjacency = np.array([[cell == "1" for cell in line] for line in lines])
    graph = RelationalGraph(adjacency, is_directed=True)
    widths = match_widths(ARCHITECTURES["mlp"], graph)
    assert widths == (1426,)
    assert ARCHITECTURES["mlp"].shape(widths).num_flops(graph) == 2_365_559


def read_published(path, run: str, epoch: int) -> tuple[np.ndarray, np.ndarray]:
    """Names `[N, 15]` and results `[N, seeds, 8]` of one run."""
    with zipfile.ZipFile(path) as archive:
        inside = {name.rsplit("/", 1)[-1]: name for name in archive.namelist() if run in name}
        found = [
            np.load(io.BytesIO(archive.read(inside[f"{kind}_{run}_epoch{epoch}.npy"])))
            for kind in ("names", "results")
        ]
    return found[0], found[1]
