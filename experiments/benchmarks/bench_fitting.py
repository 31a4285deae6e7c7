"""How much faster is stacked fitting of INRs than one network at a time in plain torch?

python bench_fitting.py                     # MNIST where it is under the data root, and digits
"""

import argparse
import sys
import time
from pathlib import Path

sys.path.append(str(Path(__file__).parents[1]))

import torch
from support.benchmarks import RESULTS, record
from support.paths import default_data_root
from torch import Tensor

from nn_graphs.datasets import load_images
from nn_graphs.errors import NNGraphsError
from nn_graphs.networks.fitting import Adam, fit_networks
from nn_graphs.networks.inr import PRESETS
from nn_graphs.networks.spec import NetworkSpec
from nn_graphs.zoos.makers.inr import fitting_chunk_size, inr_loss_fn, inr_targets

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
    images = load_images(dataset, default_data_root())
    height, width = images.images.shape[1:3]
    spec = PRESET.make_spec((2, 32, 32, images.images.shape[-1]))
    coordinates = PRESET.coordinates(height, width)
    params = PRESET.initial_params(spec, start=0, stop=num_ours, seed=0)
    targets = inr_targets(PRESET, images, torch.arange(num_ours).numpy())
    chunk = fitting_chunk_size(spec, num_points=height * width)

    def fit_stacked(number: int, num_steps: int):
        return fit_networks(
            inr_loss_fn(spec, coordinates),
            params[:number],
            targets[:number],
            num_steps=num_steps,
            optimizer=Adam(LEARNING_RATE),
            stop_loss=STOP_LOSS,
            chunk_size=chunk,
        )

    start = time.perf_counter()
    plain_losses = fit_one_by_one(
        spec, params[:num_plain], targets[:num_plain], coordinates, num_steps=num_steps
    )
    plain = num_plain / (time.perf_counter() - start)
    fit_stacked(num_ours, 2)  # compiles
    start = time.perf_counter()
    losses = fit_stacked(num_ours, num_steps).losses
    ours = num_ours / (time.perf_counter() - start)
    plain_psnr = PRESET.psnr(plain_losses).mean()
    psnr = PRESET.psnr(losses[:num_plain]).mean()
    record(
        "INR fits per second",
        setting=f"{dataset} {height}x{width}, 2-32-32-1, 40 dB or {num_steps} Adam steps",
        unit="fits/s",
        plain=plain,
        ours=ours,
        remark=f"Mean PSNR of the same {num_plain} images: plain {plain_psnr:.2f} dB, "
        f"ours {psnr:.2f} dB.",
        results=results,
    )


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--num-plain", type=int, default=6, help="networks of the plain way")
    parser.add_argument("--num-chunks", type=int, default=3, help="chunks of the stacked way")
    parser.add_argument("--num-steps", type=int, default=1000, help="of Adam")
    parser.add_argument("--results", type=Path, default=RESULTS, help="the file to append to")
    options = vars(parser.parse_args())
    num_chunks = options.pop("num_chunks")
    for dataset, chunk in (("digits", 195), ("mnist", 15)):
        try:
            compare(dataset, num_ours=num_chunks * chunk, **options)
        except NNGraphsError as error:
            print(f"{dataset} is left out: {error}")


if __name__ == "__main__":
    main()
