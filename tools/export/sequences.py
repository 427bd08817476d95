"""Taggers of words by LSTM and GRU."""

import torch
from torch import nn
from weights import fill


class Tagger(nn.Module):
    """Words to the scores of their tags, by a recurrent network that runs in both directions."""

    def __init__(self, cell, words=2000, width=64, tags=12):
        super().__init__()
        self.embedding = nn.Embedding(words, width)
        self.cell = cell(width, width, num_layers=2, bidirectional=True, batch_first=True)
        self.tags = nn.Linear(2 * width, tags)

    def forward(self, tokens):
        return self.tags(self.cell(self.embedding(tokens))[0])


def words(count, length, most):
    g = torch.Generator().manual_seed(2)
    return [(torch.randint(0, most, (1, length), generator=g),) for _ in range(count)]


def tagger(cell):
    return lambda: (fill(Tagger(cell)).eval(), words(8, 24, 2000), ["tokens"], {"tokens": {1: "length"}})


MODELS = {"lstm_tagger": tagger(nn.LSTM), "gru_tagger": tagger(nn.GRU)}
