"""A Small CNN Zoo in small, with files as Unterthiner et al. and Zhou et al. publish them."""

from pathlib import Path

import numpy as np
import pandas as pd

STEPS = (0, 1, 2, 3, 20, 40, 60, 80, 86)
LAYOUT = (  # names and shapes in TensorFlow's order, as the file lists them
    ("sequential/conv2d/bias:0", (16,)),
    ("sequential/conv2d/kernel:0", (3, 3, 1, 16)),
    ("sequential/conv2d_1/bias:0", (16,)),
    ("sequential/conv2d_1/kernel:0", (3, 3, 16, 16)),
    ("sequential/conv2d_2/bias:0", (16,)),
    ("sequential/conv2d_2/kernel:0", (3, 3, 16, 16)),
    ("sequential/dense/bias:0", (10,)),
    ("sequential/dense/kernel:0", (16, 10)),
)
NUM_COLUMNS = 4970


def layout_table() -> pd.DataFrame:
    sizes = [int(np.prod(shape)) for _, shape in LAYOUT]
    ends = np.cumsum(sizes)
    return pd.DataFrame(
        {
            "varname": [name for name, _ in LAYOUT],
            "start_idx": ends - sizes,
            "end_idx": ends,
            "size": sizes,
            "shape": [str(shape) for _, shape in LAYOUT],
        }
    )


def metrics_table(num_networks: int) -> pd.DataFrame:
    """Nine checkpoints of every network, one network behind the other; every third is of tanh."""
    run = np.repeat(np.arange(num_networks), len(STEPS))
    step = np.tile(STEPS, num_networks)
    return pd.DataFrame(
        {
            "config.activation": np.where(run % 3 == 2, "tanh", "relu"),
            "config.b_init": "zeros",
            "config.dataset": "cifar10",
            "config.dnn_architecture": "cnn",
            "config.dropout": 0.1 * (run % 2),
            "config.epochs": 86,
            "config.learning_rate": 1e-3 * (1 + run),
            "config.optimizer": "adam",
            "config.random_seed": 42,
            "config.w_init": np.where(run % 2 == 0, "he_normal", None),
            "modeldir": [
                f"/models/{number}/permanent_ckpt-{at}"
                for number, at in zip(run, step, strict=True)
            ],
            "step": step,
            "test_accuracy": 0.1 + 0.01 * run + 0.001 * (step == 86),
            "test_loss": 2.0,
            "train_accuracy": 0.5,
            "train_loss": 1.0,
            "laststep": step == 86,
        }
    )


def write_zoo(parent: Path, num_networks: int = 10, *, seed: int = 0) -> Path:
    """`parent/cifar10` and `parent/cifar10_split.csv`, whose first line is a header `0`."""
    root = parent / "cifar10"
    root.mkdir(parents=True)
    random = np.random.default_rng(seed)
    metrics = metrics_table(num_networks)
    weights = random.normal(size=(len(metrics), NUM_COLUMNS)).astype(np.float32)
    np.save(root / "weights.npy", 0.1 * weights)
    layout_table().to_csv(root / "layout.csv")
    metrics.to_csv(root / "metrics.csv.gz")
    order = random.permutation(len(metrics))
    pd.DataFrame({"0": order}).to_csv(parent / "cifar10_split.csv", index=False)
    return root
