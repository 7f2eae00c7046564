"""Coordinates: where they start and end, what they break and what not, and the bias for each position that they amount to."""

import io
import itertools

import pytest
import torch

from faltung import nn
from faltung.errors import ArgumentError

TORCH = {1: torch.nn.Conv1d, 2: torch.nn.Conv2d, 3: torch.nn.Conv3d}


def maps(sizes, **settings):
    return nn.AddCoords(**settings)(torch.zeros(1, 1, *sizes, dtype=torch.float64))[0, 1:]


def test_maps_run_from_end_to_end_along_their_axis():
    rows, columns, radius = maps((3, 5), radius=True)
    assert torch.equal(rows, torch.tensor([-1.0, 0, 1]).double()[:, None].expand(3, 5))
    torch.testing.assert_close(columns, torch.linspace(-1, 1, 5).double().expand(3, 5))
    torch.testing.assert_close(radius, (rows.square() + columns.square()).sqrt())
    (time,) = maps((3, 5), axes=(-1,), range=(0, 2))
    torch.testing.assert_close(time, torch.linspace(0, 2, 5).double().expand(3, 5))
    both = maps((3, 5), axes=(1, 0), range=((0, 4), (1, 3)))
    assert torch.equal(both[:, 1, 1], torch.tensor([1.0, 2.0]).double())


@pytest.mark.parametrize("ndim", [1, 2, 3, 4])
def test_an_axis_of_one_sample_gives_the_first_coordinate(ndim):
    assert torch.equal(maps((1,) * ndim), torch.full((ndim, *[1] * ndim), -1.0).double())
    assert maps((1,) * ndim, radius=True)[-1].item() == 0


def test_steps_mean_the_same_at_every_length():
    (short,), (long,) = (maps((n,), range=(0.5, 1), step=0.25) for n in (4, 9))
    torch.testing.assert_close(short, torch.tensor([0.5, 0.75, 1.0, 1.25]).double())
    torch.testing.assert_close(long[:4], short)


def test_coordinates_are_exported_with_open_sizes_and_batch():
    dims = {0: torch.export.Dim("b"), 2: torch.export.Dim("h"), 3: torch.export.Dim("w")}
    layer = nn.AddCoords(radius=True)
    conv = torch.nn.Conv2d(5, 4, 3, padding=1)
    model = torch.nn.Sequential(layer, conv)
    exported = torch.export.export(model, (torch.randn(3, 2, 5, 7),), dynamic_shapes=({**dims},))
    stored = io.BytesIO()
    torch.export.save(exported, stored)
    stored.seek(0)
    loaded = torch.export.load(stored).module()
    for shape in ((3, 2, 5, 7), (5, 2, 11, 4), (2, 2, 2, 19)):
        x = torch.randn(shape)
        torch.testing.assert_close(loaded(x), model(x))


SETTINGS = [
    {"kernel_size": 3},
    {"kernel_size": 3, "padding": 1, "stride": 2, "bias": False},
    {"kernel_size": 2, "dilation": 2, "padding": 1, "radius": True},
    {"kernel_size": 3, "padding": "same", "padding_mode": "reflect", "axes": (0,)},
    {"kernel_size": 3, "padding": 2, "padding_mode": "circular", "axes": (-1,), "step": 0.5},
    {"kernel_size": 3, "padding": 2, "padding_mode": "replicate", "range": (0, 3)},
]


@pytest.mark.parametrize(("settings", "ndim"), list(itertools.product(SETTINGS, (1, 2, 3))))
def test_it_is_the_concatenation_and_takes_its_state_dict(settings, ndim):
    own = {name: settings[name] for name in ("axes", "range", "radius", "step") if name in settings}
    plain = {name: value for name, value in settings.items() if name not in own}
    ours = nn.CoordConv(ndim, 3, 4, dtype=torch.float64, **settings)
    added = nn.AddCoords(**own)
    theirs = TORCH[ndim](ours.weight.shape[1], 4, dtype=torch.float64, **plain)
    ours.load_state_dict(theirs.state_dict())
    x = torch.randn(2, 3, *(6, 5, 7)[:ndim], dtype=torch.float64)
    torch.testing.assert_close(ours(x), theirs(added(x)), rtol=1e-10, atol=1e-12)
    torch.testing.assert_close(ours(x[0]), ours(x)[0])


