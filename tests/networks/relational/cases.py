"""Graphs of which the published widths, FLOPs and parameters are known, and small networks."""

from dataclasses import replace

from nn_graphs.networks.relational.architectures import ARCHITECTURES, Architecture, mlp
from nn_graphs.networks.relational.graph import RelationalGraph
from nn_graphs.structure.generators import GraphRecipe

Row = tuple[float, float, float, float]
"""`[nodes, sparsity, p, seed]`, as the published arrays of graphs begin."""

BEST_MLP = (64, 0.1280008781103134, 0.1280634444804868, 4)
BEST_RESNET34 = (64, 0.1387842627417288, 0.24500844509569245, 3)
NARROW_EFFICIENTNET = (16, 0.875, 0.3157011666536168, 16)


def graph_of_row(row: Row) -> RelationalGraph:
    num_nodes, sparsity, p, seed = row[:4]
    options = {"sparsity": float(sparsity), "p": float(p)}
    return RelationalGraph.from_recipe(GraphRecipe("ws_flex", int(num_nodes), options, int(seed)))


def small(name: str) -> Architecture:
    """A published architecture with few channels, for small images."""
    architecture = ARCHITECTURES[name]
    stages = tuple(
        replace(stage, width=width, depth=min(stage.depth, 2))
        for stage, width in zip(architecture.stages, (16, 24, 32, 40, 48, 56, 64), strict=False)
    )
    if name == "resnet50":
        stages = tuple(replace(stage, width=4 * stage.width) for stage in stages)
    if name == "mlp":
        return mlp(24, in_channels=1, in_side=8)
    stem = replace(architecture.stem, width=16)
    head_width = architecture.head_width and 40
    return replace(
        architecture, stem=stem, stages=stages, in_side=32, num_classes=5, head_width=head_width
    )


def small_graph(num_nodes: int = 8) -> RelationalGraph:
    return graph_of_row((num_nodes, 0.4, 0.3, 0))
