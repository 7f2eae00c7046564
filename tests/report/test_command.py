"""`faltung report` and `faltung compare` from the command line, on files of every kind and on broken ones."""

import json
import sys
import types

import numpy
import pytest
import rich.progress
import torch
from torch import nn

from faltung.cli import main
from faltung.report import inspect


def network():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(3, 16, 3, padding=1), nn.ReLU(), nn.Conv2d(16, 16, 3, padding=1), nn.ReLU()).eval()
    with torch.no_grad():
        model[2].weight[:4] = 0
    return model


@pytest.fixture
def files(tmp_path):
    model, x = network(), torch.zeros(1, 3, 16, 16)
    torch.save(model.state_dict(), tmp_path / "weights.pt")
    torch.export.save(torch.export.export(model, (x,)), tmp_path / "program.pt2")
    return tmp_path


def test_a_page_from_a_file(files, capsys):
    assert main(["report", str(files / "program.pt2"), "-o", str(files / "r.html")]) == 0
    said = capsys.readouterr().out
    assert "F5 Dead outputs: 2 (0.25)" in said
    page = (files / "r.html").read_text()
    assert "F5" in page
    assert "</html>" in page


def test_weights_without_a_graph(files, capsys):
    assert main(["report", str(files / "weights.pt"), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert any(f["rule"] == "F5" for f in found["findings"])


def test_strict_stops_a_build(files):
    assert main(["report", str(files / "program.pt2"), "--strict"]) == 1
    assert main(["report", str(files / "program.pt2"), "--strict", "--rules", "S1"]) == 0


def test_comparing(files, capsys):
    assert main(["report", str(files / "program.pt2"), "-o", str(files / "a.json")]) == 0
    model = network()
    with torch.no_grad():
        model[2].weight.normal_(std=0.1)
    torch.export.save(torch.export.export(model, (torch.zeros(1, 3, 16, 16),)), files / "better.pt2")
    assert main(["report", str(files / "better.pt2"), "-o", str(files / "b.json")]) == 0
    capsys.readouterr()
    assert main(["compare", str(files / "a.json"), str(files / "b.json")]) == 0
    assert "gone [bad] F5 2" in capsys.readouterr().out
    assert main(["compare", str(files / "b.json"), str(files / "a.json")]) == 1
    assert "new [bad] F5 2 (0.25)" in capsys.readouterr().out


def test_levels_that_run_and_samples_of_a_file(files, capsys):
    numpy.save(files / "samples.npy", numpy.random.default_rng(0).standard_normal((40, 3, 16, 16)))
    words = ["report", str(files / "program.pt2"), "--level", "full", "--data", str(files / "samples.npy"), "--json"]
    assert main(words) == 0
    row = json.loads(capsys.readouterr().out)["layers"]["2"]
    assert {"value", "alias", "border", "dimension", "torch_ms", "effective"} - set(row) <= {"alias"}
    numpy.save(files / "wrong.npy", numpy.array([{}]), allow_pickle=True)
    assert main([*words[:-2], str(files / "wrong.npy")]) == 2
    assert "numpy.save" in capsys.readouterr().err


def test_a_function_that_makes_the_model(tmp_path, monkeypatch, capsys):
    (tmp_path / "some_net.py").write_text(
        "from torch import nn\n\n\ndef make():\n    return nn.Conv2d(3, 4, 2, stride=3)\n"
    )
    monkeypatch.chdir(tmp_path)
    assert main(["report", "some_net:make", "--input", "1x3x9x9"]) == 0
    assert "A3" in capsys.readouterr().out


class Trained(nn.Sequential):
    """A layer that jumps over samples, in training mode as packages may leave it."""

    def __init__(self):
        super().__init__(nn.Conv2d(3, 4, 2, stride=3), nn.Dropout())


@pytest.mark.parametrize(
    ("home", "module", "function", "asked"),
    [
        ("timm", "timm", "create_model", {"pretrained": True}),
        ("torchvision", "torchvision.models", "get_model", {"weights": "DEFAULT"}),
    ],
)
def test_trained_networks_of_packages(home, module, function, asked, monkeypatch, capsys):
    calls = []

    def make(name, **settings):
        if name != "small":
            raise RuntimeError(f"Unknown model ({name})")
        calls.append((settings, Trained()))
        return calls[-1][1]

    fake = types.ModuleType(module)
    setattr(fake, function, make)
    monkeypatch.setitem(sys.modules, home, types.ModuleType(home))
    monkeypatch.setitem(sys.modules, module, fake)
    assert main(["report", f"{home}:small", "--input", "1x3x9x9"]) == 0
    assert "A3" in capsys.readouterr().out
    ((settings, model),) = calls
    assert settings == asked
    assert not model.training
    assert main(["report", f"{home}:smal"]) == 2
    said = capsys.readouterr().err
    assert "Unknown model (smal)" in " ".join(said.split())
    assert "Traceback" not in said


@pytest.mark.parametrize("home", ["timm", "torchvision"])
def test_packages_that_are_not_there_get_one_sentence(home, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, home, None)
    monkeypatch.setitem(sys.modules, f"{home}.models", None)
    assert main(["report", f"{home}:resnet50"]) == 2
    said = " ".join(capsys.readouterr().err.split())
    assert f"pip install {home}" in said
    assert "Traceback" not in said


def test_progress_is_told_part_by_part():
    told = []
    report = inspect(network(), torch.zeros(1, 3, 16, 16), progress=lambda part, share: told.append((part, share)))
    parts, shares = zip(*told, strict=True)
    assert parts == ("reading", *(section.name for section in report.sections), "done")
    assert list(shares) == sorted(set(shares))
    assert (shares[0], shares[-1]) == (0, 1)


def test_the_bar_moves(files, monkeypatch, capsys):
    moved = []
    update = rich.progress.Progress.update

    def watched(self, task, **what):
        update(self, task, **what)
        moved.append((what["description"], self.tasks[task].completed))

    monkeypatch.setattr(rich.progress.Progress, "update", watched)
    assert main(["report", str(files / "program.pt2")]) == 0
    assert moved[0] == ("reading", 0)
    assert moved[-1] == ("done", 1)
    assert len({share for _, share in moved}) == len(moved) > 5


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["report", "missing.onnx"], "missing.onnx"),
        (["report", "no_module_of_that_name:make"], "no_module_of_that_name"),
        (["report", "json:nothing"], "'nothing'"),
        (["compare", "a.json", "b.json"], "a.json"),
    ],
)
def test_mistakes_get_one_sentence(words, said, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert main(words) == 2
    error = capsys.readouterr().err
    assert said in error
    assert "Traceback" not in error


def test_truncated_files_get_one_sentence(files, capsys):
    whole = (files / "program.pt2").read_bytes()
    (files / "cut.pt2").write_bytes(whole[: len(whole) // 2])
    assert main(["report", str(files / "cut.pt2")]) == 2
    assert "Traceback" not in capsys.readouterr().err