@pytest.mark.parametrize("groups", [1, 2])
def test_it_is_a_plain_convolution_and_a_bias_for_each_position(groups):
    layer = nn.CoordConv2d(4, 6, 3, padding=1, groups=groups, dtype=torch.float64)
    x = torch.randn(2, 4, 5, 6, dtype=torch.float64)
    plain = torch.nn.functional.conv2d(x, layer.kernel(), padding=1, groups=groups)
    torch.testing.assert_close(layer(x), plain + layer.position_bias((5, 6)), rtol=1e-10, atol=1e-12)
    with torch.no_grad():
        layer.weight[:, 4 // groups :] = 0
    torch.testing.assert_close(layer(x), plain + layer.bias[:, None, None], rtol=1e-10, atol=1e-12)


def test_from_conv_is_exact():
    conv = nn.Conv2d(4, 6, 3, stride=2, padding=1, groups=2, padding_mode="reflect", dtype=torch.float64)
    layer = nn.CoordConv.from_conv(conv, axes=(1,), radius=True)
    x = torch.randn(2, 4, 7, 6, dtype=torch.float64)
    torch.testing.assert_close(layer(x), conv(x), rtol=1e-12, atol=1e-12)
    assert layer.weight.shape == (6, 4, 3, 3)
    with pytest.raises(ArgumentError, match="leave kernel_size"):
        nn.CoordConv.from_conv(conv, kernel_size=5)


@pytest.mark.parametrize("axes", [(0,), (1,), (2,), (0, 2), (1, 2), "all"])
def test_shifts_are_broken_along_the_chosen_axes_only(axes):
    chosen = range(3) if axes == "all" else axes
    layer = nn.CoordConv(3, 2, 3, 3, padding="same", padding_mode="circular", axes=axes, dtype=torch.float64)
    x = torch.randn(1, 2, 4, 5, 6, dtype=torch.float64)
    for axis in range(3):
        off = (layer(x.roll(1, axis + 2)) - layer(x).roll(1, axis + 2)).abs().max()
        assert (off < 1e-12) == (axis not in chosen), axis


def test_axis_convolutions_are_the_block_of_the_paper():
    torch.manual_seed(0)
    x = torch.randn(3, 2, 6, 8)
    for mode in ("parallel", "interleaved"):
        layer = nn.AxisConv2d(2, 5, mode=mode)

        def stage(n, x, layer=layer):
            conv = layer.convs[n]
            y = torch.nn.functional.conv2d(x, conv.weight, conv.bias, padding=conv.padding)
            return torch.nn.functional.relu(torch.nn.functional.batch_norm(y, None, None, training=True))

        if mode == "parallel":
            wanted = stage(2, torch.cat([stage(0, x), stage(1, x)], 1))
            assert [c.kernel_size for c in layer.convs] == [(3, 1), (1, 3), (1, 1)]
        else:
            wanted = stage(1, stage(0, x))
            assert [c.kernel_size for c in layer.convs] == [(3, 1), (1, 3)]
        assert all(c.bias is None for c in layer.convs)
        torch.testing.assert_close(layer(x), wanted)  # in training: statistics of the batch
        assert layer.norms[0].num_batches_tracked == 1


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: nn.AddCoords(axes="rows"), "all"),
        (lambda: nn.AddCoords(axes=()), "all"),
        (lambda: nn.AddCoords(axes=(True,)), "all"),
        (lambda: nn.AddCoords(range=(1,)), "range"),
        (lambda: nn.AddCoords(range=(0, float("nan"))), "range"),
        (lambda: nn.AddCoords(radius=2), "radius"),
        (lambda: nn.AddCoords(step="1"), "step"),
        (lambda: nn.AddCoords(axes=(0,), step=(1.0, 2.0)), "give one for all"),
        (lambda: nn.AddCoords(axes=(2,))(torch.zeros(1, 1, 3, 3)), "from -2 to 1"),
        (lambda: nn.AddCoords(axes=(0, -2))(torch.zeros(1, 1, 3, 3)), "different axes"),
        (lambda: nn.AddCoords()(torch.zeros(1, 1)), "spatial axes"),
        (lambda: nn.CoordConv2d(2, 3, 3, axes=(2,)), "from -2 to 1"),
        (lambda: nn.CoordConv2d(2, 3, 3, groups=2), "divide"),
        (lambda: nn.AxisConv2d(2, 3, kernel_size=4), "odd"),
        (lambda: nn.AxisConv2d(2, 3, mode="serial"), "parallel or interleaved"),
        (lambda: nn.AxisConv2d(2, 3, axes=(-1,)), "from 0 to 1"),
        (lambda: nn.AxisConv2d(2, 3, eps=-1), "eps"),
        (lambda: nn.AxisConv2d(2, 3, groups=2), "divide"),
    ],
)
def test_wrong_settings_are_refused(make, said):
    with pytest.raises(ArgumentError, match=said):
        make()
