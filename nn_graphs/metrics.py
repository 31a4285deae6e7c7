"""Metrics of predictions against labels."""

from jaxtyping import Float, Int
from torch import Tensor


def accuracy(logits: Float[Tensor, "N classes"], labels: Int[Tensor, "N"]) -> float:
    """Share of networks whose largest logit is that of their label, in percent."""
    return 100 * (logits.argmax(dim=1) == labels).double().mean().item()
