"""Installation of nn_graphs: `pip install -c constraints.txt -e .[test]`."""

from pathlib import Path

from setuptools import find_packages, setup

ROOT = Path(__file__).parent

setup(
    name="nn_graphs",
    version="0.1.0",
    description="A benchmark suite for learning from the weights of neural networks",
    long_description=(ROOT / "README.md").read_text(encoding="utf-8"),
    long_description_content_type="text/markdown",
    license="MIT",
    python_requires=">=3.10",
    packages=find_packages(include=["nn_graphs", "nn_graphs.*"]),
    package_data={"": ["*.pyi"], "nn_graphs.learned_optimizers": ["shipped/*.safetensors"]},
    install_requires=[
        "torch>=2.6",
        "torch-geometric>=2.6,<2.9",  # the versions that graphs/geometric_batch.py was tried with
        "lightning>=2.6,!=2.6.2,!=2.6.3",
        "hydra-core>=1.3.7",
        "omegaconf>=2.3",
        "einops>=0.8",
        "numpy>=1.26",
        "scipy>=1.11",
        "networkx>=3.2",
        "h5py>=3.10",
        "safetensors>=0.5",
        "scikit-learn>=1.4",
        "threadpoolctl>=3.1",
        "pandas>=2.1",
        "pooch>=1.8",
        "filelock>=4.2",
        "matplotlib>=3.8",
        "pillow>=10",
        "tqdm>=4.66",
        "lazy-loader>=0.4",
        "tensorboard>=2.16",
        "jaxtyping>=0.2.34",
        "beartype>=0.18",
    ],
    extras_require={
        "scatter": ["torch-scatter>=2.1.2"],
        "slurm": ["hydra-submitit-launcher>=1.2"],
        "notebooks": ["notebook>=7", "nbclient>=0.10", "ipykernel>=6.29"],
        "test": [
            "pytest>=8",
            "pytest-timeout>=2.3",
            "pytest-xdist>=3.6",
            "ruff>=0.12",
            "mypy>=1.15",
            "pre-commit>=3.7",
            "setuptools>=70",
            "transformers>=5",
        ],
    },
)
