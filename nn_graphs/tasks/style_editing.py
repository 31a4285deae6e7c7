"""Style editing of INRs: to write networks that draw an edited image.

Kofinas et al., ICLR 2024, sec. 5.1, after Zhou et al., NeurIPS 2023. An editor reads the weights
of an INR and writes new ones; what counts is the image that these draw, against the edit of the
image that the INR was fitted to. Errors are of images in [0, 1] here, whatever range an INR was
fitted in. Published are: for INRs of MNIST of Navon et al. (dilation) these errors times 100; for
those of Zhou et al., who fit in [-1, 1], four times these errors.
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from jaxtyping import Float, UInt8
from matplotlib.figure import Figure
from torch import Tensor, nn

from nn_graphs.encoders.editor import Editor
from nn_graphs.encoders.equivariant.head import EquivariantHead
from nn_graphs.encoders.features import Graphs
from nn_graphs.encoders.heads import ParameterHead
from nn_graphs.encoders.pooling import PoolingMethod
from nn_graphs.errors import NNGraphsError
from nn_graphs.image_edits import edited_images
from nn_graphs.memory import physical_memory
from nn_graphs.plotting import plot_image_rows
from nn_graphs.ranges import PositiveInt, in_ranges
from nn_graphs.tasks.fitted_images import find_fitted_images
from nn_graphs.tasks.task import Task
from nn_graphs.zoos.zoo import Zoo

NUM_SHOWN = 10
BYTES = 4  # of a number

Drawn = Float[Tensor, "B height width channels"]
Targets = UInt8[Tensor, "B height width channels"]


@in_ranges
class StyleEditing(Task):
    """Changes INRs so that they draw edited images.

    The label of a network is its edited image. Of outputs there are two: what the new networks
    draw, the mean over a network's copies, and what the network itself draws, the baseline.

    Attributes:
        edit: of the images, one of `nn_graphs.image_edits.EDITS`.
        num_copies: networks that are written for each network; what is judged is the mean of what
            they draw (output-capacity expansion).
        is_residual: editors put out changes of the parameters, rather than the parameters.
        image_dataset, preset: names of the images, and of how the networks draw them.
    """

    name = "style_editing"
    metric = "minus_mse"
    digits = 4

    def __init__(
        self,
        zoo: Zoo,
        *,
        edit: str = "dilation",
        num_copies: PositiveInt = 1,
        is_residual: bool = True,
        data_root: str | Path | None = None,
    ):
        """
        Args:
            zoo: of INRs of one architecture that says which images they were fitted to.
            edit, num_copies, is_residual: see above.
            data_root: where the images are, see `nn_graphs.datasets.data_root`.

        Raises:
            NNGraphsError: the images are missing or don't fit the zoo, the edit is unknown or not
                for such images, or copies are none, or too many for this machine.
        """
        fitted = find_fitted_images(zoo, data_root)
        self.edit, self.num_copies, self.is_residual = edit, num_copies, is_residual
        self.image_dataset, self.preset = fitted.images.name, fitted.preset.name
        self._preset, self._size = fitted.preset, fitted.size
        self._max_value = fitted.images.max_value
        self._num_points = fitted.size[0] * fitted.size[1]
        _check_copies(num_copies, zoo, num_points=self._num_points)
        numbers, places = np.unique(fitted.numbers, return_inverse=True)
        self._targets = edited_images(edit, fitted.images, numbers)
        self._target_of = torch.from_numpy(places)
        super().__init__(zoo)

    @property
    def out_dim(self) -> int:
        """There is none.

        Raises:
            NNGraphsError: always.
        """
        raise NNGraphsError(
            f"make a model with outputs for {self.name}",
            found="what is put out are networks.",
            do="Choose an encoder with a vector per weight: NGGNN, NGT, ProductGNN, ScaleGMN, "
            "DWSNet or NFN.",
        )

    def make_model(
        self,
        encoder: nn.Module,
        *,
        pooling: PoolingMethod,
        pooled_layer: Literal["last", "all"] | int,
        hidden_dims: Sequence[PositiveInt] = (),
    ) -> Editor:
        """The encoder with a head that reads new parameters from vectors of neurons and edges.

        Args:
            encoder: of neural graphs; its `parameter_head` is taken, where it has one of its own.
            pooling, pooled_layer, hidden_dims: of heads of other tasks; they have no use here.
        """
        make_head = getattr(encoder, "parameter_head", ParameterHead)
        head = make_head(encoder.node_dim, encoder.edge_dim, **self._head_options())
        return Editor(encoder, head, num_values_read=self._num_values_read())

    def make_weight_space_model(
        self, encoder: nn.Module, *, hidden_dims: Sequence[int], dropout: float
    ) -> Editor:
        """A DWSNet or NFN with one more equivariant layer, into new parameters.

        Args:
            encoder: with `spaces`.
            hidden_dims, dropout: of heads of other tasks; they have no use here.
        """
        head = EquivariantHead(encoder.spaces, dim=encoder.node_dim, **self._head_options())
        return Editor(encoder, head, num_values_read=self._num_values_read())

    def labels(self) -> UInt8[Tensor, "N height width channels"]:
        return self._targets[self._target_of]

    def targets(self, labels: Targets) -> Drawn:
        """Labels as images in [0, 1]."""
        return labels / self._max_value

    def draw(self, params: Float[Tensor, "B copies num_params"]) -> Drawn:
        """What networks draw, the mean over copies; values of exact fits are in [0, 1].

        Raises:
            NNGraphsError: some draw NaN or infinity.
        """
        height, width = self._size
        copies = self._preset.render(
            self.zoo.spec, params.flatten(0, 1), height=height, width=width
        )
        drawn = copies.unflatten(0, params.shape[:2]).mean(1)
        _check_drawn(drawn)
        return drawn

    def outputs(
        self, model: Callable[[Graphs], Any], graphs: Graphs
    ) -> Float[Tensor, "B 2 height width channels"]:
        """What edited networks draw, and what the networks drew before."""
        before = graphs.params.unsqueeze(1)
        return torch.stack([self.draw(model(graphs)), self.draw(before)], dim=1)

    def objective(
        self, model: Callable[[Graphs], Any], graphs: Graphs, labels: Targets
    ) -> Float[Tensor, ""]:
        """The mean squared error of what edited networks draw."""
        return self._mse(self.draw(model(graphs)), labels)

    def loss(
        self, outputs: Float[Tensor, "B 2 height width channels"], labels: Targets
    ) -> Float[Tensor, ""]:
        return self._mse(outputs[:, 0], labels)

    def metrics(
        self, outputs: Float[Tensor, "N 2 height width channels"], labels: Targets
    ) -> dict[str, float]:
        """Mean squared errors of images in [0, 1]; means over networks.

        `mse` of the edited networks, `unedited_mse` of the networks as they were, `share` of the
        second that the first is, and `mse_as_fitted`, `mse` in the range that INRs were fitted in.
        """
        mse, unedited = (self._mse(drawn, labels).item() for drawn in outputs.unbind(1))
        low, high = self._preset.target_range
        return {
            "minus_mse": -mse,
            "mse": mse,
            "unedited_mse": unedited,
            "share": mse / unedited if unedited else 0.0,
            "mse_as_fitted": mse * (high - low) ** 2,
            "loss": mse,
        }

    def figures(
        self, outputs: Float[Tensor, "N 2 height width channels"], labels: Targets, *, title: str
    ) -> dict[str, Figure]:
        """`edits`: of some networks what they drew, were to draw, draw, and the error of that."""
        shown = np.unique(np.linspace(0, len(labels) - 1, NUM_SHOWN).round().astype(int))
        drawn, before = outputs[shown].unbind(1)
        targets = self.targets(labels[shown])
        errors = (drawn - targets).square().mean(dim=(1, 2, 3))
        rows = {
            "INR": before,
            self.edit: targets,
            "edited": drawn,
            "error": (drawn - targets).abs(),
        }
        figure = plot_image_rows(
            {name: images.clamp(0, 1).numpy() for name, images in rows.items()},
            titles=[f"MSE\n{error:.4f}" for error in errors.tolist()],
            caption=title,
        )
        return {"edits": figure}

    def _mse(self, drawn: Drawn, labels: Targets) -> Float[Tensor, ""]:
        return (drawn - self.targets(labels)).square().mean()

    def _head_options(self) -> dict[str, Any]:
        return {
            "dims": self.dims,
            "statistics": self.statistics(),
            "is_residual": self.is_residual,
            "num_copies": self.num_copies,
        }

    def _num_values_read(self) -> int:
        """Numbers of a network in the widest layer, at all pixels of all copies."""
        return self.num_copies * self._num_points * max(self.zoo.spec.layer_layout)


def _check_copies(num_copies: int, zoo: Zoo, *, num_points: int) -> None:
    """One network's copies can be drawn, with gradients, in memory."""
    numbers = zoo.spec.num_params + num_points * sum(zoo.spec.layer_layout[1:])
    needed, memory = 2 * BYTES * num_copies * numbers, physical_memory()
    if memory is not None and needed > memory:
        raise NNGraphsError(
            f"write {num_copies} networks for each network",
            found=f"to draw one edit takes {needed / 1e9:.0f} GB, the machine has "
            f"{memory / 1e9:.0f}.",
            do=f"Give num_copies of at most {max(1, memory * num_copies // (2 * needed))}.",
        )


def _check_drawn(drawn: Drawn) -> None:
    if drawn.isfinite().all():
        return
    is_bad = ~drawn.isfinite().flatten(1).all(1)
    raise NNGraphsError(
        f"draw what {len(drawn)} networks draw",
        found=f"of {int(is_bad.sum())} it is NaN or infinite, the first is number "
        f"{int(is_bad.int().argmax())}.",
        do="Train with a smaller learning_rate, or a smaller gradient_clip.",
    )
