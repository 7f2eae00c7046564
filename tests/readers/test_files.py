"""Networks from files, and files that are damaged or mean harm: one sentence, and nothing of theirs runs."""

import io
import json
import os
import pickle
import struct
import warnings
import zipfile

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from faltung import readers
from faltung.errors import FileError


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv, self.norm = nn.Conv2d(2, 4, 3, padding=1, stride=2, bias=False), nn.BatchNorm2d(4)
        self.deep, self.up = nn.Conv2d(4, 4, 3, padding=1, groups=4), nn.ConvTranspose2d(4, 3, 2, 2)
        self.head = nn.Linear(3, 2)

    def forward(self, x):
        y = torch.relu(self.norm(self.conv(x)))
        y = self.up(y + self.deep(y))
        return self.head(nn.functional.adaptive_avg_pool2d(y, 1).flatten(1))


X = torch.randn(1, 2, 8, 8)


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(0)
    return Net().eval()


@pytest.fixture(scope="module")
def files(model, tmp_path_factory):
    """One whole file of each kind."""
    folder = tmp_path_factory.mktemp("files")
    torch.save({"state_dict": model.state_dict(), "epoch": 3}, folder / "checkpoint")
    torch.save(model.state_dict(), folder / "legacy", _use_new_zipfile_serialization=False)
    torch.export.save(torch.export.export(model, (X,)), folder / "program.pt2")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.jit.trace(model, X).save(folder / "script")
        torch.onnx.export(model, (X,), folder / "net.onnx", dynamo=False)
    from safetensors.torch import save_file

    save_file({k: v.contiguous() for k, v in model.state_dict().items()}, folder / "tensors")
    return folder


def described(network):
    return [
        (n.name, n.kernel_shape, n.stride, n.padding, n.dilation, n.groups, n.transposed, n.shape) for n in network.convolutions
    ]  # fmt: skip


@pytest.mark.parametrize("name", ["program.pt2", "script", "net.onnx"])
def test_graphs_of_files_are_those_of_the_module(model, files, name):
    wanted, found = readers.read(model, X), readers.read(files / name, X)
    if name == "net.onnx":  # its exporter folds the batch norm into the convolution
        assert [d[1:] for d in described(found)] == [d[1:] for d in described(wanted)]
    else:
        assert described(found) == described(wanted)
        for a, b in zip(wanted.convolutions, found.convolutions, strict=True):
            np.testing.assert_array_equal(a.kernel, b.kernel)
        assert found.parameters == wanted.parameters
    if name == "program.pt2":
        assert [(n.name, n.op, n.inputs, n.shape) for n in found.nodes] == [
            (n.name, n.op, n.inputs, n.shape) for n in wanted.nodes
        ]


@pytest.mark.parametrize("name", ["checkpoint", "legacy", "tensors"])
def test_arrays_of_files_are_those_of_the_module(model, files, name):
    network = readers.read(files / name)
    assert not network.connected
    state = model.state_dict()
    assert set(network.parameters) - {"epoch"} == set(state)
    for node in network.convolutions:
        np.testing.assert_array_equal(node.kernel, state[f"{node.name}.weight"].numpy())
        assert "not known" in node.note
    assert {n.name for n in network.convolutions} == {"conv", "deep", "up"}


def test_half_numbers_are_read(tmp_path):
    from safetensors.torch import save_file

    w = torch.randn(2, 3, 3).bfloat16()
    save_file({"a.weight": w}, tmp_path / "half")
    (node,) = readers.read(tmp_path / "half").nodes
    assert node.dtype == "bfloat16"
    np.testing.assert_array_equal(node.kernel, w.float().numpy())


@pytest.mark.parametrize("name", ["checkpoint", "legacy", "program.pt2", "script", "net.onnx", "tensors"])
@settings(max_examples=12)
@given(data=st.data())
def test_cut_or_changed_files_get_one_sentence_or_are_read(files, tmp_path_factory, name, data):
    whole = (files / name).read_bytes()
    changed = bytearray(whole[: data.draw(st.integers(0, len(whole)))])
    if changed and data.draw(st.booleans()):
        for _ in range(3):
            changed[data.draw(st.integers(0, len(changed) - 1))] = data.draw(st.integers(0, 255))
    path = tmp_path_factory.mktemp("cut") / "file"
    path.write_bytes(changed)
    said = ""
    try:
        network = readers.read(path)
    except FileError as error:
        said = str(error)
    assert len(said.splitlines()) == 1 if said else len(network.nodes) > 0
    assert len(said) < 800


