"""How much faster is making a zoo of INRs than fitting one network at a time in plain torch?

python bench_fitting.py                     # MNIST where it is under the data root, and digits
"""

import argparse
import sys
import tempfile
import time
from pathlib import Path

sys.path.append(str(Path(__file__).parents[1]))

import torch
from support.benchmarks import RESULTS, record
from support.paths import default_data_root
from torch import Tensor

from nn_graphs.datasets import load_images
from nn_graphs.errors import NNGraphsError
from nn_graphs.networks.inr import PRESETS
from nn_graphs.networks.spec import NetworkSpec
from nn_graphs.zoos.makers.inr_zoos import INRRecipe, inr_targets, make_inr_zoo

PRESET = PRESETS["dws"]
LEARNING_RATE = 5e-4
STOP_LOSS = PRESET.mse_at(40.0)  # of both ways, as published


def fit_one_by_one(
    spec: NetworkSpec, params: Tensor, targets: Tensor, coordinates: Tensor, *, num_steps: int
) -> Tensor:
    """The plain way: a torch module per image, its own Adam, a Python loop over steps."""
    losses = []
    for initial, target in zip(params, targets, strict=True):
        module = spec.make_module()
        module.load_state_dict(spec.parameters.unflatten(initial))
        optimizer = torch.optim.Adam(module.parameters(), lr=LEARNING_RATE)
        pixels = target.T
        for _ in range(num_steps):
            loss = (module(coordinates) - pixels).square().mean()
            if loss.item() <= STOP_LOSS:
                break
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        losses.append((module(coordinates) - pixels).square().mean().detach())
    return torch.stack(losses)


def compare(dataset: str, *, num_plain: int, num_ours: int, num_steps: int, results: Path) -> None:
    root = default_data_root()
    recipe = INRRecipe(
        dataset=dataset, num_steps=num_steps, num_train=num_ours - 2, num_val=1, num_test=1
    )
    images = load_images(dataset, root)
    start = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:  # all that a user waits for, start-up included
        zoo = make_inr_zoo(recipe, Path(folder) / "zoo.h5", data_root=root)
        psnr = zoo.table["psnr"].to_numpy()[:num_plain].mean()
    ours = num_ours / (time.perf_counter() - start)

    height, width = images.images.shape[1:3]
    start = time.perf_counter()
    plain_losses = fit_one_by_one(
        zoo.spec,
        PRESET.initial_params(zoo.spec, start=0, stop=num_plain, seed=recipe.seed),
        inr_targets(PRESET, images, zoo.table["source_id"].to_numpy()[:num_plain]),
        PRESET.coordinates(height, width),
        num_steps=num_steps,
    )
    plain = num_plain / (time.perf_counter() - start)
    record(
        "INR fits per second",
        setting=f"{dataset} {height}x{width}, 2-32-32-1, 40 dB or {num_steps} Adam steps",
        unit="fits/s",
        plain=plain,
        ours=ours,
        remark=f"{num_ours} fits. Mean PSNR of the same {num_plain} images: "
        f"plain {PRESET.psnr(plain_losses).mean():.2f} dB, ours {psnr:.2f} dB.",
        results=results,
    )


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--num-plain", type=int, default=6, help="networks of the plain way")
    parser.add_argument("--num-ours", type=int, default=1400, help="networks of the stacked way")
    parser.add_argument("--num-steps", type=int, default=1000, help="of Adam")
    parser.add_argument("--results", type=Path, default=RESULTS, help="the file to append to")
    options = vars(parser.parse_args())
    for dataset in ("digits", "mnist"):
        try:
            compare(dataset, **options)
        except NNGraphsError as error:
            print(f"{dataset} is left out: {error}")


if __name__ == "__main__":
    main()
