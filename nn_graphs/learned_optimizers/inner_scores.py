"""What is said of a finished inner training: quality, loss, and how soon it was as good as Adam."""

from typing import NamedTuple

from nn_graphs.learned_optimizers.inner_curves import InnerCurves, steps_to_reach


class AdamSteps(NamedTuple):
    """How far tuned Adam came.

    Attributes:
        loss: its best validation loss, a mean over networks.
        steps: after which it had that.
    """

    loss: float
    steps: int


def adam_steps(curves: InnerCurves) -> AdamSteps:
    """Of the curves of tuned Adam."""
    mean = curves.val_losses.mean(0)
    best = int(mean.argmin())
    return AdamSteps(mean[best].item(), curves.val_steps[best])


def curve_metrics(curves: InnerCurves, adam: AdamSteps | None) -> list[dict[str, float]]:
    """Metrics of every network.

    `speedup` is the number of steps of tuned Adam to its own best loss over the number of steps to
    that loss here, 0 where it is never reached (as in GradMetaNet, Gelberg et al., 2025).

    Args:
        curves: of an optimizer.
        adam: how far Adam came on the same task; None: nothing is compared.
    """
    found = []
    for row in range(len(curves.test_losses)):
        metrics = {
            "test/quality": curves.test_qualities[row].item(),
            "test/loss": curves.test_losses[row].item(),
            "val/loss": curves.val_losses[row, -1].item(),
            "train/loss": curves.train_losses[row, -20:].mean().item(),
            "diverged": float(curves.has_diverged[row]),
            "milliseconds": 1000 * curves.seconds / curves.train_losses.numel(),
        }
        if adam is not None:
            steps = steps_to_reach(curves.val_losses[row], curves.val_steps, adam.loss)
            metrics["speedup"] = 0.0 if steps is None else adam.steps / steps
        found.append(metrics)
    return found
