"""Error along one measure of graphs, the other held within a window: a quadratic and its lowest
point (You et al., ICML 2020, the one-measure figures)."""

from dataclasses import dataclass
from typing import Literal

import numpy as np
import pandas as pd
from jaxtyping import Float

from nn_graphs.errors import NNGraphsError, check_known
from nn_graphs.relational_results.table import check_single

Measure = Literal["clustering", "path_length"]

OTHER: dict[str, Measure] = {"clustering": "path_length", "path_length": "clustering"}
WINDOWS = {
    "path_length": (0.4, 0.6),
    "clustering": (2.0, 2.5),
}  # of the other measure, as published


@dataclass(frozen=True)
class Curve:
    """error = a x^2 + b x + c.

    Attributes:
        along: the measure x.
        window: lowest and highest value of the other measure, both included.
        graphs: the rows of mean errors that the curve was fitted to.
        coefficients: a, b, c.
        r2: the share of the variance that it explains.
    """

    along: Measure
    window: tuple[float, float]
    graphs: pd.DataFrame
    coefficients: tuple[float, float, float]
    r2: float

    @property
    def vertex(self) -> float:
        """Where the curve turns: the best x, if it is open to the top (a > 0)."""
        a, b, _ = self.coefficients
        return -b / (2 * a)

    def __call__(self, values: Float[np.ndarray, " N"]) -> Float[np.ndarray, " N"]:
        """The errors on the curve."""
        return np.polyval(self.coefficients, values)


def fit_curve(
    errors: pd.DataFrame, *, along: Measure, window: tuple[float, float] | None = None
) -> Curve:
    """Least squares of the mean errors of one task and epoch.

    Args:
        errors: as `mean_errors` returns them. The baseline counts where it lies in the window; with
            C = L = 1 it lies in none of the published ones.
        along: the measure that varies.
        window: of the other measure; None: the published one.

    Raises:
        NNGraphsError: an unknown measure, several tasks or epochs, or fewer than three different
            graphs in the window.
    """
    check_known(along, WINDOWS, asked=f"fit a curve along {along!r}")
    check_single(errors, "fit a curve")
    low, high = window = WINDOWS[along] if window is None else window
    graphs = errors[errors[OTHER[along]].between(low, high)]
    x, y = graphs[along].to_numpy(float), graphs["error"].to_numpy(float)
    if len(np.unique(x)) < 3:
        raise NNGraphsError(
            f"fit a quadratic along {along}",
            found=f"{len(x)} graphs have a {OTHER[along]} from {low:g} to {high:g}.",
            do="Give a wider window, or more graphs.",
        )
    coefficients = tuple(np.polyfit(x, y, 2).tolist())
    residual = y - np.polyval(coefficients, x)
    r2 = 1 - (residual**2).sum() / ((y - y.mean()) ** 2).sum()
    return Curve(along, window, graphs, coefficients, float(r2))
