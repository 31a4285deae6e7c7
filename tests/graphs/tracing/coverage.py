"""Which families of transformers are traced: `python -m tests.graphs.tracing.coverage`.

Writes docs/coverage.md: what has been made, traced, kept as opaque, and shown to keep its outputs
under its symmetries. A family takes seconds; all of them half an hour of a core.
"""

import json
import signal
import sys
from collections import Counter
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
import transformers
from torch import Tensor, nn

from nn_graphs.errors import NNGraphsError
from nn_graphs.graphs.graph_template import GraphTemplate
from nn_graphs.graphs.symmetry import apply_symmetries, sample_symmetries
from nn_graphs.graphs.tracing import trace
from tests.graphs.tracing.families import LARGEST, family_names, small_model

PAGE = Path(__file__).parents[3] / "docs" / "coverage.md"
SECONDS = 90  # for one family
TOLERANCE = 1e-4  # in float32, as the models cast to


@dataclass(frozen=True)
class Coverage:
    """What was found of one family.

    Attributes:
        family: its name in transformers.
        num_params: of the small model.
        stands_for: "traced", "opaque" or "refused"; "not made" where there is no model.
        reason: operations that are opaque, or what stood in the way.
        share: of the parameters that the graph shows.
        error: of the outputs after drawn symmetries, relative to the largest.
    """

    family: str
    num_params: int = 0
    stands_for: str = "not made"
    reason: str = ""
    share: float = 0.0
    error: float | None = None


def coverage_of(family: str) -> Coverage:
    """Makes a small model of a family, traces it, and draws symmetries."""
    try:
        module, inputs = small_model(family)
    except Exception as error:  # any at all: models of others
        return Coverage(family, reason=_shown(error))
    count = sum(parameter.numel() for parameter in module.parameters())
    kind, reason = "traced", ""
    try:
        template = trace(module, inputs)
    except NNGraphsError as refused:
        kind, reason = "opaque", refused.found
        try:
            template = trace(module, inputs, unknown="opaque")
        except NNGraphsError as error:
            return Coverage(family, count, "refused", _shown(error.found))
        operations = dict.fromkeys(own.operation for own in template.opaque_operations)
        reason = ", ".join(name.removeprefix("aten.") for name in operations) or reason
    share = 1 - template.num_unshown / template.num_params
    return Coverage(
        family, count, kind, _shown(reason), share, symmetry_error(template, module, inputs)
    )


@torch.no_grad()
def symmetry_error(
    template: GraphTemplate, module: nn.Module, inputs: tuple[Tensor, ...]
) -> float | None:
    """How far outputs move under drawn symmetries, relative to the largest; None if all are 0."""
    before, params = outputs_of(module, inputs), template.parameters.flatten(module)
    if not before.isfinite().all() or not before.any():
        return None
    generator = torch.Generator().manual_seed(0)
    element = sample_symmetries(template, 1, generator=generator, dtype=params.dtype)
    moved = apply_symmetries(template, params[None], element)[0]
    module.load_state_dict(template.parameters.unflatten(moved), strict=False)
    return float((outputs_of(module, inputs) - before).abs().max() / before.abs().max())


def outputs_of(module: nn.Module, inputs: tuple[Tensor, ...]) -> Tensor:
    """Always with the same random numbers, which masked autoencoders draw."""
    torch.manual_seed(0)
    return module(*inputs)


def _shown(reason: object) -> str:
    text = " ".join(str(reason).split()).replace("|", "/")
    return text if len(text) <= 90 else text[:87] + "..."


def page(rows: list[Coverage]) -> str:
    """The page of all that was found."""
    made = [row for row in rows if row.stands_for != "not made"]
    counts = Counter(row.stands_for for row in made)
    wrong = [row for row in made if row.error is not None and not row.error < TOLERANCE]
    lines = [
        "# Coverage of tracing",
        "",
        f"Families of transformers {transformers.__version__}, two layers and small widths, random "
        f"weights, at most {LARGEST:,} parameters. Made by "
        "`python -m tests.graphs.tracing.coverage`; the slow tests hold it true.",
        "",
        f"Of {len(rows)} families {len(made)} can be made of their configuration alone. Of these "
        f"**{counts['traced']} trace as they are, {counts['opaque']} with opaque operations** "
        f'(`trace(..., unknown="opaque")`), {counts["refused"]} are refused, mostly because '
        f"torch.export cannot follow them. Outputs move under drawn symmetries by more than "
        f"{TOLERANCE:g} in {len(wrong)}.",
        "",
        "| family | parameters | | shown | outputs under symmetries | opaque, or in the way |",
        "|---|---|---|---|---|---|",
    ]
    for row in made:
        shown = f"{row.share:.1%}" if row.error is not None else ""
        error = f"{row.error:.0e}" if row.error is not None else ""
        cells = row.family, f"{row.num_params:,}", row.stands_for, shown, error, row.reason
        lines.append(f"| {' | '.join(cells)} |")
    others = ", ".join(row.family for row in rows if row.stands_for == "not made")
    return "\n".join([*lines, "", f"Not made: {others}.", ""])


def main() -> None:
    names = sys.argv[1:] or family_names()
    rows = []
    signal.signal(signal.SIGALRM, _too_slow)
    for family in names:
        signal.alarm(SECONDS)
        try:
            rows.append(coverage_of(family))
        except TimeoutError:
            rows.append(Coverage(family, reason="slow"))
        except Exception as error:
            rows.append(Coverage(family, 1, "refused", f"a raw error: {_shown(error)}"))
        signal.alarm(0)
        print(json.dumps(asdict(rows[-1])), flush=True)
    if not sys.argv[1:]:
        PAGE.write_text(page(rows), encoding="utf-8")


def _too_slow(*_: object) -> None:
    raise TimeoutError


if __name__ == "__main__":
    main()
