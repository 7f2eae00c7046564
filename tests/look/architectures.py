"""Well-known networks written out in plain torch, without weights: the reference values of the literature are about these."""

import torch
from torch import nn


class Basic(nn.Module):
    """Two 3 × 3 convolutions and a way around them."""

    expansion = 1

    def __init__(self, inside, width, stride):
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(inside, width, 3, stride, 1, bias=False), nn.BatchNorm2d(width)
        self.conv2, self.bn2 = nn.Conv2d(width, width, 3, 1, 1, bias=False), nn.BatchNorm2d(width)
        self.relu = nn.ReLU(inplace=True)
        self.downsample = shortcut(inside, width, stride)

    def forward(self, x):
        y = self.bn2(self.conv2(self.relu(self.bn1(self.conv1(x)))))
        return self.relu(y + (x if self.downsample is None else self.downsample(x)))


class Bottleneck(nn.Module):
    """1 × 1, 3 × 3 with the stride, 1 × 1, and a way around them."""

    expansion = 4

    def __init__(self, inside, width, stride):
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(inside, width, 1, bias=False), nn.BatchNorm2d(width)
        self.conv2, self.bn2 = nn.Conv2d(width, width, 3, stride, 1, bias=False), nn.BatchNorm2d(width)
        self.conv3, self.bn3 = nn.Conv2d(width, 4 * width, 1, bias=False), nn.BatchNorm2d(4 * width)
        self.relu = nn.ReLU(inplace=True)
        self.downsample = shortcut(inside, 4 * width, stride)

    def forward(self, x):
        y = self.relu(self.bn1(self.conv1(x)))
        y = self.bn3(self.conv3(self.relu(self.bn2(self.conv2(y)))))
        return self.relu(y + (x if self.downsample is None else self.downsample(x)))


def shortcut(inside, outside, stride):
    if stride == 1 and inside == outside:
        return None
    return nn.Sequential(nn.Conv2d(inside, outside, 1, stride, bias=False), nn.BatchNorm2d(outside))


class ResNet(nn.Module):
    """He et al. (2016) as torchvision has it: the stride of a bottleneck is on its 3 × 3 convolution."""

    def __init__(self, block, depths, classes=1000, width=64):
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(3, width, 7, 2, 3, bias=False), nn.BatchNorm2d(width)
        self.relu, self.maxpool = nn.ReLU(inplace=True), nn.MaxPool2d(3, 2, 1)
        inside = width
        for number, depth in enumerate(depths, 1):
            blocks = []
            for index in range(depth):
                wide = width * 2 ** (number - 1)
                blocks.append(block(inside, wide, 2 if number > 1 and index == 0 else 1))
                inside = wide * block.expansion
            setattr(self, f"layer{number}", nn.Sequential(*blocks))
        self.avgpool, self.fc = nn.AdaptiveAvgPool2d(1), nn.Linear(inside, classes)

    def forward(self, x):
        x = self.maxpool(self.relu(self.bn1(self.conv1(x))))
        x = self.layer4(self.layer3(self.layer2(self.layer1(x))))
        return self.fc(torch.flatten(self.avgpool(x), 1))


def resnet18(**options):
    return ResNet(Basic, (2, 2, 2, 2), **options)


def resnet50(**options):
    return ResNet(Bottleneck, (3, 4, 6, 3), **options)


def vgg16_features():
    """The convolutions of Simonyan and Zisserman's configuration D."""
    layers, inside = [], 3
    for width in (64, 64, 0, 128, 128, 0, 256, 256, 256, 0, 512, 512, 512, 0, 512, 512, 512, 0):
        if width:
            layers += [nn.Conv2d(inside, width, 3, padding=1), nn.ReLU(inplace=True)]
            inside = width
        else:
            layers.append(nn.MaxPool2d(2, 2))
    return nn.Sequential(*layers)


class Branches(nn.Module):
    """Four ways of different reach side by side, as Inception has them."""

    def __init__(self, ndim, inside, width):
        super().__init__()
        conv, pool = getattr(nn, f"Conv{ndim}d"), getattr(nn, f"AvgPool{ndim}d")
        self.one = conv(inside, width, 1)
        self.three = nn.Sequential(conv(inside, width, 1), conv(width, width, 3, padding=1))
        self.five = nn.Sequential(conv(inside, width, 1), conv(width, width, 5, padding=2))
        self.pool = nn.Sequential(pool(3, 1, 1), conv(inside, width, 1))

    def forward(self, x):
        return torch.cat([self.one(x), self.three(x), self.five(x), self.pool(x)], 1)


class UNet(nn.Module):
    """Down twice, up twice by transposed convolutions, with ways across."""

    def __init__(self, ndim=2, width=4):
        super().__init__()
        conv, up = getattr(nn, f"Conv{ndim}d"), getattr(nn, f"ConvTranspose{ndim}d")
        self.enter = conv(1, width, 3, padding=1)
        self.down1, self.down2 = conv(width, width, 3, 2, 1), conv(width, width, 3, 2, 1)
        self.up2, self.up1 = up(width, width, 2, 2), up(width, width, 2, 2)
        self.join2, self.join1 = conv(2 * width, width, 3, padding=1), conv(2 * width, 1, 3, padding=1)

    def forward(self, x):
        a = torch.relu(self.enter(x))
        b = torch.relu(self.down1(a))
        c = torch.relu(self.down2(b))
        b = torch.relu(self.join2(torch.cat([self.up2(c), b], 1)))
        return self.join1(torch.cat([self.up1(b), a], 1))


class Small(nn.Module):
    """Functions, branches, groups, shared and computed kernels in one: what modules alone do not show."""

    def __init__(self, ndim=2):
        super().__init__()
        conv, self.ndim = getattr(nn, f"Conv{ndim}d"), ndim
        self.first, self.norm = conv(2, 8, 3, padding=1, bias=False), getattr(nn, f"BatchNorm{ndim}d")(8)
        self.shared = conv(8, 8, 3, padding=1, groups=4)
        self.kernel = nn.Parameter(torch.randn(4, 8, *(2,) * ndim))
        self.weighted = nn.utils.parametrizations.weight_norm(conv(4, 4, 1))
        self.up = getattr(nn, f"ConvTranspose{ndim}d")(4, 6, 2, 2)
        self.head = nn.Linear(6, 5)

    def forward(self, x):
        y = torch.relu_(self.norm(self.first(x)))
        y = y + torch.tanh(self.shared(self.shared(y)))
        y = getattr(torch.nn.functional, f"conv{self.ndim}d")(y, self.kernel, stride=2)
        y = self.up(self.weighted(y))
        return self.head(torch.nn.functional.dropout(y.flatten(2).mean(2), training=self.training))
