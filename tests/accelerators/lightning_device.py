"""The pseudo-accelerator as Lightning knows devices: `accelerator="pseudo"` in `Trainer`."""

from typing import Any

import torch
from lightning.pytorch.accelerators import Accelerator, AcceleratorRegistry
from lightning.pytorch.strategies import SingleDeviceStrategy, StrategyRegistry

from tests.accelerators.pseudo_accelerator import NAME

STRATEGY = f"single_{NAME}"  # Lightning chooses one by itself for the devices that it knows alone


class PseudoLightning(Accelerator):
    """What Lightning asks of a device."""

    def setup_device(self, device: torch.device) -> None:
        assert device.type == NAME

    def teardown(self) -> None:
        pass

    def get_device_stats(self, device: torch.device) -> dict[str, Any]:
        return {}

    @staticmethod
    def parse_devices(devices: int | str | list[int]) -> int:
        return int(devices)

    @staticmethod
    def get_parallel_devices(devices: int) -> list[torch.device]:
        return [torch.device(NAME, number) for number in range(devices)]

    @staticmethod
    def auto_device_count() -> int:
        return 1

    @staticmethod
    def is_available() -> bool:
        return getattr(torch, NAME).is_available()

    @staticmethod
    def name() -> str:
        return NAME


def register_with_lightning() -> None:
    """Makes the names known, once in a process."""
    if NAME not in AcceleratorRegistry:
        AcceleratorRegistry.register(NAME, PseudoLightning, description="none at all")
        device = torch.device(NAME, 0)
        StrategyRegistry.register(STRATEGY, SingleDeviceStrategy, device=device)
