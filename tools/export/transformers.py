"""Transformers as they are written today, small: a detector with queries (DETR), encoders of speech (wav2vec, Whisper),
decoders of text that are given their past (GPT-2, Llama)."""

import math

import torch
from torch import nn
from torch.nn import functional as F
from weights import fill, pictures, settle


def written_out(q, k, v, attn_mask=None, dropout_p=0.0, is_causal=False):
    """PyTorch's call for attention of what was there before it."""
    scores = q @ k.transpose(-1, -2) / math.sqrt(q.shape[-1])
    if is_causal:
        places = torch.arange(scores.shape[-1])
        scores = scores.masked_fill(places > places.unsqueeze(1), -math.inf)
    return (scores if attn_mask is None else scores + attn_mask).softmax(-1) @ v


class Attention(nn.Module):
    """Of several heads; the queries may come from elsewhere."""

    def __init__(self, width, heads):
        super().__init__()
        self.heads = heads
        self.q, self.k, self.v, self.out = (nn.Linear(width, width) for _ in range(4))

    def split(self, x):
        return x.view(x.shape[0], x.shape[1], self.heads, -1).transpose(1, 2)

    def forward(self, x, of=None):
        of = x if of is None else of
        y = F.scaled_dot_product_attention(self.split(self.q(x)), self.split(self.k(of)), self.split(self.v(of)))
        return self.out(y.transpose(1, 2).flatten(2))


class Layer(nn.Module):
    """Norms in front, as all have them since GPT-2."""

    def __init__(self, width, heads, cross=False):
        super().__init__()
        self.norms = nn.ModuleList(nn.LayerNorm(width) for _ in range(3))
        self.attention = Attention(width, heads)
        self.cross = Attention(width, heads) if cross else None
        self.mlp = nn.Sequential(nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width))

    def forward(self, x, of=None):
        x = x + self.attention(self.norms[0](x))
        if self.cross is not None:
            x = x + self.cross(self.norms[1](x), of)
        return x + self.mlp(self.norms[2](x))


