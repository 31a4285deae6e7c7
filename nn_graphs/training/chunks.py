"""A batch in chunks: networks don't see each other, so gradients of chunks add up to the batch's.

Chunks that a core's cache holds are faster than the batch at once, need less memory, and are what
cores share: each computes chunks by itself (`nn_graphs.threads`).
"""

from collections.abc import Callable, Sequence
from itertools import chain
from typing import Any

import torch
from jaxtyping import Float, Int, Int32
from torch import Tensor, nn

from nn_graphs.encoders.dropout import dropout_draws
from nn_graphs.encoders.features import Graphs
from nn_graphs.encoders.norms import Seen, averages_apart, update_averages
from nn_graphs.graphs.geometric_batch import graph_sizes, run_of_graphs
from nn_graphs.graphs.graph_template import NeuralGraphStack
from nn_graphs.networks.classifiers.draws import joined
from nn_graphs.threads import side_by_side
from nn_graphs.zoos.batches import LabelledGraphs

CACHE_VALUES = 1_200_000  # numbers that a core works on without waiting for memory
COMPILED_CACHE_VALUES = 300_000  # the same for a compiled model, which needs no large chunks
NUM_CORES = 4  # that a batch is shared out among evenly, whatever there are
WORTH_VALUES = 250_000  # fewer numbers are done before another core has begun
SHARED = (nn.modules.dropout._DropoutNd, nn.modules.batchnorm._BatchNorm)

Forward = Callable[[Graphs], Tensor]
Objective = Callable[[Forward, Graphs, Tensor], Tensor]
"""`(model, graphs, labels) -> loss`, see `nn_graphs.tasks.Task.objective`."""


def supervised(loss_fn: Callable[[Tensor, Tensor], Tensor]) -> Objective:
    """The objective of a loss of (outputs, labels)."""
    return lambda model, graphs, labels: loss_fn(model(graphs), labels)


def accumulate_gradients(
    model: nn.Module,
    objective: Objective,
    batch: LabelledGraphs,
    *,
    chunk_size: int | None = None,
    compiled: Forward | None = None,
    backward: Callable[[Tensor], None] = Tensor.backward,
    num_workers: int | None = None,
) -> Float[Tensor, ""]:
    """Adds the gradients of a batch to the model's; returns the batch's loss.

    Chunks are computed side by side, and their gradients summed in order: the result does not
    depend on the number of threads. One number is drawn from torch's global generator, the key of
    all `nn_graphs.encoders.dropout`.

    Args:
        model: neural graphs to outputs, each network's from that network alone.
        objective: what is made smaller, a mean over networks; of supervised tasks `supervised`.
        batch: neural graphs and labels.
        chunk_size: networks in a chunk, see `TrainingSettings`.
        compiled: the model for chunks of exactly the size of the first one; None: the model.
        backward: called once, with a scalar whose gradients are the batch's.
        num_workers: threads; None: one a core.
    """
    graphs, labels = batch
    if compiled is not None:
        _prepare_to_compile(graphs)
    sizes = _sizes(model, graphs, chunk_size, is_compiled=compiled is not None)
    parts = zip(split_graphs(graphs, sizes), labels.split(sizes), strict=True)
    key = _draw_key()

    def loss_of(chunk: tuple[int, LabelledGraphs]) -> Tensor:
        number, (part, part_labels) = chunk
        is_whole = len(part_labels) == sizes[0]
        forward = compiled if compiled is not None and is_whole else model
        with dropout_draws(joined(key, number)):
            return objective(forward, part, part_labels) * (len(part_labels) / len(labels))

    chunks = [*enumerate(parts)]
    if _is_one_piece(model, graphs, sizes):
        loss = loss_of(chunks[0])
    else:
        first_alone = compiled is not None and not getattr(compiled, "is_ready", True)
        num_workers = _num_workers(model, graphs, num_workers)
        shares = [size / len(labels) for size in sizes]
        loss = _summed(
            model, loss_of, chunks, shares, num_workers=num_workers, first_alone=first_alone
        )
    backward(loss)
    return loss.detach()


