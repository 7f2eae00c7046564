"""The layer modules: interchangeable with torch's, printed so that they rebuild, traced whole, wrong settings refused."""

import copy
import io
import itertools
import math
import pickle

import pytest
import torch

from faltung import Policy, nn
from faltung.errors import ArgumentError, DtypeError
from faltung.nn.functional import conv

pytestmark = pytest.mark.filterwarnings(
    "ignore:.*torch.jit.*:DeprecationWarning"
)  # torch on its own forward derivatives
TORCH = {1: torch.nn.Conv1d, 2: torch.nn.Conv2d, 3: torch.nn.Conv3d}
TORCH_TRANSPOSED = {1: torch.nn.ConvTranspose1d, 2: torch.nn.ConvTranspose2d, 3: torch.nn.ConvTranspose3d}


SETTINGS = [
    {"kernel_size": 3},
    {"kernel_size": (3,), "stride": 2, "padding": 1, "dilation": 2},
    {"kernel_size": 2, "groups": 2, "bias": False},
    {"kernel_size": 3, "padding": "same", "padding_mode": "circular", "dtype": torch.float64},
    {"kernel_size": 3, "padding": 2, "padding_mode": "reflect"},
    {"kernel_size": 3, "padding": 2, "padding_mode": "replicate"},
]
TRANSPOSED_SETTINGS = [
    {"kernel_size": 3},
    {"kernel_size": 3, "stride": 2, "padding": 1, "output_padding": 1, "groups": 2},
    {"kernel_size": 2, "dilation": 2, "bias": False, "dtype": torch.float64},
]
PAIRS = [(nn.Conv, TORCH, s, n) for s in SETTINGS for n in (1, 2, 3)]
PAIRS += [(nn.ConvTranspose, TORCH_TRANSPOSED, s, n) for s in TRANSPOSED_SETTINGS for n in (1, 2, 3)]


@pytest.mark.parametrize(("ours", "theirs", "options", "ndim"), PAIRS)
def test_modules_and_torch_s_are_interchangeable(ours, theirs, options, ndim):
    options = {name: value * ndim if isinstance(value, tuple) else value for name, value in options.items()}
    torch.manual_seed(7)
    mine = ours(ndim, 4, 6, **options)
    torch.manual_seed(7)
    other = theirs[ndim](4, 6, **options)
    for name, value in other.state_dict().items():  # the same names, shapes and numbers from the same seed
        assert torch.equal(mine.state_dict()[name], value)
    assert mine.state_dict().keys() == other.state_dict().keys()
    x = torch.randn(2, 4, *[7] * ndim, dtype=other.weight.dtype)
    torch.testing.assert_close(mine(x), other(x), rtol=1e-4, atol=1e-5)
    fresh = ours(ndim, 4, 6, **options)
    fresh.load_state_dict(other.state_dict())
    other.load_state_dict(fresh.state_dict())
    for image in (
        ours.from_torch(other),
        ours.from_torch(mine.to_torch()),
        copy.deepcopy(mine),
        pickle.loads(pickle.dumps(mine)),
    ):
        torch.testing.assert_close(image(x), mine(x))
        assert repr(image) == repr(mine)
    taken = ours.from_torch(other)
    assert taken.weight is other.weight
    assert taken.to_torch().weight is other.weight
    assert type(taken.to_torch()) is type(other)


def test_the_way_there_and_back_keeps_what_a_layer_is():
    layer = nn.Conv2d(2, 4, 3).eval().requires_grad_(False)
    there = layer.to_torch()
    assert not there.training
    assert not nn.Conv.from_torch(there).weight.requires_grad


@pytest.mark.parametrize(
    "line",
    [
        "Conv(4, 1, 2, kernel_size=(3, 3, 3, 3), padding='same', padding_mode='symmetric')",
        "Conv(2, 4, 8, kernel_size=(3, 1), stride=(2, 1), groups=4, policy=Policy(tolerance=None, memory=None, "
        "deterministic=True, only=('direct',), without=(), threads=None, calls=100, verify=False), bias=False, "
        "dtype=torch.float64)",
        "ConvTranspose(4, 2, 3, kernel_size=(2, 2, 2, 2), stride=(2, 2, 2, 2), output_padding=(1, 0, 0, 0), "
        "padding_mode='circular')",
    ],
)
def test_the_printed_layer_rebuilds_it(line):
    rebuilt = eval(line, {"Conv": nn.Conv, "ConvTranspose": nn.ConvTranspose, "Policy": Policy, "torch": torch})
    assert repr(rebuilt) == line


def test_aliases_and_registry():
    assert repr(nn.Conv1d(2, 3, 4)) == repr(nn.Conv(1, 2, 3, 4))
    assert repr(nn.ConvTranspose4d(2, 3, 4)) == repr(nn.ConvTranspose(4, 2, 3, 4))
    assert [layer.name for layer in nn.ALL[:2]] == ["conv", "conv-transpose"]
    assert all(layer.summary and layer.source for layer in nn.ALL)


