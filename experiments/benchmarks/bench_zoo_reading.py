"""How much faster is reading 2,000 INRs from a zoo file than 2,000 calls of torch.load?

    python bench_zoo_reading.py

Both sides end with all parameters of all networks in one tensor.
"""

import argparse
import sys
import tempfile
from pathlib import Path

sys.path.append(str(Path(__file__).parents[1]))

import pandas as pd
import torch
from support.benchmarks import RESULTS, record, seconds

from nn_graphs.networks.inr import PRESETS
from nn_graphs.zoos.zoo import Zoo


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--num-networks", type=int, default=2000)
    parser.add_argument("--results", type=Path, default=RESULTS, help="the file to append to")
    return parser.parse_args()


def main() -> None:
    options = parse_arguments()
    num_networks = options.num_networks
    preset = PRESETS["dws"]
    spec = preset.make_spec((2, 32, 32, 1))
    params = preset.initial_params(spec, start=0, stop=num_networks, seed=0)
    with tempfile.TemporaryDirectory() as folder:
        files = [Path(folder) / f"{number}.pth" for number in range(num_networks)]
        for file, row in zip(files, params, strict=True):
            state = {k: v.clone() for k, v in spec.parameters.unflatten(row).items()}
            torch.save(state, file)
        zoo_file = Path(folder) / "zoo.h5"
        Zoo.single(spec, params, pd.DataFrame({"label": [0] * num_networks})).save(zoo_file)

        def read_files() -> torch.Tensor:
            return torch.stack(
                [spec.parameters.flatten(torch.load(file, weights_only=True)) for file in files]
            )

        def read_zoo() -> torch.Tensor:
            return Zoo.open(zoo_file).params[0].clone()

        assert torch.equal(read_files(), read_zoo())
        record(
            f"read {num_networks:,} INRs",
            setting="2-32-32-1, files in the page cache",
            unit="s",
            plain=seconds(read_files, repeats=3),
            ours=seconds(read_zoo, repeats=9),
            remark="Equal bit for bit.",
            results=options.results,
        )


if __name__ == "__main__":
    main()
