"""Installation of nn_graphs: `pip install -c constraints.txt -e .[test]`."""

import shutil
from pathlib import Path

from setuptools import find_packages, setup
from setuptools.command.build_py import build_py

ROOT = Path(__file__).parent


class BuildWithExperiments(build_py):
    """A wheel holds the scripts of experiments too, for the command `nn-graphs`."""

    def run(self) -> None:
        super().run()
        if self.editable_mode:
            return
        target = Path(self.build_lib) / "nn_graphs" / "experiments"
        for script in sorted((ROOT / "experiments").glob("*/*.py")):
            if script.parent.name != "benchmarks":
                place = target / script.parent.name / script.name
                place.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(script, place)


setup(
    name="nn_graphs",
    version="0.1.0",
    description="A benchmark suite for learning from the weights of neural networks",
    long_description=(ROOT / "README.md").read_text(encoding="utf-8"),
    long_description_content_type="text/markdown",
    license="MIT",
    python_requires=">=3.10",
    cmdclass={"build_py": BuildWithExperiments},
    entry_points={"console_scripts": ["nn-graphs = nn_graphs.command_line:main"]},
    packages=find_packages(include=["nn_graphs", "nn_graphs.*"]),
    package_data={
        "": ["*.pyi", "py.typed"],
        "nn_graphs.by_name": ["*.yaml"],
        "nn_graphs.configs": ["**/*.yaml"],
        "nn_graphs.learned_optimizers": ["shipped/*.safetensors"],
    },
    install_requires=[
        "torch>=2.6",
        "torch-geometric>=2.6,<2.9",  # the versions that graphs/geometric_batch.py was tried with
        "lightning>=2.6,!=2.6.2,!=2.6.3",
        "hydra-core>=1.3.7",
        "omegaconf>=2.3",
        "einops>=0.8",
        "numpy>=1.26",
        "scipy>=1.15",
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
