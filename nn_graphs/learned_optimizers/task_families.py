"""Families of inner tasks: one data set, networks of several widths, depths and activations.

Task augmentation: what a learned optimizer should not depend on varies from task to task. The first
task of a family has the first of all choices; those of the others are drawn. A stack holds networks
of one architecture, so that tasks take turns, an outer step each.
"""

import random
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

import torch

from nn_graphs.errors import NNGraphsError, check_known
from nn_graphs.learned_optimizers.inner_tasks import InnerTask
from nn_graphs.networks.classifiers.data import LabelledData
from nn_graphs.networks.spec import ConvSpec, NetworkSpec
from nn_graphs.zoos.makers.labelled_images import LabelledImages

Kind = Literal["mlp", "cnn", "autoencoder"]


@dataclass(frozen=True)
class TaskFamily:
    """Networks of one kind on one data set.

    Attributes:
        images: what they are trained on.
        kind: "mlp"; "cnn": a convolution of stride 2 without padding, then convolutions of twice
            as many channels, 3 x 3, means over places and a linear layer, as published by Kofinas
            et al. (ICLR 2024); "autoencoder": an MLP back to the inputs.
        widths: of hidden layers; of CNNs, channels of the first.
        depths: hidden layers of MLPs, convolutions of CNNs.
        activations: of the hidden layers.
        batch_sizes: inputs per step.
        scale_range: of the factors of parameters, see `InnerTask`.
        num_val: training images that are for validation.
        num_tasks: how many tasks are made.
        seed: of the choices.
    """

    images: LabelledImages
    kind: Kind = "mlp"
    widths: Sequence[int] = (32,)
    depths: Sequence[int] = (1,)
    activations: Sequence[str] = ("relu",)
    batch_sizes: Sequence[int] = (64,)
    scale_range: Sequence[float] = (1.0, 1.0)
    num_val: int = 256
    num_tasks: int = 1
    seed: int = 0

    def tasks(
        self,
        data_root: str | Path | None = None,
        *,
        device: torch.device | str = "cpu",
    ) -> list[InnerTask]:
        """The tasks, which share their data.

        Raises:
            NNGraphsError: there are no such images, no task is asked for, or a choice is empty.
        """
        check_known(self.kind, get_args(Kind), asked=f"make inner tasks of the kind {self.kind!r}")
        choices = self.widths, self.depths, self.activations, self.batch_sizes
        if self.num_tasks < 1 or not all(choices):
            raise NNGraphsError(
                f"make a family of {self.num_tasks} inner tasks",
                found=f"choices are of {', '.join(str(len(one)) for one in choices)} values.",
                do="Ask for one task or more, and give one or more of each choice.",
            )
        data = self.images.labelled(self.images.load(data_root), device)
        read = data if self.kind == "cnn" else data.flattened()
        draws = random.Random(self.seed)
        picks = [tuple(one[0] for one in choices)]
        picks += [tuple(map(draws.choice, choices)) for _ in range(self.num_tasks - 1)]
        return [self._task(data, read, *pick) for pick in picks]

    def _task(
        self,
        data: LabelledData,
        read: LabelledData,
        width: int,
        depth: int,
        activation: str,
        batch_size: int,
    ) -> InnerTask:
        spec = _spec(self.kind, data, width=width, depth=depth, activation=activation)
        widths = "-".join(map(str, spec.layer_layout))
        side = f"{data.inputs.shape[-1]}"
        return InnerTask(
            f"{self.images.dataset} {side}x{side}, {self.kind} {widths} {activation}",
            spec,
            read,
            batch_size=batch_size,
            num_val=self.num_val,
            scale_range=(self.scale_range[0], self.scale_range[1]),
            is_autoencoder=self.kind == "autoencoder",
        )


def _spec(
    kind: Kind, data: LabelledData, *, width: int, depth: int, activation: str
) -> NetworkSpec:
    channels, num_inputs = data.inputs.shape[1], data.inputs[0].numel()
    num_classes = int(data.labels.max()) + 1
    if kind == "cnn":
        convs = [ConvSpec.square(3, stride=2), *[ConvSpec.square(3, padding=1)] * (depth - 1)]
        return NetworkSpec.cnn(
            (channels, width, *[2 * width] * (depth - 1)),
            convs=convs,
            activations=activation,
            num_outputs=num_classes,
        )
    last = num_inputs if kind == "autoencoder" else num_classes
    return NetworkSpec.mlp((num_inputs, *[width] * depth, last), activation=activation)
