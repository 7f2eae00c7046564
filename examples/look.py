"""Look into a network before it is trained further: what is read, what it costs, what it sees, and what is wrong with it."""

import tempfile
from pathlib import Path

import torch
from torch import nn

from faltung import look, readers


def network() -> nn.Module:
    """Three planted faults: a stride that skips inputs, two filters alike, an output that its norm switches off."""
    torch.manual_seed(0)
    model = nn.Sequential(
        nn.Conv2d(3, 16, 3, padding=1, bias=False), nn.BatchNorm2d(16), nn.ReLU(inplace=True),
        nn.Conv2d(16, 32, 1, stride=2), nn.ReLU(inplace=True),
        nn.Conv2d(32, 32, 3, padding=1), nn.ReLU(inplace=True), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(32, 10),
    ).eval()  # fmt: skip
    with torch.no_grad():
        model[1].weight[5] = 0
        model[5].weight[7] = -2 * model[5].weight[3]
    return model


def main() -> None:
    model, x = network(), torch.randn(4, 3, 32, 32, generator=torch.Generator().manual_seed(1))
    net = readers.read(model, x)
    print(net)

    costs = look.counts(net)
    print(costs.table())
    assert costs.macs == sum(r.macs for r in costs.rows)

    fields = look.receptive_field(net)
    print(fields.table())
    assert fields["5"].size == (7, 7)  # 3, then 1 with stride 2, then 3 · 2

    filters = look.filters(net)
    print(filters.table())
    first, _, last = filters.layers
    assert first.dead_outputs == 1
    assert last.duplicates == 1

    sampling = look.aliasing(model, x)
    print(sampling.table())
    assert [layer.skips for layer in sampling.layers] == [True]
    assert sampling.layers[0].kernel == 0.75  # one tap keeps everything: three quarters lie above the new band

    # A file with the same weights is read without its code, and says what it cannot say.
    with tempfile.TemporaryDirectory() as folder:
        torch.save(model.state_dict(), Path(folder) / "weights")
        stored = readers.read(Path(folder) / "weights")
    assert not stored.connected
    assert look.filters(stored).layers[-1].duplicates == 1

    # Around one input the network is an affine map: its rows say which pixels an answer reads.
    row = look.linearize(model, x[:1]).row(int(model(x[:1]).argmax()))
    heat = look.cam(model, x[:1])
    print(f"the answer reads {int((row.abs() > 1e-6).sum())} of {x[0].numel()} values; its map is {tuple(heat.shape)}")
    assert row.shape == x[:1].shape


if __name__ == "__main__":
    main()