class Harm:
    """Unpickled, it would make a file."""

    def __init__(self, path):
        self.path = str(path)

    def __reduce__(self):
        return os.mkdir, (self.path,)


def test_pickles_that_would_run_code_are_refused(tmp_path):
    trap = tmp_path / "trap"
    torch.save({"weight": torch.zeros(1, 1, 3), "harm": Harm(trap)}, tmp_path / "new")
    torch.save({"harm": Harm(trap)}, tmp_path / "old", _use_new_zipfile_serialization=False)
    (tmp_path / "plain").write_bytes(pickle.dumps(Harm(trap), protocol=2))
    for name in ("new", "old", "plain"):
        with pytest.raises(FileError, match=r"checkpoint"):
            readers.read(tmp_path / name)
    assert not trap.exists()
    torch.load(tmp_path / "new", weights_only=False)  # the trap works where it is let
    assert trap.exists()


def repacked(source, target, change, compress=False):
    """A copy of an archive with members changed by a function of name and content; None leaves one out."""
    with (
        zipfile.ZipFile(source) as old,
        zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED if compress else zipfile.ZIP_STORED) as new,
    ):
        for name in old.namelist():
            content = change(name, old.read(name))
            if content is not None:
                new.writestr(name, content)
    return target


def test_programs_with_pickled_objects_are_read_without_them(files, tmp_path):
    trap = tmp_path / "trap"

    def harm(name, content):
        if name.endswith("model_weights_config.json"):
            config = json.loads(content)
            config["config"]["conv.weight"]["use_pickle"] = True
            return json.dumps(config)
        return pickle.dumps(Harm(trap)) if name.endswith("weights/weight_0") or "sample_inputs" in name else content

    network = readers.read(repacked(files / "program.pt2", tmp_path / "harm", harm))
    assert not trap.exists()
    assert network["conv"].kernel is None
    assert network["conv"].kernel_shape == (4, 2, 3, 3)
    assert any("pickled" in note for note in network.notes)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b'"as_int": 4}', b'"as_int": 40000000}'),
        (b'"storage_offset": {"as_int": 0}', b'"storage_offset": {"as_int": -8}'),
        (b'"strides": [{"as_int": 18}', b'"strides": [{"as_int": 1800}'),
        (b'"dtype": 7', b'"dtype": 99'),
    ],
)
def test_programs_that_lie_about_arrays_are_refused(files, tmp_path, old, new):
    def lie(name, content):
        if name.endswith("model_weights_config.json"):
            assert old in content
            return content.replace(old, new)
        return content

    with pytest.raises(FileError, match=r"whole torch.export file"):
        readers.read(repacked(files / "program.pt2", tmp_path / "lie", lie))


def test_scripts_that_would_touch_files_are_refused(tmp_path, files):
    def adds(line):
        return lambda name, content: content + line if name.endswith(".py") else content

    changes = {
        "while the file is loaded": b"\n  def __setstate__(self, s):\n    return None\n",
        "writes files": b'\n  ops.aten.save([1], "out")\n',
        "another library": b"\n  ops.evil.run()\n",
    }
    for said, line in changes.items():
        path = repacked(files / "script", tmp_path / "changed", adds(line))
        with pytest.raises(FileError, match=said):
            readers.read(path, X)


def test_archives_that_grow_are_refused(tmp_path, files):
    bomb = repacked(
        files / "checkpoint",
        tmp_path / "bomb",
        lambda n, c: bytes(1 << 28) if n.endswith("data/0") else c,
        compress=True,
    )
    assert bomb.stat().st_size < 1 << 20
    with pytest.raises(FileError, match="would unpack"):
        readers.read(bomb)


