"""How much faster is reading 2,000 INRs from a zoo file than 2,000 calls of torch.load?

Both sides end with all parameters of all networks in one tensor.
"""

import sys
import tempfile
from pathlib import Path

sys.path.append(str(Path(__file__).parents[1]))

import pandas as pd
import torch
from support.benchmarks import record, seconds

from nn_graphs.networks.inr import PRESETS
from nn_graphs.zoos.zoo import Zoo

NUM_NETWORKS = 2000


def main() -> None:
    preset = PRESETS["dws"]
    spec = preset.make_spec((2, 32, 32, 1))
    params = preset.initial_params(spec, start=0, stop=NUM_NETWORKS, seed=0)
    with tempfile.TemporaryDirectory() as folder:
        files = [Path(folder) / f"{number}.pth" for number in range(NUM_NETWORKS)]
        for file, row in zip(files, params, strict=True):
            state = {k: v.clone() for k, v in spec.parameters.unflatten(row).items()}
            torch.save(state, file)
        zoo_file = Path(folder) / "zoo.h5"
        Zoo.single(spec, params, pd.DataFrame({"label": [0] * NUM_NETWORKS})).save(zoo_file)

        def read_files() -> torch.Tensor:
            return torch.stack(
                [spec.parameters.flatten(torch.load(file, weights_only=True)) for file in files]
            )

        def read_zoo() -> torch.Tensor:
            return Zoo.open(zoo_file).params[0].clone()

        assert torch.equal(read_files(), read_zoo())
        record(
            "read 2,000 INRs",
            setting="2-32-32-1, files in the page cache",
            unit="s",
            plain=seconds(read_files, repeats=3),
            ours=seconds(read_zoo, repeats=9),
            remark="Equal bit for bit.",
        )


if __name__ == "__main__":
    main()