def forward_in_chunks(
    model: nn.Module,
    graphs: Graphs,
    *,
    outputs: Callable[[Forward, Graphs], Tensor] | None = None,
    key: Int32[Tensor, ""] | int = 0,
    chunk_size: int | None = None,
    num_workers: int | None = None,
) -> Float[Tensor, "B *out"]:
    """Outputs of a model, a row per network, chunks side by side.

    Args:
        model: neural graphs to outputs, each network's from that network alone.
        graphs: of all networks.
        outputs: `(model, graphs) -> rows`; None: those of the model itself.
        key: of what is drawn, each chunk by itself.
        chunk_size, num_workers: as for `accumulate_gradients`.
    """
    sizes = _sizes(model, graphs, chunk_size)
    key = torch.as_tensor(key, dtype=torch.int32)

    def rows_of(chunk: tuple[int, Graphs]) -> Tensor:
        number, part = chunk
        with dropout_draws(joined(key, number)):
            return model(part) if outputs is None else outputs(model, part)

    chunks = [*enumerate(split_graphs(graphs, sizes))]
    if _is_one_piece(model, graphs, sizes):
        return rows_of(chunks[0])
    num_workers = _num_workers(model, graphs, num_workers)
    return torch.cat([*side_by_side(rows_of, chunks, num_workers=num_workers)])