def test_archives_whose_members_leave_or_repeat_are_refused(tmp_path):
    for name, names in (("up", ["../data.pkl"]), ("root", ["/data.pkl"]), ("twice", ["a/data.pkl", "a/data.pkl"])):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with zipfile.ZipFile(tmp_path / name, "w") as archive:
                for member in names:
                    archive.writestr(member, b"x")
        with pytest.raises(FileError, match=r"leave its folder|one name"):
            readers.read(tmp_path / name)


def safe(header, body=b""):
    text = json.dumps(header).encode() if not isinstance(header, bytes) else header
    return struct.pack("<Q", len(text)) + text + body


@pytest.mark.parametrize(
    "content",
    [
        safe({"a": {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}}, b"1234"),
        safe({"a": {"dtype": "F32", "shape": [3], "data_offsets": [0, 8]}}, bytes(8)),
        safe({"a": {"dtype": "F32", "shape": [-2], "data_offsets": [0, 8]}}, bytes(8)),
        safe({"a": {"dtype": "F32", "shape": [2], "data_offsets": [4, 12]}}, bytes(12)),
        safe({n: {"dtype": "F32", "shape": [2], "data_offsets": [d, d + 8]} for n, d in (("a", 0), ("b", 4))}, bytes(12)),
        safe({"a": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}}, bytes(8)),
        safe({"a": {"dtype": "Q9", "shape": [1], "data_offsets": [0, 4]}}, bytes(4)),
        safe({"a": {"dtype": "F32", "shape": [2.0], "data_offsets": [0, 8]}}, bytes(8)),
        safe({"a": 3}),
        safe(b"{" + b", ".join([b'"a": {"dtype": "U8", "shape": [0], "data_offsets": [0, 0]}'] * 2) + b"}"),
        safe(b"{" + b"[" * 2000 + b"}"),
        struct.pack("<Q", 1 << 60) + b"{}",
    ],
)  # fmt: skip
def test_tensors_that_lie_are_refused(tmp_path, content):
    (tmp_path / "lie").write_bytes(content)
    with pytest.raises(FileError):
        readers.read(tmp_path / "lie")


def test_onnx_reads_no_file_outside_its_folder(tmp_path, files):
    import onnx

    model = onnx.load(files / "net.onnx")
    secret = tmp_path / "secret"
    secret.write_bytes(bytes(4096))
    for location in ("../secret", str(secret), "missing"):
        tensor = next(t for t in model.graph.initializer if t.name == model.graph.node[0].input[1])
        tensor.ClearField("raw_data")
        tensor.data_location = onnx.TensorProto.EXTERNAL
        del tensor.external_data[:]
        tensor.external_data.add(key="location", value=location)
        folder = tmp_path / "inner"
        folder.mkdir(exist_ok=True)
        (folder / "net").write_bytes(model.SerializeToString())
        with pytest.raises(FileError, match=r"outside its folder|more numbers than"):
            readers.read(folder / "net")
    # The same beside the file is read.
    tensor.external_data[0].value = "beside"
    (folder / "beside").write_bytes(bytes(4 * int(np.prod(tensor.dims))))
    (folder / "net").write_bytes(model.SerializeToString())
    assert not readers.read(folder / "net").convolutions[0].kernel.any()


def test_containers_in_circles_and_views_larger_than_their_memory(tmp_path):
    box: dict = {"w": torch.ones(1, 1, 3)}
    box["again"] = box
    torch.save(box, tmp_path / "circle")
    assert len(readers.read(tmp_path / "circle").nodes) == 1
    torch.save({"w": torch.zeros(1).expand(1 << 20, 1, 1 << 10)}, tmp_path / "wide")
    with pytest.raises(FileError, match="more than are there"):
        readers.read(tmp_path / "wide")


def test_other_files_are_named(tmp_path):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("word/document.xml", "x")
    for name, content in (
        ("empty", b""),
        ("text", b"hello world"),
        ("png", b"\x89PNG\r\n"),
        ("zip", buffer.getvalue()),
    ):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(FileError, match="safetensors or ONNX"):
            readers.read(tmp_path / name)
    for name in ("missing", "."):
        with pytest.raises(FileError, match="can be opened"):
            readers.read(tmp_path / name)