class Detr(nn.Module):
    def __init__(self, width=96, heads=4, queries=20, classes=10):
        super().__init__()
        sizes = (3, 32, 64, width)
        self.backbone = nn.Sequential(*(layer for a, b in zip(sizes, sizes[1:]) for layer in (
            nn.Conv2d(a, b, 3, stride=2, padding=1), nn.BatchNorm2d(b), nn.ReLU())), nn.MaxPool2d(2))
        self.columns, self.rows = nn.Parameter(torch.rand(50, width // 2)), nn.Parameter(torch.rand(50, width // 2))
        self.queries = nn.Parameter(torch.rand(queries, width))
        layer = {"dim_feedforward": 2 * width, "dropout": 0.0, "batch_first": True}
        self.encoder = nn.TransformerEncoder(nn.TransformerEncoderLayer(width, heads, **layer), 2, enable_nested_tensor=False)
        self.decoder = nn.TransformerDecoder(nn.TransformerDecoderLayer(width, heads, **layer), 2)
        self.classes, self.boxes = nn.Linear(width, classes + 1), nn.Sequential(nn.Linear(width, width), nn.ReLU(), nn.Linear(width, 4))

    def forward(self, image):
        x = self.backbone(image)
        h, w = x.shape[-2:]
        place = torch.cat([self.columns[:w].unsqueeze(0).repeat(h, 1, 1), self.rows[:h].unsqueeze(1).repeat(1, w, 1)], -1)
        memory = self.encoder(x.flatten(2).transpose(1, 2) + place.flatten(0, 1).unsqueeze(0))
        y = self.decoder(self.queries.unsqueeze(0).expand(x.shape[0], -1, -1), memory)
        return self.classes(y), self.boxes(y).sigmoid()


def detr():
    samples = pictures(8, 1, 3, 128, 160)
    return settle(fill(Detr()), samples), samples, ["image"], {}


def waves(count, length):
    g = torch.Generator().manual_seed(3)
    t = torch.arange(length) / 16000

    def wave():
        f = torch.rand(5, 1, generator=g) * 2000 + 80
        voice = (torch.sin(2 * math.pi * f * t) * torch.rand(5, 1, generator=g)).sum(0)
        return voice * (0.3 + torch.sin(2 * math.pi * 3 * t) ** 2) + 0.05 * torch.randn(length, generator=g)
    return [((w := wave()) / w.std()).unsqueeze(0) for _ in range(count)]


class Wav2Vec(nn.Module):
    def __init__(self, width=128, heads=4, letters=32):
        super().__init__()
        sizes = ((1, 10, 5), (64, 3, 2), (64, 3, 2), (64, 2, 2))
        self.convs = nn.ModuleList(nn.Conv1d(a, 64, k, stride=s, bias=False) for a, k, s in sizes)
        self.first = nn.GroupNorm(64, 64)
        self.norm, self.wider = nn.LayerNorm(64), nn.Linear(64, width)
        self.places = nn.utils.weight_norm(nn.Conv1d(width, width, 16, padding=8, groups=4), dim=2)
        self.layers = nn.ModuleList(Layer(width, heads) for _ in range(3))
        self.letters = nn.Linear(width, letters)

    def forward(self, wave):
        x = wave.unsqueeze(1)
        for i, conv in enumerate(self.convs):
            x = conv(x)
            x = F.gelu(self.first(x) if i == 0 else x)
        x = self.wider(self.norm(x.transpose(1, 2)))
        x = x + F.gelu(self.places(x.transpose(1, 2))[:, :, :-1]).transpose(1, 2)
        for layer in self.layers:
            x = layer(x)
        return self.letters(x)


def wav2vec():
    model = fill(Wav2Vec()).eval()
    with torch.no_grad():
        model.places.weight_g.copy_(model.places.weight_v.norm(dim=(0, 1), keepdim=True))
    return model, [(w,) for w in waves(8, 8000)], ["wave"], {"wave": {1: "length"}}


class Whisper(nn.Module):
    def __init__(self, width=128, heads=4, length=200):
        super().__init__()
        self.conv1, self.conv2 = nn.Conv1d(80, width, 3, padding=1), nn.Conv1d(width, width, 3, stride=2, padding=1)
        f = torch.exp(-math.log(10000) / (width // 2 - 1) * torch.arange(width // 2))
        angles = torch.arange(length // 2)[:, None] * f
        self.register_buffer("places", torch.cat([angles.sin(), angles.cos()], 1))
        self.layers = nn.ModuleList(Layer(width, heads) for _ in range(4))
        self.norm = nn.LayerNorm(width)

    def forward(self, mel):
        x = F.gelu(self.conv2(F.gelu(self.conv1(mel)))).transpose(1, 2) + self.places
        for layer in self.layers:
            x = layer(x)
        return self.norm(x)


def whisper():
    samples = [(x[0][0].clamp(-1, 2),) for x in pictures(8, 1, 1, 80, 200)]
    return fill(Whisper()).eval(), samples, ["mel"], {}


class Gpt(nn.Module):
    """Logits and what to give as the past with the next words: keys and values of each layer."""

    def __init__(self, words=1000, width=128, heads=4, layers=3, longest=64):
        super().__init__()
        self.heads = heads
        self.words, self.places = nn.Embedding(words, width), nn.Embedding(longest, width)
        self.norms = nn.ModuleList(nn.LayerNorm(width) for _ in range(2 * layers + 1))
        self.qkv = nn.ModuleList(nn.Linear(width, 3 * width) for _ in range(layers))
        self.out = nn.ModuleList(nn.Linear(width, width) for _ in range(layers))
        self.up = nn.ModuleList(nn.Linear(width, 4 * width) for _ in range(layers))
        self.down = nn.ModuleList(nn.Linear(4 * width, width) for _ in range(layers))
        self.register_buffer("mask", torch.ones(longest, longest).tril().bool())

    def forward(self, tokens, *past):
        before, now = past[0].shape[2], tokens.shape[1]
        x = self.words(tokens) + self.places(torch.arange(before, before + now).unsqueeze(0))
        present = []
        for i, (qkv, out, up, down) in enumerate(zip(self.qkv, self.out, self.up, self.down)):
            parts = qkv(self.norms[2 * i](x)).split(x.shape[-1], 2)
            q, k, v = (p.view(p.shape[0], p.shape[1], self.heads, -1).transpose(1, 2) for p in parts)
            k, v = torch.cat([past[2 * i], k], 2), torch.cat([past[2 * i + 1], v], 2)
            present += [k, v]
            scores = q @ k.transpose(-1, -2) / math.sqrt(q.shape[-1])
            scores = torch.where(self.mask[before:before + now, :before + now], scores, torch.full_like(scores, torch.finfo(scores.dtype).min))
            x = x + out((scores.softmax(-1) @ v).transpose(1, 2).flatten(2))
            x = x + down(F.gelu(up(self.norms[2 * i + 1](x)), approximate="tanh"))
        return (self.norms[-1](x) @ self.words.weight.t(), *present)


def gpt():
    model = fill(Gpt()).eval()
    g = torch.Generator().manual_seed(4)
    samples = []
    with torch.no_grad():
        for _ in range(8):
            nothing = [torch.zeros(1, 4, 0, 32)] * 6
            past = model(torch.randint(0, 1000, (1, 16), generator=g), *nothing)[1:]
            samples.append((torch.randint(0, 1000, (1, 4), generator=g), *past))
    names = [f"past_{k}_{i}" for i in range(3) for k in ("key", "value")]
    return model, samples, ["tokens", *names], {"tokens": {1: "now"}} | {n: {2: "before"} for n in names}


class RmsNorm(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(width))

    def forward(self, x):
        return self.weight * (x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + 1e-6))


class Llama(nn.Module):
    """Blocks with rotary embedding, groups of queries and a gated product."""

    def __init__(self, words=1000, width=128, heads=8, groups=2, layers=2, longest=64):
        super().__init__()
        self.heads, self.groups, self.size = heads, groups, width // heads
        self.words, self.last = nn.Embedding(words, width), RmsNorm(width)
        def linears(a, b):
            return nn.ModuleList(nn.Linear(a, b, bias=False) for _ in range(layers))
        self.q, self.k, self.v = linears(width, width), linears(width, groups * self.size), linears(width, groups * self.size)
        self.out, self.gate, self.up, self.down = linears(width, width), linears(width, 344), linears(width, 344), linears(344, width)
        self.norms = nn.ModuleList(RmsNorm(width) for _ in range(2 * layers))
        self.logits = nn.Linear(width, words, bias=False)
        self.register_buffer("frequencies", 10000 ** (-torch.arange(0, self.size, 2) / self.size))

    def turned(self, x, cos, sin):
        a, b = x.chunk(2, -1)
        return x * cos + torch.cat([-b, a], -1) * sin

    def forward(self, tokens, positions):
        x = self.words(tokens)
        angles = positions[:, None, :, None].float() * self.frequencies
        cos, sin = (torch.cat([f, f], -1) for f in (angles.cos(), angles.sin()))
        n, length = tokens.shape
        for i in range(len(self.q)):
            y = self.norms[2 * i](x)
            q, k, v = (p[i](y).view(n, length, -1, self.size).transpose(1, 2) for p in (self.q, self.k, self.v))
            q, k = self.turned(q, cos, sin), self.turned(k, cos, sin)
            k, v = (p[:, :, None].expand(-1, -1, self.heads // self.groups, -1, -1).flatten(1, 2) for p in (k, v))
            y = F.scaled_dot_product_attention(q, k, v, is_causal=True)
            x = x + self.out[i](y.transpose(1, 2).flatten(2))
            y = self.norms[2 * i + 1](x)
            x = x + self.down[i](F.silu(self.gate[i](y)) * self.up[i](y))
        return self.logits(self.last(x))


def llama():
    g = torch.Generator().manual_seed(5)
    samples = [(torch.randint(0, 1000, (1, 24), generator=g), torch.arange(24).unsqueeze(0)) for _ in range(8)]
    return fill(Llama()).eval(), samples, ["tokens", "positions"], {k: {1: "length"} for k in ("tokens", "positions")}


MODELS = {"detr": detr, "wav2vec": wav2vec, "whisper": whisper, "gpt": gpt, "llama": llama}
