"""The papers behind a model: each once, for the layers that are in it."""

import pytest
import torch

import faltung
from faltung import nn
from faltung.errors import DtypeError


def test_each_paper_is_named_once_with_its_layers(capsys):
    model = torch.nn.Sequential(nn.Conv2d(1, 2, 3), torch.nn.ReLU(), nn.Conv1d(1, 2, 3), nn.ConvTranspose1d(2, 1, 2))
    found = faltung.cite(model)
    assert found == [nn.Conv.source, nn.ConvTranspose.source]
    assert capsys.readouterr().out == f"{nn.Conv.source} [Conv]\n{nn.ConvTranspose.source} [ConvTranspose]\n"
    assert faltung.cite(torch.nn.ReLU()) == []
    with pytest.raises(DtypeError, match="torch module"):
        faltung.cite(3)