def default_chunk_sizes(
    model: nn.Module, graphs: Graphs, *, is_compiled: bool = False
) -> list[int]:
    """How many networks go through a model together: as many as stay in a core's cache.

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
    fewest = fewest_graphs(model)
    if fewest >= graphs.num_graphs:
        return whole
    if isinstance(graphs, NeuralGraphStack):
        if is_compiled:
            size = max(fewest, COMPILED_CACHE_VALUES // values)
            return _equal_sizes(graphs.num_graphs, size)
        num_chunks = min(_num_chunks(graphs.num_graphs * values), graphs.num_graphs // fewest)
        return _equal_sizes(graphs.num_graphs, -(-graphs.num_graphs // num_chunks))
    if is_compiled:
        return whole
    return _even_sizes(values, fewest=fewest)


def fewest_graphs(model: nn.Module) -> int | float:
    """That must come together for what norms take over several: infinite for the whole batch."""
    return max(getattr(module, "fewest_graphs", 1) for module in model.modules())


def _even_sizes(values: Int[Tensor, "num_graphs"], *, fewest: int) -> list[int]:
    """Of chunks of about as many values each, in order; none has fewer graphs than `fewest`."""
    total = int(values.sum())
    middles = values.cumsum(0) - values / 2
    chunk = (middles * _num_chunks(total) / total).long()
    sizes = []
    for size in chunk.unique_consecutive(return_counts=True)[1].tolist():
        if sizes and sizes[-1] < fewest:
            sizes[-1] += size
        else:
            sizes.append(size)
    if len(sizes) > 1 and sizes[-1] < fewest:
        sizes[-2:] = [sum(sizes[-2:])]
    return sizes


def _num_chunks(values: int) -> int:
    """As many as fit a core's cache, and for `NUM_CORES` to share them evenly, if worth it."""
    fewest = -(-values // CACHE_VALUES)
    shared = NUM_CORES * -(-fewest // NUM_CORES)
    return max(fewest, min(shared, values // WORTH_VALUES))


def _sizes(
    model: nn.Module, graphs: Graphs, chunk_size: int | None, *, is_compiled: bool = False
) -> list[int]:
    if chunk_size is not None:
        return _equal_sizes(graphs.num_graphs, chunk_size)
    return default_chunk_sizes(model, graphs, is_compiled=is_compiled)


def _is_one_piece(model: nn.Module, graphs: Graphs, sizes: list[int]) -> bool:
    """Whether operations are split among threads, for want of parts to give to them."""
    if len(sizes) > 1:
        return False
    count = getattr(model, "values_per_graph", None)
    is_small = graphs.node_features.device.type == "cpu" and count is not None
    return not (is_small and count(*_num_nodes_and_edges(graphs)) is not None)


def _num_workers(model: nn.Module, graphs: Graphs, num_workers: int | None) -> int | None:
    """One on an accelerator, and for models whose modules write or draw what chunks would share."""
    is_stateful = any(module.training and isinstance(module, SHARED) for module in model.modules())
    is_on_cpu = graphs.node_features.device.type == "cpu"
    return 1 if is_stateful or not is_on_cpu else num_workers


def _draw_key() -> Int32[Tensor, ""]:
    """Of one batch, in one of the processes that train together."""
    key = torch.randint(1 << 31, (), dtype=torch.int32)
    is_distributed = torch.distributed.is_available() and torch.distributed.is_initialized()
    return joined(key, torch.distributed.get_rank() if is_distributed else 0)


def _summed(
    model: nn.Module,
    loss_of: Callable[[Any], Tensor],
    chunks: Sequence[Any],
    shares: Sequence[float],
    *,
    num_workers: int | None,
    first_alone: bool,
) -> Float[Tensor, ""]:
    """The sum of the chunks' losses, with the sum of their gradients."""
    params = [parameter for parameter in model.parameters() if parameter.requires_grad]

    def gradients_of(chunk: Any) -> tuple[list[Seen], Tensor, Sequence[Tensor | None]]:
        with averages_apart() as seen:
            loss = loss_of(chunk)
        return seen, loss.detach(), torch.autograd.grad(loss, params, allow_unused=True)

    results = side_by_side(gradients_of, chunks[first_alone:], num_workers=num_workers)
    if first_alone:  # it compiles
        results = chain(side_by_side(gradients_of, chunks[:1]), results)
    total, gradients = 0, [None] * len(params)
    for share, (seen, loss, more) in zip(shares, results, strict=True):
        update_averages(seen, share=share)
        total = total + loss
        gradients = [_sum(*pair) for pair in zip(gradients, more, strict=True)]
    return _WithGradients.apply(total, gradients, *params)


def _sum(one: Tensor | None, other: Tensor | None) -> Tensor | None:
    if one is None or other is None:
        return one if other is None else other
    return one + other


class _WithGradients(torch.autograd.Function):
    """A value whose gradients are known."""

    @staticmethod
    def forward(ctx, value: Tensor, gradients: Sequence[Tensor | None], *params: Tensor) -> Tensor:
        ctx.gradients = gradients
        return value.clone()

    @staticmethod
    def backward(ctx, outer: Tensor) -> tuple[Tensor | None, ...]:
        scaled = (None if gradient is None else gradient * outer for gradient in ctx.gradients)
        return (None, None, *scaled)


def split_graphs(graphs: Graphs, sizes: list[int]) -> list[Graphs]:
    """The graphs in parts of some sizes, in order; of a stack, all but the last of one size."""
    if len(sizes) == 1:
        return [graphs]
    if isinstance(graphs, NeuralGraphStack):
        return graphs.split(sizes[0])
    stops = torch.tensor(sizes).cumsum(0).tolist()
    return [
        run_of_graphs(graphs, stop - size, stop) for size, stop in zip(sizes, stops, strict=True)
    ]


def _prepare_to_compile(graphs: Graphs) -> None:
    """Has a template make what it remembers, which is no part of what is compiled."""
    if isinstance(graphs, NeuralGraphStack) and graphs.template.has_regular_blocks:
        _ = graphs.topology, graphs.factor_id, graphs.template.factors


def _equal_sizes(total: int, size: int) -> list[int]:
    """Of chunks that make up a total; the last one is what is left over."""
    return [min(size, total - start) for start in range(0, total, size)]


def _num_nodes_and_edges(
    graphs: Graphs,
) -> tuple[int, int] | tuple[Int[Tensor, "num_graphs"], Int[Tensor, "num_graphs"]]:
    """Sizes of each graph: two numbers for a stack, two vectors for a mixed batch."""
    if isinstance(graphs, NeuralGraphStack):
        return graphs.template.num_nodes, graphs.template.num_edges
    return graph_sizes(graphs)
