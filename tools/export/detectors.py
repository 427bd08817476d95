"""A detector in YOLO's manner, with its decoder and non-maximum suppression in the graph."""

import torch
from torch import nn
from weights import fill, pictures, settle


def conv(a, b, k=3, stride=1):
    return nn.Sequential(nn.Conv2d(a, b, k, stride, k // 2, bias=False), nn.BatchNorm2d(b), nn.SiLU())


class Stage(nn.Module):
    """Half of the channels go through two convolutions, and all come together."""

    def __init__(self, width):
        super().__init__()
        self.first, self.inner, self.last = conv(width, width, 1), nn.Sequential(conv(width // 2, width // 2), conv(width // 2, width // 2)), conv(3 * width // 2, width, 1)

    def forward(self, x):
        a, b = self.first(x).chunk(2, 1)
        return self.last(torch.cat([a, b, b + self.inner(b)], 1))


class Yolo(nn.Module):
    def __init__(self, classes=6, bins=8):
        super().__init__()
        self.classes, self.bins = classes, bins
        self.stem = nn.Sequential(conv(3, 16, stride=2), conv(16, 32, stride=2), Stage(32))
        self.middle, self.deep = nn.Sequential(conv(32, 64, stride=2), Stage(64)), nn.Sequential(conv(64, 96, stride=2), Stage(96))
        self.narrow, self.joined = conv(192, 96, 1), nn.Sequential(conv(160, 64, 1), Stage(64))
        self.pool, self.up = nn.MaxPool2d(5, 1, 2), nn.Upsample(scale_factor=2)
        self.heads = nn.ModuleList(nn.Sequential(conv(a, 64), nn.Conv2d(64, 4 * bins + classes, 1)) for a in (64, 96))

    def forward(self, image):
        import torchvision
        x = self.middle(self.stem(image))
        deep = self.deep(x)
        deep = self.narrow(torch.cat([deep, self.pool(deep)], 1))
        maps = self.joined(torch.cat([self.up(deep), x], 1)), deep
        found, places, strides = [], [], []
        for head, x, stride in zip(self.heads, maps, (8, 16)):
            h, w = x.shape[-2:]
            found.append(head(x).flatten(2))
            rows, columns = torch.meshgrid(torch.arange(float(h)) + 0.5, torch.arange(float(w)) + 0.5, indexing="ij")
            places.append(torch.stack([columns.flatten(), rows.flatten()]))
            strides.append(torch.full((1, h * w), float(stride)))
        y, places, strides = torch.cat(found, 2)[0], torch.cat(places, 1), torch.cat(strides, 1)
        box, scores = y.split([4 * self.bins, self.classes])
        sides = box.view(4, self.bins, -1).softmax(1)
        sides = (sides * torch.arange(self.bins).float().view(1, -1, 1)).sum(1)
        boxes = (torch.cat([places - sides[:2], places + sides[2:]]) * strides).t()
        best, label = scores.sigmoid().max(0)
        kept = torchvision.ops.nms(boxes, best, 0.5)
        return boxes[kept], best[kept], label[kept], y


def yolo():
    samples = pictures(8, 1, 3, 160, 160)
    return settle(fill(Yolo()), samples), samples, ["image"], {}


MODELS = {"yolo": yolo}
