"""Random weights that a network could have been trained to: seeded, every layer's output about as large as its input, and
batch norms that know their data. Quantization noise of such a model means something; that of a fresh one may not, whose
classifier is zero or whose residuals are scaled by 1e-6."""

import torch
from torch import nn


def uniform(like, low, high):
    return torch.empty_like(like).uniform_(low, high)


def fill(model, seed=0):
    """Weights of all layers, by kind."""
    torch.manual_seed(seed)
    with torch.no_grad():
        for name, p in model.named_parameters():
            last = name.rsplit(".", 1)[-1]
            if "layer_scale" in name:
                p.copy_(uniform(p, 0.2, 0.6))
            elif p.dim() > 1:
                fan = p.shape[1] * p[0, 0].numel()
                p.normal_(0, fan ** -0.5)
            elif "bias" in last:
                p.normal_(0, 0.1)
            else:  # a norm's scale
                p.copy_(uniform(p, 0.7, 1.3))
        for layer in model.modules():
            if isinstance(layer, nn.Conv2d):
                layer.weight *= 1.4  # half of what comes is gone behind a Relu
            elif isinstance(layer, nn.modules.batchnorm._BatchNorm):
                layer.bias.normal_(0.3, 0.5)  # as in trained ones; at 0, a Relu's kink is where all values are
            elif isinstance(layer, nn.Embedding):
                layer.weight.normal_(0, 1)
    return model


def settle(model, samples):
    """Mean and variance of batch norms are those of the samples."""
    norms = [m for m in model.modules() if isinstance(m, nn.modules.batchnorm._BatchNorm)]
    for norm in norms:
        norm.momentum = None  # the mean of all
        norm.reset_running_stats()
        norm.train()
    with torch.no_grad():
        for sample in samples if norms else []:
            model(*sample)
    for norm in norms:  # what is constant in so few samples need not be
        norm.running_var += 0.1 * norm.running_mean ** 2
    return model.eval()


def pictures(count, *shape, seed=1):
    """Smooth, with edges, noise and contrast of their own, as photos have."""
    g = torch.Generator().manual_seed(seed)

    def picture():
        x = torch.zeros(shape)
        for size in (4, 8, 16, 32):
            part = torch.randn(*shape[:-2], size, size, generator=g)
            x += nn.functional.interpolate(part, size=shape[-2:], mode="nearest" if size == 8 else "bilinear")
        return (x - x.mean()) / x.std() + 0.1 * torch.randn(shape, generator=g)
    return [(picture(),) for _ in range(count)]