def test_four_dimensional_layers_train():
    torch.manual_seed(0)
    down, up = (
        nn.Conv4d(1, 2, 3, stride=2, padding=1, padding_mode="reflect"),
        nn.ConvTranspose4d(2, 1, 3, stride=2, padding=1),
    )
    x = torch.randn(2, 1, 5, 5, 5, 5)
    optimizer = torch.optim.SGD([*down.parameters(), *up.parameters()], lr=0.05)
    losses = []
    for _ in range(5):
        optimizer.zero_grad()
        loss = (up(down(x)) - x).square().mean()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses == sorted(losses, reverse=True)
    assert losses[-1] < losses[0]


def test_layers_compile_and_export_whole():
    torch._dynamo.reset()
    net = torch.nn.Sequential(
        nn.Conv2d(3, 8, 3, padding=1, padding_mode="circular"),
        torch.nn.ReLU(),
        nn.ConvTranspose2d(8, 2, 3, stride=2, groups=2),
    )
    for size, dynamic in itertools.product((9, 11, 12), (None, True)):
        x = torch.randn(2, 3, size, size)
        compiled = torch.compile(net, fullgraph=True, backend="aot_eager", dynamic=dynamic)
        torch.testing.assert_close(compiled(x), net(x))
        compiled(x).square().sum().backward()
        mine = [p.grad for p in net.parameters()]
        net.zero_grad()
        net(x).square().sum().backward()
        for a, b in zip(mine, [p.grad for p in net.parameters()], strict=True):
            torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-4)
        net.zero_grad()
    x = torch.randn(2, 3, 9, 9)
    program = torch.export.export(net, (x,))
    stored = io.BytesIO()
    torch.export.save(program, stored)
    stored.seek(0)
    torch.testing.assert_close(torch.export.load(stored).module()(x), net(x))


def test_gradients_for_each_sample_of_a_layer():
    layer = nn.Conv2d(2, 3, 3, padding=1, groups=1)
    parameters = dict(layer.named_parameters())
    x = torch.randn(4, 2, 6, 5)

    def loss(parameters, x):
        return torch.func.functional_call(layer, parameters, (x,)).square().sum()

    got = torch.func.vmap(torch.func.grad(loss), (None, 0))(parameters, x)
    for n, row in enumerate(x):
        for name, value in torch.func.grad(loss)(parameters, row).items():
            torch.testing.assert_close(got[name][n], value, rtol=1e-4, atol=1e-4)


def test_ensembles_batch_the_weights():
    x, weights, biases = torch.randn(2, 4, 7), torch.randn(3, 6, 2, 3), torch.randn(3, 6)
    got = torch.func.vmap(lambda w, b: conv(x, w, b, groups=2))(weights, biases)
    torch.testing.assert_close(
        got, torch.stack([torch.conv1d(x, w, b, groups=2) for w, b in zip(weights, biases, strict=True)])
    )


def test_meta_and_fake_layers():
    layer = nn.Conv(3, 2, 4, 3, device="meta", padding=1)
    assert layer(torch.empty(5, 2, 6, 7, 8, device="meta")).shape == (5, 4, 6, 7, 8)
    with torch._subclasses.FakeTensorMode():
        assert nn.ConvTranspose(1, 2, 4, 3, stride=2)(torch.empty(5, 2, 6)).shape == (5, 4, 13)


def test_initial_values_stay_within_their_bound():
    layer = nn.Conv(4, 3, 5, 3)
    bound = 1 / math.sqrt(3 * 3**4)
    for values in layer.parameters():
        assert float(values.detach().abs().max()) <= bound


WRONG_LAYERS = {
    "ndim: expected whole numbers of at least 1": lambda: nn.Conv(0, 1, 1, 3),
    "kernel_size: expected whole numbers of at least 1, one or 2": lambda: nn.Conv(2, 1, 1, (3, 3, 3)),
    "in and out channels that 2 groups divide, but got 3 and 4": lambda: nn.Conv(2, 3, 4, 3, groups=2),
    "in_channels, out_channels: expected": lambda: nn.Conv(2, 0, 4, 3),
    "padding='same': expected a stride of 1": lambda: nn.Conv(1, 1, 1, 3, stride=2, padding="same"),
    "padding_mode: expected one of": lambda: nn.ConvTranspose(1, 1, 1, 3, padding_mode="mirror"),
    "one of Conv1d, Conv2d, Conv3d, but got Linear": lambda: nn.Conv.from_torch(torch.nn.Linear(2, 2)),
    "one of ConvTranspose1d": lambda: nn.ConvTranspose.from_torch(torch.nn.Conv1d(2, 2, 1)),
    "to_torch: expected one to three dimensions": lambda: nn.Conv4d(1, 1, 1).to_torch(),
    "padding_mode among zeros, but got": lambda: nn.ConvTranspose(1, 1, 1, 3, padding_mode="circular").to_torch(),
}


@pytest.mark.parametrize("sentence", WRONG_LAYERS)
def test_wrong_layers(sentence):
    with pytest.raises((ArgumentError, DtypeError), match=sentence):
        WRONG_LAYERS[sentence]()
