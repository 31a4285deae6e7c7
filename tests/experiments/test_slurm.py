"""Runs can be sent to Slurm where hydra's submitit launcher is installed; else an error says so."""

import importlib.util
from dataclasses import field, make_dataclass

import hydra
import pytest
from hydra.core.config_store import ConfigStore
from hydra.core.plugins import Plugins
from support.launch import EXPERIMENTS

from nn_graphs.configs import CONFIGS
from tests.processes import start_script

HAS_PLUGIN = importlib.util.find_spec("hydra_plugins") and importlib.util.find_spec(
    "hydra_plugins.hydra_submitit_launcher"
)
SLURM = "hydra/launcher=slurm"
DEFAULTS = {  # of the plugin's SlurmQueueConf: what the config sets, and two more
    "timeout_min": (int, 60),
    "max_num_timeout": (int, 0),
    "cpus_per_task": (int | None, None),
    "mem_gb": (int | None, None),
    "gpus_per_node": (int | None, None),
    "partition": (str | None, None),
    "array_parallelism": (int, 256),
    "stderr_to_stdout": (bool, False),
    "nodes": (int, 1),
    "submitit_folder": (str, "${hydra.sweep.dir}/.submitit/%j"),
}


@pytest.fixture
def plugin():
    """A stand-in for the plugin's registered config, where the plugin is not installed."""
    Plugins.instance()  # those that come with hydra register theirs
    if HAS_PLUGIN:
        yield
        return
    store = ConfigStore.instance()
    fields = [(name, kind, field(default=value)) for name, (kind, value) in DEFAULTS.items()]
    node = make_dataclass("SlurmQueueConf", fields)
    store.store(group="hydra/launcher", name="submitit_slurm", node=node)
    yield
    del store.repo["hydra"]["launcher"]["submitit_slurm.yaml"]


@pytest.mark.parametrize("task", ["relational_graphs", "inr_classification"])
def test_settings_are_those_of_the_launcher(plugin, task):
    with hydra.initialize_config_dir(str(CONFIGS), version_base=None):
        config = hydra.compose(
            task, [SLURM, "hydra.launcher.partition=gpu"], return_hydra_config=True
        )
    launcher = config.hydra.launcher
    assert (launcher.timeout_min, launcher.partition, launcher.nodes) == (1440, "gpu", 1)
    assert launcher.max_num_timeout > 0
    assert config.hydra.runtime.choices["hydra/launcher"] == "slurm"


@pytest.mark.skipif(bool(HAS_PLUGIN), reason="the plugin is installed")
def test_without_the_plugin_a_few_lines_say_what_is_missing(tmp_path):
    script = EXPERIMENTS / "relational_graphs" / "main.py"
    process = start_script(script, "--multirun", SLURM, folder=tmp_path)
    output = process.communicate()
    assert process.returncode == 1
    assert "Traceback" not in output
    assert len(output.splitlines()) <= 10
    assert "hydra/launcher/submitit_slurm" in output
