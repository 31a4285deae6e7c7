"""Tensors in one safetensors file, with JSON data that says what they are; no code in it is run."""

import importlib.metadata
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from nn_graphs.errors import NNGraphsError
from nn_graphs.whole_files import whole_file

FORMAT = 1


@dataclass(frozen=True)
class DescribedTensors:
    """A kind of such files; its methods raise NNGraphsError, told in its words.

    Attributes:
        key: the one entry of the metadata: of several, the order is by chance.
        noun: what a file holds, e.g. "encoder".
        saved_by: the function that writes it.
        make_again: what to do about a file of another format, e.g. "train the encoder again".
        missing: what to do where there is no file.
    """

    key: str
    noun: str
    saved_by: str
    make_again: str
    missing: str

    def write(
        self, path: str | Path, tensors: Mapping[str, Tensor], description: Mapping[str, Any]
    ) -> Path:
        """Writes a file, as a whole or not at all; equal contents make equal files."""
        path = Path(path)
        record = {"format": FORMAT, "nn_graphs": _version(), **description}
        kept = {name: value.detach().cpu().contiguous().clone() for name, value in tensors.items()}
        try:
            with whole_file(path) as partial:
                save_file(kept, partial, {self.key: json.dumps(record)})
        except (OSError, SafetensorError) as error:
            raise NNGraphsError(
                f"save the {self.noun} to {path}",
                found=f"the file cannot be written ({error}).",
                do="Choose another path.",
            ) from error
        return path

    def read(self, path: str | Path) -> tuple[dict[str, Any], dict[str, Tensor]]:
        """The description, and the tensors on the CPU.

        Each is in memory of its own, aligned as torch aligns it: matrix products of some processors
        differ by a rounding where weights lie anywhere in the file.
        """
        path = Path(path)
        if not path.is_file():
            raise self._refused(path, "there is no such file.", self.missing)
        try:
            with safe_open(path, "pt") as file:
                metadata = file.metadata() or {}
                names = file.keys()  # the file itself is no mapping
                tensors = {name: file.get_tensor(name).clone() for name in names}
        except (OSError, SafetensorError) as error:
            raise self.damaged(path, str(error)) from error
        return self._description(path, metadata), tensors

    def damaged(self, path: str | Path, cause: str) -> NNGraphsError:
        """What to say of a file that is not as it was written."""
        found = f"it is truncated, or no file of {self.saved_by} ({cause})."
        return self._refused(Path(path), found, f"Copy it again, or save the {self.noun} anew.")

    def _description(self, path: Path, metadata: Mapping[str, str]) -> dict[str, Any]:
        if self.key not in metadata:
            found = f"it holds tensors, but does not say of which {self.noun}."
            raise self._refused(path, found, f"Give a file that {self.saved_by} wrote.")
        try:
            record = dict(json.loads(metadata[self.key]))
            found, version = record["format"], record.get("nn_graphs")
        except (KeyError, TypeError, ValueError) as error:
            raise self.damaged(path, f"its metadata cannot be read: {error!r}") from error
        if found != FORMAT:
            raise self._refused(
                path,
                f"it is of format {found}, written by nn_graphs {version}; {_version()} reads "
                f"format {FORMAT}.",
                f"Use that version, or {self.make_again}.",
            )
        return record

    def _refused(self, path: Path, found: str, do: str) -> NNGraphsError:
        article = "an" if self.noun[0] in "aeiou" else "a"
        return NNGraphsError(f"load {article} {self.noun} from {path}", found=found, do=do)


def _version() -> str:
    return importlib.metadata.version("nn_graphs")
