"""ResNet-18 for images of 32 x 32 pixels, with random weights."""

import torch
from torch import Tensor, nn


class Block(nn.Module):
    """Two convolutions, and a skip around them."""

    def __init__(self, fan_in: int, width: int, stride: int):
        super().__init__()
        self.conv1 = nn.Conv2d(fan_in, width, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.shortcut = nn.Identity()
        if stride != 1 or fan_in != width:
            self.shortcut = nn.Sequential(
                nn.Conv2d(fan_in, width, 1, stride, bias=False), nn.BatchNorm2d(width)
            )

    def forward(self, values: Tensor) -> Tensor:
        inner = torch.relu(self.bn1(self.conv1(values)))
        return torch.relu(self.bn2(self.conv2(inner)) + self.shortcut(values))


def resnet18(classes: int = 10) -> nn.Sequential:
    """11.2 million parameters at 10 classes; its first convolution keeps the image's size."""
    torch.manual_seed(0)
    layers = [nn.Conv2d(3, 64, 3, 1, 1, bias=False), nn.BatchNorm2d(64), nn.ReLU()]
    layers += [nn.MaxPool2d(3, 2, 1)]
    fan_in = 64
    for width, first in ((64, 1), (128, 2), (256, 2), (512, 2)):
        for stride in (first, 1):
            layers.append(Block(fan_in, width, stride))
            fan_in = width
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(512, classes))
