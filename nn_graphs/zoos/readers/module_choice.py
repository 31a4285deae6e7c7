"""Several torch modules, of which each file says by its tensors' names which one it is of."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from nn_graphs.errors import NNGraphsError
from nn_graphs.graphs.architecture_specs import AnySpec
from nn_graphs.zoos.readers.checkpoints import Checkpoint
from nn_graphs.zoos.readers.given_architectures import MixedArchitecture, StateFlattener
from nn_graphs.zoos.readers.module_architecture import ModuleArchitecture
from nn_graphs.zoos.readers.read_report import Reason, Skipped
from nn_graphs.zoos.readers.weight_names import listed


@dataclass(frozen=True)
class ModuleChoice(MixedArchitecture):
    """One of several modules for each network.

    The column `module` of the table says which, by its path or by the last name in it; where it
    says nothing, names and shapes of a file's tensors do. Only modules that are given here are
    imported, none that a file names.

    Attributes:
        modules: the architectures, or their paths, as `nets:Small`.
        input_shape: of one input of those that are given by their paths, see `ModuleArchitecture`.
    """

    modules: Sequence[ModuleArchitecture | str]
    input_shape: Sequence[int] | None = None
    _known: dict[str, StateFlattener] = field(default_factory=dict, init=False, repr=False)

    def __post_init__(self):
        if not self.modules:
            raise NNGraphsError(
                "choose among torch modules",
                found="none is given.",
                do="Give their paths, as nets:Small.",
            )
        made = (
            ModuleArchitecture(one, input_shape=self.input_shape) if isinstance(one, str) else one
            for one in self.modules
        )
        object.__setattr__(self, "modules", tuple(made))

    def make_spec(self, checkpoint: Checkpoint, row: Mapping[str, Any]) -> AnySpec:
        return self.flattener(checkpoint, row).spec

    def flattener(self, checkpoint: Checkpoint, row: Mapping[str, Any]) -> StateFlattener:
        """What makes a flat vector of the network in a file; see `MixedArchitecture.make_spec`.

        Raises:
            Skipped: its tensors are those of no module, or of several.
            NNGraphsError: a module cannot be made or traced.
        """
        known = self._flatteners()
        said = str(row.get("module") or "")
        if said:
            named = [target for target in known if said in _names(target)]
            if len(named) != 1:
                raise Skipped(
                    Reason.LABEL, f"its module is {said}, those given are {', '.join(known)}."
                )
            return known[named[0]]
        fitting = [target for target in known if known[target].fits(checkpoint.state)]
        if len(fitting) == 1:
            return known[fitting[0]]
        shapes = checkpoint.shapes()
        found = (
            f"its tensors fit {', '.join(fitting)}; say which in the column module"
            if fitting
            else f"its tensors {listed(shapes)} are those of none of {', '.join(known)}"
        )
        raise Skipped(Reason.SHAPE, f"{found}.")

    def _flatteners(self) -> dict[str, StateFlattener]:
        """By the path of each module, made when the first file asks."""
        for module in self.modules:
            if module.target not in self._known:
                self._known[module.target] = StateFlattener.of(module, dict)
        return self._known


def _names(target: str) -> tuple[str, str]:
    """The path of a module, and the last name in it."""
    return target, target.replace(":", ".").rpartition(".")[2]
