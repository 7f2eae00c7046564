"""Networks from modules: the graph is torch's own, kernels are those that are applied, and the module stays as it was."""

import copy
import warnings

import numpy as np
import pytest
import torch
from torch import nn

import faltung.nn
from faltung import readers
from faltung.errors import ArgumentError


class Net(nn.Module):
    """Functions, branches, groups, a shared and a computed kernel: what modules alone do not show."""

    def __init__(self, ndim=2):
        super().__init__()
        conv, self.ndim = getattr(nn, f"Conv{ndim}d"), ndim
        self.first, self.norm = conv(2, 8, 3, padding=1, bias=False), getattr(nn, f"BatchNorm{ndim}d")(8)
        self.shared = conv(8, 8, 3, padding=1, groups=4, padding_mode="circular")
        self.kernel = nn.Parameter(torch.randn(4, 8, *(2,) * ndim))
        self.weighted = nn.utils.parametrizations.weight_norm(conv(4, 4, 1))
        self.up = getattr(nn, f"ConvTranspose{ndim}d")(4, 6, 2, 2)
        self.head = nn.Linear(6, 5)

    def forward(self, x):
        y = torch.relu_(self.norm(self.first(x)))
        y = y + torch.tanh(self.shared(self.shared(y)))
        y = getattr(nn.functional, f"conv{self.ndim}d")(y, self.kernel, stride=2)
        y = self.up(self.weighted(y))
        return self.head(nn.functional.dropout(y.flatten(2).mean(2), training=self.training))


def sample(ndim=2):
    return torch.randn(2, 2, *(8,) * ndim, generator=torch.Generator().manual_seed(0))


def replayed(network, x):
    """Run the nodes of a network with torch's functions: what the graph says must be what the module does."""
    held = {network.inputs[0]: x}
    for node in network.nodes:
        if node.op == "input":
            continue
        given = [held[name] for name in node.inputs]
        kernel = None if node.kernel is None else torch.from_numpy(node.kernel.copy())
        bias = None if node.bias is None else torch.from_numpy(node.bias.copy())
        if node.op == "conv":
            name = f"conv_transpose{node.ndim}d" if node.transposed else f"conv{node.ndim}d"
            options = {"stride": node.stride, "groups": node.groups, "dilation": node.dilation}
            options |= {"output_padding": node.output_padding} if node.transposed else {}
            y = getattr(nn.functional, name)(given[0], kernel, bias, padding=[p[0] for p in node.padding], **options)
        elif node.op == "linear":
            y = nn.functional.linear(given[0], kernel, bias)
        elif node.op == "norm":
            v = {k: torch.from_numpy(a.copy()) for k, a in node.values.items()}
            y = nn.functional.batch_norm(given[0], v["mean"], v["var"], v["gamma"], v["beta"], eps=node.settings["eps"])
        elif node.op == "activation":
            y = getattr(torch, node.word.rpartition(".")[2].rstrip("_"))(given[0])
        elif node.op == "add":
            y = sum(given)
        elif node.op == "pad":
            flat = [n for pair in reversed(node.padding) for n in pair]
            y = nn.functional.pad(given[0], flat, {"wrap": "circular"}[node.boundary])
        elif node.op == "reduce":
            y = given[0].mean(node.settings["axes"])
        elif node.op == "reshape":
            y = given[0].reshape(node.shape)
        else:
            assert node.op == "same"
            y = given[0]
        assert tuple(y.shape) == node.shape
        held[node.name] = y
    return held[network.outputs[0]]


@pytest.mark.parametrize("ndim", [1, 2, 3])
def test_the_graph_computes_what_the_module_does(ndim):
    torch.manual_seed(ndim)
    model, x = Net(ndim).eval(), sample(ndim)
    network = readers.read(model, x)
    assert network.source == "torch.export"
    torch.testing.assert_close(replayed(network, x), model(x))
    assert [n.name for n in network.convolutions] == [
        "first",
        "shared",
        "shared:2",
        "conv2d".replace("2", str(ndim)),
        "weighted",
        "up",
    ]
    assert [n.groups for n in network.convolutions] == [1, 4, 4, 1, 1, 1]
    assert network["up"].transposed
    assert network.parameter_count == sum(p.numel() for p in model.parameters())
    assert len(network.once(network.convolutions)) == 5
    assert network["weighted"].parameters == (
        "weighted.bias",
        *(f"weighted.parametrizations.weight.original{i}" for i in (0, 1)),
    ) or set(network["weighted"].parameters) == {
        "weighted.bias",
        "weighted.parametrizations.weight.original0",
        "weighted.parametrizations.weight.original1",
    }


