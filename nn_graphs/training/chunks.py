"""A batch in chunks: networks don't see each other, so gradients of chunks add up to the batch's.

Chunks that a processor's cache holds are faster than the batch at once, and need less memory.
"""

from collections.abc import Callable

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch_geometric.data import Batch

from nn_graphs.encoders.features import Graphs
from nn_graphs.graphs.neural_graph import NeuralGraph, NeuralGraphStack
from nn_graphs.zoos.batches import LabelledGraphs

CACHE_VALUES = 600_000  # numbers that a core keeps near while it works on them
MIXED_CACHE_VALUES = 240_000  # the same for edge lists, of which more is held at a time
COMPILED_CACHE_VALUES = 300_000  # the same for a compiled model, which needs no large chunks


def accumulate_gradients(
    model: nn.Module,
    loss_fn: Callable[[Tensor, Tensor], Tensor],
    batch: LabelledGraphs,
    *,
    chunk_size: int | None = None,
    compiled: Callable[[Graphs], Tensor] | None = None,
    backward: Callable[[Tensor], None] = Tensor.backward,
) -> Float[Tensor, ""]:
    """Adds the gradients of a batch to the model's, chunk by chunk; returns the batch's loss.

    Args:
        model: neural graphs to outputs, each network's from that network alone.
        loss_fn: `(outputs, labels) -> loss`, a mean over networks.
        batch: neural graphs and labels.
        chunk_size: networks in a chunk, see `TrainingSettings`.
        compiled: the model for chunks of exactly this size; None: the model itself.
        backward: what to call with the share of the loss that a chunk has.
    """
    graphs, labels = batch
    if compiled is not None:
        _prepare_to_compile(graphs)
    if chunk_size is not None:
        sizes = _equal_sizes(len(labels), chunk_size)
    else:
        sizes = default_chunk_sizes(model, graphs, is_compiled=compiled is not None)
    total = torch.zeros((), device=labels.device)
    for part, part_labels in zip(split_graphs(graphs, sizes), labels.split(sizes), strict=True):
        is_whole = len(part_labels) == sizes[0]
        forward = compiled if compiled is not None and is_whole else model
        loss = loss_fn(forward(part), part_labels) * (len(part_labels) / len(labels))
        backward(loss)
        total = total + loss.detach()  # in the precision of the loss
    return total


def default_chunk_sizes(
    model: nn.Module, graphs: Graphs, *, is_compiled: bool = False
) -> list[int]:
    """How many networks go through a model together: as many as stay in a processor's cache.

    All of them on an accelerator, or where the model does not tell its `values_per_graph`, or where
    graphs of many architectures meet a model compiled for fixed shapes.
    """
    count = getattr(model, "values_per_graph", None)
    whole = [graphs.num_graphs]
    if count is None or graphs.node_features.device.type != "cpu" or whole == [1]:
        return whole
    values = count(*_num_nodes_and_edges(graphs))
    if values is None:
        return whole
    num_cores = torch.get_num_threads()
    if isinstance(graphs, NeuralGraphStack):
        held = num_cores * (COMPILED_CACHE_VALUES if is_compiled else CACHE_VALUES)
        return _equal_sizes(graphs.num_graphs, max(1, held // values))
    if is_compiled:
        return whole
    chunk = (values.cumsum(0) - 1) // (num_cores * MIXED_CACHE_VALUES)
    return chunk.unique_consecutive(return_counts=True)[1].tolist()


def split_graphs(graphs: Graphs, sizes: list[int]) -> list[Graphs]:
    """The graphs in parts of some sizes, in order; of a stack, all but the last of one size."""
    if len(sizes) == 1:
        return [graphs]
    if isinstance(graphs, NeuralGraphStack):
        return graphs.split(sizes[0])
    stops = torch.tensor(sizes).cumsum(0).tolist()
    return [_part(graphs, stop - size, stop) for size, stop in zip(sizes, stops, strict=True)]


def _prepare_to_compile(graphs: Graphs) -> None:
    """Has a template make what it remembers, which is no part of what is compiled."""
    if isinstance(graphs, NeuralGraphStack) and graphs.template.has_regular_blocks:
        _ = graphs.topology


def _equal_sizes(total: int, size: int) -> list[int]:
    """Of chunks that make up a total; the last one is what is left over."""
    return [min(size, total - start) for start in range(0, total, size)]


def _num_nodes_and_edges(
    graphs: Graphs,
) -> tuple[int, int] | tuple[Int[Tensor, "num_graphs"], Int[Tensor, "num_graphs"]]:
    """Sizes of each graph: two numbers for a stack, two vectors for a mixed batch."""
    if isinstance(graphs, NeuralGraphStack):
        return graphs.template.num_nodes, graphs.template.num_edges
    return graphs._slice_dict["x"].diff(), graphs._slice_dict["edge_index"].diff()


def _part(batch: NeuralGraph, start: int, stop: int) -> NeuralGraph:
    """What torch-geometric would have made of some neighbouring graphs of a batch; no copy."""
    part = Batch(_base_cls=NeuralGraph)
    part._slice_dict, part._inc_dict = {}, {}
    for name, ends in batch._slice_dict.items():
        first, last = ends[start].item(), ends[stop].item()
        shifts = batch._inc_dict[name][start:stop]
        values = batch[name]
        values = values.narrow(batch.__cat_dim__(name, values), first, last - first)
        shift = shifts[0].item()
        part[name] = values - shift if shift else values
        part._slice_dict[name] = ends[start : stop + 1] - first
        part._inc_dict[name] = shifts - shift
    first, last = (batch._slice_dict["x"][end].item() for end in (start, stop))
    part.num_nodes = last - first
    part.batch = batch.batch[first:last] - start
    part.ptr = batch.ptr[start : stop + 1] - first
    part._num_graphs, part._num_nodes = stop - start, batch._num_nodes[start:stop]
    return part
