"""Classifiers and segmenters of torchvision, and a U-Net."""

import torch
from torch import nn
from weights import fill, pictures, settle


def of_torchvision(name, size, **options):
    def make():
        import torchvision
        where = torchvision.models.segmentation if "deeplab" in name else torchvision.models
        model = fill(getattr(where, name)(weights=None, **options))
        if "deeplab" in name:
            model = FirstOutput(model)
        samples = pictures(8, 1, 3, size, size)
        # several pictures at once: a pool of one pixel has no variance
        return settle(model, [(torch.cat([s[0] for s in samples]),)]), samples, ["image"], {}
    return make


class FirstOutput(nn.Module):
    """DeepLab's without the training's names."""

    def __init__(self, model):
        super().__init__()
        self.model = model

    def forward(self, x):
        return self.model(x)["out"]


class UNet(nn.Module):
    def __init__(self, widths=(16, 32, 64, 128), classes=5):
        super().__init__()
        def block(a, b):
            return nn.Sequential(nn.Conv2d(a, b, 3, padding=1), nn.BatchNorm2d(b), nn.ReLU(),
                                 nn.Conv2d(b, b, 3, padding=1), nn.BatchNorm2d(b), nn.ReLU())
        self.down = nn.ModuleList(block(a, b) for a, b in zip((3, *widths), widths))
        self.widen = nn.ModuleList(nn.ConvTranspose2d(b, a, 2, stride=2) for a, b in zip(widths, widths[1:]))
        self.up = nn.ModuleList(block(2 * a, a) for a in widths[:-1])
        self.last = nn.Conv2d(widths[0], classes, 1)
        self.pool = nn.MaxPool2d(2)

    def forward(self, x):
        kept = []
        for block in self.down[:-1]:
            kept.append(block(x))
            x = self.pool(kept[-1])
        x = self.down[-1](x)
        for widen, block, before in zip(reversed(self.widen), reversed(self.up), reversed(kept)):
            x = block(torch.cat([before, widen(x)], 1))
        return self.last(x)


def unet():
    samples = pictures(8, 1, 3, 96, 96)
    open_sizes = {"image": {0: "batch", 2: "height", 3: "width"}}
    return settle(fill(UNet()), samples), samples, ["image"], open_sizes


MODELS = {name: of_torchvision(name, size) for name, size in (
    ("resnet18", 224), ("resnet50", 224), ("mobilenet_v3_large", 224), ("efficientnet_b0", 224), ("convnext_tiny", 224),
    ("swin_t", 224), ("vit_b_16", 224))}
MODELS["deeplabv3_resnet50"] = of_torchvision("deeplabv3_resnet50", 128, weights_backbone=None, num_classes=21)
MODELS["unet"] = unet