def test_a_graph_that_depends_on_values_is_recorded_by_one_run_and_says_why():
    class Chooses(nn.Module):
        def __init__(self):
            super().__init__()
            self.a, self.b = nn.Conv1d(1, 2, 3), nn.Conv1d(1, 2, 5)

        def forward(self, x):
            return self.a(x) if x.sum() > 0 else self.b(x)

    network = readers.read(Chooses(), -torch.ones(1, 1, 9))
    assert "torch.export could not" in network.source
    assert "record of one run" in network.source
    assert [n.name for n in network.convolutions] == ["b"]


def test_the_wrapper_of_compile_is_taken_off():
    with warnings.catch_warnings():  # of torch about itself
        warnings.simplefilter("ignore")
        inner = torch.compile(nn.Conv1d(2, 2, 3))
    model = nn.Sequential(nn.Conv1d(1, 2, 3), inner)
    network = readers.read(torch.compile(model), torch.zeros(1, 1, 9))
    assert [n.name for n in network.convolutions] == ["0", "1"]
    assert set(network.parameters) == {"0.weight", "0.bias", "1.weight", "1.bias"}


def test_planned_convolutions_are_read_as_convolutions():
    x = torch.randn(2, 4, 9, 9)
    for layer in (
        faltung.nn.Conv(2, 4, 6, 3, stride=2, padding=1, groups=2, padding_mode="circular"),
        faltung.nn.ConvTranspose(2, 4, 6, 3, stride=2, padding=1, groups=2),
    ):
        (node,) = readers.read(layer, x).convolutions
        assert (node.groups, node.stride, node.padding) == (2, (2, 2), ((1, 1), (1, 1)))
        assert node.transposed == layer.transposed
        assert node.boundary == ("constant" if node.transposed else "wrap")
        np.testing.assert_array_equal(node.kernel, layer.weight.detach().numpy())


def test_computed_kernels_are_those_that_are_applied():
    layer = faltung.nn.SeparableConv2d(3, 3, 3) if hasattr(faltung.nn, "SeparableConv2d") else None
    model = nn.utils.parametrizations.weight_norm(nn.Conv1d(3, 4, 5))
    (node,) = readers.read(model, torch.zeros(1, 3, 9)).convolutions
    np.testing.assert_allclose(node.kernel, model.weight.detach().numpy(), rtol=1e-6)
    assert layer is None or readers.read(layer, torch.zeros(1, 3, 9, 9)).convolutions


