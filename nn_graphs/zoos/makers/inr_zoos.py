"""Fit zoos of INRs: one small network per image, many images at once, resumable by shard."""

import dataclasses
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from einops import rearrange
from jaxtyping import Float
from torch import Tensor

from nn_graphs.datasets import ImageDataset, load_images
from nn_graphs.errors import NNGraphsError
from nn_graphs.networks.fitting import Adam, fit_networks
from nn_graphs.networks.inr import INRPreset, inr_preset
from nn_graphs.networks.spec import NetworkSpec
from nn_graphs.networks.stacked import channel_first_layers
from nn_graphs.progress import Progress, progress_bar
from nn_graphs.ranges import Count, PositiveFloat, PositiveInt, Seed, in_ranges
from nn_graphs.zoos.makers.shards import Shards, default_num_workers, fit_shards
from nn_graphs.zoos.zoo import Zoo

CACHE_VALUES = 400_000  # values of one layer in one chunk that stay in a core's cache
CHUNKS_A_SHARD = 16


@in_ranges
@dataclass(frozen=True)
class INRRecipe:
    """What a zoo of INRs is made of; equal recipes make equal zoos.

    Attributes:
        dataset: name of the images, or the path of your own, see `nn_graphs.datasets`.
        preset: name of the INR convention, see `nn_graphs.networks.inr`.
        hidden_widths: neurons of the sine layers.
        num_steps: Adam steps of an INR that does not reach `target_psnr` before.
        learning_rate: of Adam.
        target_psnr: in dB; an INR that reaches it stops.
        num_train, num_val, num_test: images of each split. Validation images are drawn from the
            data set's training images, disjoint from those of the split train. None: all there are
            (num_val must then be given).
        num_inits: independent initial values, hence INRs, per training image.
        seed: of the choice of images and of all initial values.
        contents: the fingerprint of the images, which must be these; None: whichever are there.
    """

    dataset: str = "digits"
    preset: str = "dws"
    hidden_widths: Sequence[PositiveInt] = (32, 32)
    num_steps: Count = 1000
    learning_rate: PositiveFloat = 5e-4
    target_psnr: PositiveFloat = 40.0
    num_train: PositiveInt | None = None
    num_val: Count = 200
    num_test: PositiveInt | None = None
    num_inits: PositiveInt = 1
    seed: Seed = 0
    contents: str | None = None

    def __post_init__(self):
        object.__setattr__(self, "hidden_widths", tuple(self.hidden_widths))

    def make(
        self,
        path: str | Path,
        *,
        data_root: str | Path | None = None,
        device: str | torch.device = "cpu",
    ) -> Zoo:
        """See `ZooRecipe.make`, and `make_inr_zoo` for more options."""
        return make_inr_zoo(self, path, data_root=data_root, device=device)

    def make_spec(self, images: ImageDataset) -> NetworkSpec:
        channels = images.images.shape[-1]
        return inr_preset(self.preset).make_spec((2, *self.hidden_widths, channels))

    def make_table(self, images: ImageDataset) -> pd.DataFrame:
        """One row per INR of the zoo: label, split, run, view and source_id (the image's number).

        Raises:
            NNGraphsError: the data set has fewer images than are asked for.
        """
        generator = np.random.default_rng(self.seed)
        pool = generator.permutation(images.num_train)
        tests = np.arange(images.num_train, len(images.images))
        num_train = len(pool) - self.num_val if self.num_train is None else self.num_train
        num_test = len(tests) if self.num_test is None else self.num_test
        if num_train < 1 or num_train + self.num_val > len(pool) or num_test > len(tests):
            raise NNGraphsError(
                f"choose {num_train} training, {self.num_val} validation and {num_test} test "
                f"images of {self.dataset}",
                found=f"it has {len(pool)} images for training and validation and "
                f"{len(tests)} for testing.",
                do="Ask for fewer.",
            )
        train = np.repeat(pool[:num_train], self.num_inits)
        val = pool[num_train : num_train + self.num_val]
        sources = np.concatenate([train, val, tests[:num_test]])
        splits = np.repeat(["train", "val", "test"], [len(train), len(val), num_test])
        view = np.where(splits == "train", np.arange(len(sources)) % self.num_inits, 0)
        return pd.DataFrame(
            {
                "label": images.labels[sources],
                "split": splits.astype(object),
                "run": np.arange(len(sources)),
                "view": view,
                "source_id": sources,
            }
        )


