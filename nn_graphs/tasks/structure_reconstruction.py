"""Reconstruction: encoders of graphs trained without labels, by what their vectors tell of graphs.

The variational auto-encoder of StructureReps (Kipf and Welling, 2016), by the same training as all
tasks. Any encoder of neural graphs stands in front, as in supervised tasks (`make_classifier`):
only what is behind it differs.
"""

from collections.abc import Sequence
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn

from nn_graphs.encoders.pooling import PoolingMethod
from nn_graphs.encoders.vgae.graph_autoencoder import LOSS_NAMES, VGAE, Reconstruction
from nn_graphs.errors import NNGraphsError
from nn_graphs.ranges import Count, NonNegative, PositiveInt, in_ranges
from nn_graphs.tasks.task import Task
from nn_graphs.zoos.zoo import Zoo


@in_ranges
class StructureReconstruction(Task):
    """Tells from vectors of neurons which of them are joined, and by which weights.

    Models are chosen by `elbo`, minus the loss on val, of one draw of the latents that is the same
    in every epoch; where all factors are 1 and weights are not decoded, it is the bound of the
    likelihood per pair of neurons.

    Without labels, networks of one run may lie in several splits.

    Attributes:
        latent_dim: numbers per neuron.
        adjacency_factor, weight_factor, kl_factor, all_pairs_below, hidden_dim: see `VGAE`.
    """

    name = "structure_reconstruction"
    metric = "elbo"
    digits = 4

    def __init__(
        self,
        zoo: Zoo,
        *,
        latent_dim: PositiveInt = 16,
        adjacency_factor: NonNegative = 1.0,
        weight_factor: NonNegative = 0.0,
        kl_factor: NonNegative = 1.0,
        all_pairs_below: Count = 512,
        hidden_dim: PositiveInt = 32,
    ):
        """
        Raises:
            NNGraphsError: neither edges nor weights are to be told, a factor is negative, or
                vectors have no numbers.
        """
        if adjacency_factor + weight_factor == 0:
            raise NNGraphsError(
                "train encoders to reconstruct graphs",
                found="adjacency_factor, weight_factor and kl_factor are "
                f"{adjacency_factor}, {weight_factor} and {kl_factor}.",
                do="Give one of the first two above 0.",
            )
        super().__init__(zoo)
        self.latent_dim, self.hidden_dim = latent_dim, hidden_dim
        self.adjacency_factor, self.weight_factor = adjacency_factor, weight_factor
        self.kl_factor, self.all_pairs_below = kl_factor, all_pairs_below

    @property
    def out_dim(self) -> int:
        """There is none.

        Raises:
            NNGraphsError: always.
        """
        raise NNGraphsError(
            f"make a model with outputs for {self.name}",
            found="it has no labels: encoders of graphs are trained, and nothing else.",
            do="Choose such an encoder, e.g. NGGNN, NGT or StructureEncoder.",
        )

    def make_model(
        self,
        encoder: nn.Module,
        *,
        pooling: PoolingMethod,
        pooled_layer: Literal["last", "all"] | int,
        hidden_dims: Sequence[PositiveInt] = (),
    ) -> Reconstruction:
        """The encoder in front of a VGAE, whose latents are pooled for embeddings alone.

        Args:
            encoder: of neural graphs.
            pooling, pooled_layer: see `VGAE`.
            hidden_dims: of heads of supervised tasks; they have no use here.
        """
        return Reconstruction(
            VGAE(
                encoder,
                self.dims,
                self.statistics() if self.weight_factor else None,
                latent_dim=self.latent_dim,
                adjacency_factor=self.adjacency_factor,
                weight_factor=self.weight_factor,
                kl_factor=self.kl_factor,
                all_pairs_below=self.all_pairs_below,
                hidden_dim=self.hidden_dim,
                pooling=pooling,
                pooled_layer=pooled_layer,
            ),
            mixed=self.dataset("train").mixed,
        )

    def labels(self) -> Float[Tensor, "N 0"]:
        """None: a row of no numbers per network."""
        return torch.zeros(len(self.zoo), 0)

    def loss(self, outputs: Float[Tensor, "B 4"], labels: Float[Tensor, "B 0"]) -> Tensor:
        return outputs[:, 0].mean()

    def metrics(
        self, outputs: Float[Tensor, "N 4"], labels: Float[Tensor, "N 0"]
    ) -> dict[str, float]:
        """`elbo`, and the means of all losses, `adjacency`, `weights` and `divergence`."""
        means = dict(zip(LOSS_NAMES, outputs.double().mean(0).tolist(), strict=True))
        loss = means.pop("total")
        return {"elbo": -loss, **means, "loss": loss}

    def _check_sources(self) -> None:
        """Without labels nothing is told in one split of another one."""
