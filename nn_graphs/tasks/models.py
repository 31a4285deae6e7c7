"""Models that configs put together: an encoder with its head, for a task."""

from collections.abc import Callable, Sequence
from typing import Literal

from torch import nn

from nn_graphs.encoders.flat_mlp import FlatMLP
from nn_graphs.encoders.pooling import PoolingMethod
from nn_graphs.encoders.probe_gen import ProbeGen
from nn_graphs.encoders.probe_generators import ProbeForm
from nn_graphs.encoders.probe_only import ProbeOnly
from nn_graphs.encoders.statnn import StatNN
from nn_graphs.errors import NNGraphsError
from nn_graphs.graphs.mixed_templates import AsStack, are_alike
from nn_graphs.ranges import Count, PositiveInt, Probability, in_ranges
from nn_graphs.tasks.task import Task
from nn_graphs.zoos.batches import are_stacked


@in_ranges
def make_classifier(
    task: Task,
    *,
    encoder: Callable[..., nn.Module],
    hidden_dims: Sequence[PositiveInt],
    pooling: PoolingMethod,
    pooled_layer: Literal["last", "all"] | int,
) -> nn.Module:
    """An encoder (as yet without templates and statistics), pooling, and what the task needs.

    That is an MLP in supervised tasks, the decoders of a VGAE in `StructureReconstruction`, and a
    head of new parameters in `StyleEditing`.
    """
    return task.make_model(
        encoder(task.templates, task.statistics()),
        pooling=pooling,
        pooled_layer=pooled_layer,
        hidden_dims=hidden_dims,
    )


@in_ranges
def make_flat_mlp(task: Task, *, hidden_dims: Sequence[int], dropout: float) -> nn.Module:
    """The baseline on flattened parameters, for a zoo of one architecture."""
    _check_alike(task, "make an MLP on flattened parameters")
    model = FlatMLP(
        task.templates[0],
        task.statistics(),
        hidden_dims=hidden_dims,
        dropout=dropout,
        out_dim=task.out_dim,
    )
    return _of_stacks(model, task)


@in_ranges
def make_statnn(task: Task, *, hidden_dims: Sequence[int], dropout: float) -> StatNN:
    """Statistics of weight and bias tensors, standardised by the training split, and an MLP."""
    dataset = task.dataset("train")
    places = range(len(dataset))
    batches = (dataset.batch([*places[i : i + 1024]])[0] for i in places[::1024])
    return StatNN(
        task.templates, batches, hidden_dims=hidden_dims, dropout=dropout, out_dim=task.out_dim
    )


@in_ranges
def make_probe_only(
    task: Task, *, num_probes: int, hidden_dims: Sequence[int], dropout: float
) -> ProbeOnly:
    """Outputs of the networks at learned inputs, and an MLP."""
    return ProbeOnly(
        task.templates,
        num_probes=num_probes,
        hidden_dims=hidden_dims,
        dropout=dropout,
        out_dim=task.out_dim,
    )


@in_ranges
def make_probe_gen(
    task: Task,
    *,
    num_probes: PositiveInt,
    probes: ProbeForm,
    image_size: PositiveInt | None,
    num_extra: Count,
    hidden_read_dim: Count,
    hidden_dims: Sequence[PositiveInt],
    dropout: Probability,
) -> ProbeGen:
    """Answers of the networks to generated probes, and an MLP.

    Probes of networks of images have the `image_size`; None: that of the zoo's images, if it tells,
    or else 32.
    """
    known = task.zoo.metadata.get("image_size", (32, 32))
    return ProbeGen(
        task.templates,
        num_probes=num_probes,
        probes=probes,
        image_size=max(known) if image_size is None else image_size,
        num_extra=num_extra,
        hidden_read_dim=hidden_read_dim,
        hidden_dims=hidden_dims,
        dropout=dropout,
        out_dim=task.out_dim,
    )


@in_ranges
def make_weight_space_classifier(
    task: Task,
    *,
    encoder: Callable[..., nn.Module],
    is_normalised: bool,
    hidden_dims: Sequence[PositiveInt],
    dropout: Probability,
) -> nn.Module:
    """A DWSNet or NFN (as yet without template and statistics), and what the task needs.

    That is an invariant head in most tasks, an equivariant one in `StyleEditing`.
    """
    _check_alike(task, "make a DWSNet or NFN, whose layers belong to an architecture")
    encoder = encoder(task.templates[0], task.statistics() if is_normalised else None)
    model = task.make_weight_space_model(encoder, hidden_dims=hidden_dims, dropout=dropout)
    return _of_stacks(model, task)


def _check_alike(task: Task, asked: str) -> None:
    """Makes sure that the networks of a task differ in their activations at most."""
    if not are_alike(task.templates):
        raise NNGraphsError(
            asked,
            found=f"the networks of the zoo are of {len(task.templates)} architectures.",
            do="Choose an encoder of graphs, or a zoo of one architecture.",
        )


def _of_stacks(model: nn.Module, task: Task) -> nn.Module:
    """The model, fed with stacks where networks of several activations come as batches."""
    if are_stacked(task.templates):
        return model
    return nn.Sequential(AsStack(task.templates[0]), model)
