"""Files run as their modules do: the same results and the same values at the same nodes; what could do more does not run."""

import json
import sys
import warnings
import zipfile

import pytest
import torch
from torch import nn

from faltung import readers
from faltung.errors import ArgumentError, MissingExtraError

X = torch.randn(1, 2, 8, 8, generator=torch.Generator().manual_seed(0))


class Net(nn.Module):
    """Norms, sums, splits, pools, writing in place, and casts."""

    def __init__(self):
        super().__init__()
        self.conv, self.norm = nn.Conv2d(2, 4, 3, padding=1, stride=2, bias=False), nn.BatchNorm2d(4)
        self.deep, self.up = nn.Conv2d(4, 4, 3, padding=1, groups=4), nn.ConvTranspose2d(4, 3, 2, 2)
        self.pool, self.head = nn.MaxPool2d(2), nn.Linear(3, 2)

    def forward(self, input):
        y = torch.relu_(self.norm(self.conv(input)))
        a, b = torch.split(y + self.deep(y), 2, 1)
        y = self.pool(self.up(torch.cat([b, a.double().float()], 1)))
        return self.head(nn.functional.adaptive_avg_pool2d(y, 1).flatten(1))


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(0)
    net = Net().eval()
    net.norm.running_mean.normal_()
    return net


@pytest.fixture(scope="module")
def files(model, tmp_path_factory):
    folder = tmp_path_factory.mktemp("files")
    torch.export.save(torch.export.export(model, (X,)), folder / "program.pt2")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.jit.trace(model, X).save(folder / "script.pt")
        torch.onnx.export(model, (X,), folder / "net.onnx", dynamo=False, do_constant_folding=False,
                          training=torch.onnx.TrainingMode.PRESERVE)  # fmt: skip
    torch.save(model.state_dict(), folder / "weights.pt")
    return folder


def sources(model, files):
    return {
        "module": model, "program": torch.export.export(model, (X,)), "file": files / "program.pt2",
        "script": files / "script.pt", "onnx": files / "net.onnx",
    }  # fmt: skip


@pytest.mark.parametrize("name", ["module", "program", "file", "script", "onnx"])
def test_results_and_values_are_those_of_the_module(model, files, name):
    found = readers.replay(sources(model, files)[name], X)
    torch.testing.assert_close(found.run(X)[0], model(X).detach(), atol=1e-5, rtol=1e-5)
    layers = ["conv", "deep", "up", "head"]
    wanted = readers.replay(model, X).values(X, [*layers, "norm"])
    values = found.values(X, layers)
    for layer in layers:
        torch.testing.assert_close(values[layer], wanted[layer], atol=1e-5, rtol=1e-5)
    assert torch.equal(found.values(X, found.network.inputs)[found.network.inputs[0]], X)
    other = 2 * X + 1
    torch.testing.assert_close(found.run(other)[0], model(other).detach(), atol=1e-5, rtol=1e-5)
    with pytest.raises(ArgumentError):
        found.run(X[:, :1])


def test_an_exported_program_is_read_like_its_module(model):
    wanted, found = readers.read(model, X), readers.read(torch.export.export(model, (X,)))
    assert [(n.name, n.op, n.inputs, n.shape) for n in found.nodes] == [
        (n.name, n.op, n.inputs, n.shape) for n in wanted.nodes
    ]
    assert found.parameters == wanted.parameters


def test_what_holds_no_program_does_not_run(model, files):
    assert readers.replay(files / "weights.pt", X) is None
    assert readers.replay(readers.read(model, X), X) is None


def changed(path, change, out):
    """The file with another description."""
    with zipfile.ZipFile(path) as whole, zipfile.ZipFile(out, "w") as written:
        for entry in whole.infolist():
            data = whole.read(entry)
            if "/models/" in entry.filename and entry.filename.endswith(".json"):
                text = json.loads(data)
                change(text["graph_module"]["graph"])
                data = json.dumps(text).encode()
            written.writestr(entry, data)
    return out


@pytest.mark.parametrize(
    "target",
    ["torch.ops.aten.from_file.default", "torch.ops.aten.save.default", "torch.ops.other.relu.default", "os.system"],
)
def test_operators_that_could_do_more_do_not_run(files, tmp_path, target):
    def change(graph):
        graph["nodes"][-1]["target"] = target

    path = changed(files / "program.pt2", change, tmp_path / "harm.pt2")
    assert readers.read(path).nodes
    with pytest.raises(ArgumentError, match="only compute"):
        readers.replay(path, X)


def test_without_the_runtime_it_is_said_so(files, monkeypatch):
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(MissingExtraError, match="onnxruntime"):
        readers.replay(files / "net.onnx", X)
