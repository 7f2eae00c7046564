"""`faltung report` and `faltung compare` from the command line, on files of every kind and on broken ones."""

import json

import numpy
import pytest
import torch
from torch import nn

from faltung.cli import main


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
