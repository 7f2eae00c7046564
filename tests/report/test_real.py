"""Reports of trained networks that other packages ship: faces, text, pitch, voice; as ONNX, safetensors, checkpoints."""

import json
import os
import sys
from pathlib import Path

import pytest
import torch

from faltung.report import inspect

ROOM = Path(os.environ.get("FALTUNG_MODELS", Path(sys.prefix) / "models"))
if not ROOM.is_dir():
    pytest.skip(
        f"no trained networks in {ROOM}: pip install --no-deps --target {ROOM} -r tests/models.txt",
        allow_module_level=True,
    )

# File, shape of one input, layers, parameters as published or counted by hand, rules that must be found.
NETWORKS = {
    "faces, proposals": ("facenet_pytorch/data/pnet.pt", None, 13, 6_632, set()),
    "faces, refinement": ("facenet_pytorch/data/rnet.pt", None, 16, 100_178, set()),
    "text, direction": (
        "rapidocr_onnxruntime/models/ch_ppocr_mobile_v2.0_cls_infer.onnx",
        (1, 3, 48, 192),
        55,
        None,
        {"A1"},
    ),
    "pitch": ("basic_pitch/saved_models/icassp_2022/nmp.onnx", (1, 43844, 1), 32, None, {"A1"}),
    "voice": ("silero_vad/data/silero_vad_16k.safetensors", None, 15, None, {"F5"}),
}


@pytest.mark.parametrize("name", NETWORKS)
def test_a_report_of_a_trained_network(name, tmp_path):
    path, shape, layers, parameters, rules = NETWORKS[name]
    report = inspect(ROOM / path, None if shape is None else torch.zeros(shape))
    assert len(report.layers) == layers
    assert parameters in (None, report.facts["parameters"])
    assert rules <= {f.rule for f in report.findings}
    # Trained filters are neither random nor copies on the whole.
    ratios = [row["ratio"] for row in report.layers.values() if row.get("ratio") is not None]
    assert not ratios or 0.2 < sum(ratios) / len(ratios) < 1.1
    for row in report.layers.values():
        if row.get("sigma_upper") is not None:
            assert 0 < row["sigma_lower"] <= row["sigma_upper"]
    report.save(tmp_path / "r.html")
    report.save(tmp_path / "r.json")
    assert json.loads((tmp_path / "r.json").read_text())["layers"].keys() == report.layers.keys()
    assert (tmp_path / "r.html").stat().st_size < 2_000_000


def test_multiplications_of_a_trained_network_agree_with_its_shapes():
    path, shape, *_ = NETWORKS["text, direction"]
    report = inspect(ROOM / path, torch.zeros(shape))
    counted = 0
    for row in report.layers.values():
        if row.get("op") == "conv":
            _, per_group, *taps = (int(n) for n in row["kernel"].split(" × "))
            places = [int(n) for n in row["result"].split(" × ")]
            counted += torch.tensor(places).prod().item() * per_group * torch.tensor(taps).prod().item()
    assert counted == sum(row["macs"] for row in report.layers.values() if row.get("op") == "conv")


@pytest.mark.slow
def test_a_planted_fault_in_a_trained_network_is_caught(tmp_path):
    weights = torch.load(ROOM / "facenet_pytorch/data/rnet.pt", weights_only=True)
    weights["conv2.weight"][:8] = 0
    weights["conv3.weight"][0, 0, 0, 0] = float("nan")
    torch.save(weights, tmp_path / "broken.pt")
    found = {(f.rule, layer) for f in inspect(tmp_path / "broken.pt").findings for layer, _ in f.where}
    before = {(f.rule, layer) for f in inspect(ROOM / "facenet_pytorch/data/rnet.pt").findings for layer, _ in f.where}
    new = found - before
    assert {("F5", "conv2"), ("N3", "conv3")} <= new