def test_writing_in_parts_leaves_no_wrong_graph():
    class Writes(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv = nn.Conv1d(1, 1, 3)

        def forward(self, x):
            y = x.new_zeros(1, 1, 8)
            y[:, :, :4] = self.conv(x)[:, :, :4]
            return y * 2

    network = readers.read(Writes(), torch.zeros(1, 1, 9))
    end = network[network.outputs[0]]
    reached, todo = set(), [end.name]
    while todo:
        reached.add(name := todo.pop())
        todo += network[name].inputs
    assert "conv" in reached
    assert any(network[n].op == "unknown" for n in reached)


def test_splits_and_results_that_come_in_pairs():
    class Pairs(nn.Module):
        def forward(self, x):
            a, b = x.chunk(2, 1)
            pooled, where = nn.functional.max_pool1d(a, 2, return_indices=True)
            return pooled + b[:, :, ::2] + where

    network = readers.read(Pairs(), torch.randn(1, 4, 8))
    assert [n.op for n in network.nodes].count("slice") >= 2
    assert any("result 1" in n.note for n in network.nodes)
    assert network["max_pool1d_with_indices"].shape == (1, 2, 4) if "max_pool1d_with_indices" in network else True


@pytest.mark.parametrize("train", [True, False])
def test_the_module_stays_as_it_was(train):
    model = Net().train(train)
    old = nn.Conv2d(1, 1, 3)
    model.handle = old.register_forward_hook(lambda *a: None)
    before, rng = copy.deepcopy(model.state_dict()), torch.get_rng_state()
    modes = [m.training for m in model.modules()]
    model.first.weight.grad = torch.ones_like(model.first.weight)
    held = {n: dict(m.__dict__) for n, m in model.named_modules()}
    readers.read(model, sample())
    assert [m.training for m in model.modules()] == modes
    assert torch.equal(torch.get_rng_state(), rng)
    assert all(torch.equal(v, before[k]) for k, v in model.state_dict().items())
    assert torch.equal(model.first.weight.grad, torch.ones_like(model.first.weight))
    for n, m in model.named_modules():
        assert list(m.__dict__) == list(held[n])
        assert all(m.__dict__[k] is v for k, v in held[n].items())


def test_undisturbed_puts_back_buffers_attributes_and_random_numbers():
    class Restless(nn.Module):
        def __init__(self):
            super().__init__()
            self.register_buffer("seen", torch.zeros(()))
            self.count, self.notes = 0, {}

        def forward(self, x):
            self.seen += 1
            self.count += 1
            self.notes["x"] = x
            self.fresh = x
            np.random.rand()
            return x + torch.rand(())

    model, state, old = Restless(), torch.get_rng_state(), np.random.get_state()[1].copy()
    with readers.undisturbed(model):
        model(torch.ones(1))
        assert model.count == 1
    assert (model.seen.item(), model.count, model.notes, hasattr(model, "fresh")) == (0, 0, {}, False)
    assert torch.equal(torch.get_rng_state(), state)
    assert (np.random.get_state()[1] == old).all()


def test_a_model_that_writes_to_its_parameters_is_refused():
    class Trains(nn.Module):
        def __init__(self):
            super().__init__()
            self.w = nn.Parameter(torch.ones(1))

        def forward(self, x):
            with torch.no_grad():
                self.w += 1
            return x * self.w

    model = Trains()
    with pytest.raises(ArgumentError, match=r"copy\.deepcopy"), readers.undisturbed(model):
        model(torch.ones(1))


def test_wrong_calls():
    with pytest.raises(ArgumentError, match="arguments that it takes"):
        readers.read(nn.Conv1d(3, 4, 5), torch.zeros(1, 2, 9))
    with pytest.raises(ArgumentError, match="a torch module or the path"):
        readers.read(3)
    with pytest.raises(ArgumentError, match="unknown"):
        readers.Node("a", "convolve", "x")
    with pytest.raises(ArgumentError, match="sort the nodes"):
        readers.Network((readers.Node("a", "same", "x", ("b",)),))


def test_without_an_example_there_are_only_arrays():
    network = readers.read(Net())
    assert not network.connected
    assert {"first", "shared", "kernel", "up"} <= {n.name for n in network.convolutions}


def test_kernels_cannot_be_written_through():
    model = nn.Conv1d(1, 1, 3)
    (node,) = readers.read(model, torch.zeros(1, 1, 5)).convolutions
    with pytest.raises(ValueError, match="read-only"):
        node.kernel[0] = 1


@pytest.mark.parametrize("ways", [False, True])
def test_a_traced_model_runs_without_the_module(ways):
    class Chooses(nn.Module):
        def __init__(self):
            super().__init__()
            self.net = Net()

        def forward(self, x):
            y = self.net(x)
            return {"y": y * 2 if ways and y.sum() > -1e9 else y, "n": 3}

    model, x = Chooses().eval(), sample()
    found = readers.traced(model, x)
    assert ("record of one run" in found.network.source) == ways
    (y,) = found.run(x)
    torch.testing.assert_close(y, model(x)["y"])
    values = found.values(x, [n.name for n in found.network.nodes])
    assert {n.name for n in found.network.nodes if n.word != "write"} == set(values)
    for name, value in values.items():
        assert tuple(value.shape) == found.network[name].shape
    torch.testing.assert_close(values["net.first"], model.net.first(x))
    with pytest.raises(ArgumentError, match="read the model with these"):
        found.run(x[:1])