def make_inr_zoo(
    recipe: INRRecipe,
    path: str | Path,
    *,
    data_root: str | Path | None = None,
    device: str | torch.device = "cpu",
    chunk_size: PositiveInt | None = None,
    num_workers: int | None = None,
    is_compiled: bool = True,
) -> Zoo:
    """Fits the zoo of a recipe and saves it at `path`.

    Finished networks are kept in shards beside `path`; called again after an interruption, it goes
    on behind the last whole shard.

    Args:
        recipe: what to fit.
        path: the zoo file to write.
        data_root: where data sets are; see `nn_graphs.datasets.data_root`.
        device: where to fit.
        chunk_size: networks trained together; None: as many as fit the processor's cache.
        num_workers: processes; None: one a core, for a zoo large enough.
        is_compiled: compile the training step where a compiler exists.

    Raises:
        NNGraphsError: shards of another recipe lie at `path`, or the data set cannot be read.
    """
    path = Path(path)
    root = None if data_root is None else Path(data_root)
    images = load_images(recipe.dataset, root, contents=recipe.contents)
    spec, table = recipe.make_spec(images), recipe.make_table(images)
    height, width = images.images.shape[1:3]
    chunk = chunk_size or fitting_chunk_size(spec, num_points=height * width)
    shards = Shards.open(
        path, dataclasses.asdict(recipe), num_networks=len(table), shard_size=chunk * CHUNKS_A_SHARD
    )
    num_workers = num_workers or default_num_workers(shards, torch.device(device))
    fit = partial(
        _fit_shard, recipe, images, table, device=device, chunk_size=chunk, is_compiled=is_compiled
    )
    title = f"fitting {images.name} INRs"
    with progress_bar(len(table), unit="fits", description=title, done=shards.num_done) as bar:
        fit_shards(fit, shards, bar, num_workers=num_workers)
    columns = shards.read()
    params = torch.from_numpy(columns.pop("params"))
    metadata = {"maker": "inr", "image_size": [height, width]}
    zoo = Zoo.single(spec, params, table.assign(**columns), metadata)
    return shards.replace_by(zoo, recipe, path)


def fitting_chunk_size(spec: NetworkSpec, *, num_points: int) -> int:
    """Networks whose activations at `num_points` points stay in cache while they are trained."""
    return max(1, CACHE_VALUES // (num_points * max(spec.layer_layout)))


def inr_loss_fn(
    spec: NetworkSpec, coordinates: Float[Tensor, "points 2"]
) -> Callable[[Tensor, Tensor], Tensor]:
    """Mean squared errors `[N]` of INRs `[N, num_params]` against `[N, channels, points]`."""
    channel_first = coordinates.T.contiguous()

    def loss_fn(params: Tensor, targets: Tensor) -> Tensor:
        values = channel_first.expand(params.shape[0], -1, -1)
        outputs = channel_first_layers(spec, params, values)[-1]
        return (outputs - targets).square().mean(dim=(1, 2))

    return loss_fn


def inr_targets(
    preset: INRPreset, images: ImageDataset, indices: np.ndarray
) -> Float[Tensor, "N channels points"]:
    """Images as what INRs of a preset are fitted to."""
    pixels = torch.from_numpy(images.pixels(indices))  # [N, height, width, channels]
    return rearrange(preset.to_targets(pixels), "n h w c -> n c (h w)").contiguous()


def _fit_shard(
    recipe: INRRecipe,
    images: ImageDataset,
    table: pd.DataFrame,
    start: int,
    stop: int,
    bar: Progress,
    *,
    device: str | torch.device,
    chunk_size: PositiveInt,
    is_compiled: bool,
) -> dict[str, np.ndarray]:
    preset, spec = inr_preset(recipe.preset), recipe.make_spec(images)
    coordinates = preset.coordinates(*images.images.shape[1:3]).to(device)
    sources = table["source_id"].to_numpy()[start:stop]

    def report(losses: Tensor) -> None:
        psnr = preset.psnr(losses).mean().item()
        bar.advance(len(losses), {"PSNR": f"{psnr:.1f} dB"})

    fitted = fit_networks(
        inr_loss_fn(spec, coordinates),
        preset.initial_params(spec, start=start, stop=stop, seed=recipe.seed).to(device),
        inr_targets(preset, images, sources).to(device),
        num_steps=recipe.num_steps,
        optimizer=Adam(recipe.learning_rate),
        stop_loss=preset.mse_at(recipe.target_psnr),
        chunk_size=chunk_size,
        is_compiled=is_compiled,
        on_done=report,
        progress=bar,
    )
    return {
        "params": fitted.params.cpu().numpy(),
        "psnr": preset.psnr(fitted.losses).cpu().numpy(),
        "step": fitted.num_steps.cpu().numpy(),
    }
