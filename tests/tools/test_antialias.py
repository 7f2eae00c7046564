"""Networks rewritten to keep shifts: all decisions, exactly where that is promised, weights kept, U-Nets, what is refused."""

import copy

import pytest
import torch
from torch import nn

import faltung
from faltung import certify
from faltung.certify.actions import Shift
from faltung.errors import ArgumentError, DtypeError
from faltung.nn import BlurPool2d, PolyphaseDownsample2d
from faltung.tools import antialias


class Block(nn.Module):
    """A residual block whose two branches sample, with a function in between."""

    def __init__(self, before, after, stride):
        super().__init__()
        self.conv1 = nn.Conv2d(before, after, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(after)
        self.conv2 = nn.Conv2d(after, after, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(after)
        self.short = nn.Sequential(nn.Conv2d(before, after, 1, stride, bias=False), nn.BatchNorm2d(after))

    def forward(self, x):
        y = torch.relu(self.bn1(self.conv1(x)))
        return torch.relu(self.bn2(self.conv2(y)) + self.short(x))


class Residual(nn.Module):
    """A stem, a pool as a function, two blocks, a head."""

    def __init__(self):
        super().__init__()
        self.stem = nn.Conv2d(1, 6, 5, 2, 2)
        self.first, self.second = Block(6, 8, 1), Block(8, 12, 2)
        self.head = nn.Linear(12, 4)

    def forward(self, x):
        x = nn.functional.max_pool2d(torch.relu(self.stem(x)), 3, 2, padding=1)
        return self.head(self.second(self.first(x)).mean((2, 3)))


class UNet(nn.Module):
    """Down twice, up twice, by every kind of step."""

    def __init__(self):
        super().__init__()
        self.wide = nn.Conv2d(1, 4, 3, 1, 1)
        self.down1, self.down2 = nn.Conv2d(4, 8, 3, 2, 1), nn.MaxPool2d(2)
        self.deep = nn.Conv2d(8, 8, 3, 1, 1)
        self.up2, self.up1 = nn.Upsample(scale_factor=2), nn.ConvTranspose2d(16, 4, 4, 2, 1)
        self.last = nn.Conv2d(8, 2, 3, 1, 1)

    def forward(self, x):
        a = torch.relu(self.wide(x))
        b = torch.relu(self.down1(a))
        c = torch.cat([self.up2(self.deep(self.down2(b))), b], 1)
        return self.last(torch.cat([self.up1(c), a], 1))


class Patches(nn.Module):
    """A patch embedding, attention of all to all without positions, and a mean."""

    def __init__(self):
        super().__init__()
        self.embed = nn.Conv2d(1, 8, 4, stride=4)
        self.attend = nn.MultiheadAttention(8, 2, batch_first=True)
        self.head = nn.Linear(8, 3)

    def forward(self, x):
        tokens = self.embed(x).flatten(2).transpose(1, 2)
        return self.head((tokens + self.attend(tokens, tokens, tokens, need_weights=False)[0]).mean(1))


def stirred(model, dtype=torch.float64):
    torch.manual_seed(0)
    model = model.to(dtype)
    for p in model.parameters():
        nn.init.normal_(p, 0, 0.5)
    return model.eval()


def images(*shape, dtype=torch.float64):
    return torch.randn(*shape, dtype=dtype, generator=torch.Generator().manual_seed(3))


def steps(model, x, count=3):
    """A few steps of training."""
    optimizer = torch.optim.Adam(model.parameters(), 1e-2)
    model.train()
    for _ in range(count):
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(x), torch.arange(len(x)) % 3).backward()
        optimizer.step()
    return model.eval()


@pytest.mark.parametrize(
    ("how", "side"), [("polyphase", 8), *(pytest.param(w, 16, marks=pytest.mark.slow) for w in ("polyphase", "anchor"))]
)
def test_all_decisions_are_kept_also_after_training(how, side):
    model, x = stirred(Residual(), torch.float32), images(12, 1, side, side, dtype=torch.float32)
    wanted = model(x)
    result = antialias(model, x, how)
    assert torch.equal(model(x), wanted), "the model is left as it is"
    assert result.before.error > 0.1
    assert result.after.error < 1e-5
    every = certify.equivariance(steps(result.model, x, 12), Shift(), x, count=256, layers=None)
    assert len(result.model(x).argmax(1).unique()) > 1
    assert every.exhaustive
    assert every.consistency == 1
    assert every.steady == 1
    assert every.error < 1e-5
    plain = certify.equivariance(steps(model, x, 12), Shift(), x, count=256, layers=None)
    assert plain.consistency < 0.9, "what the rewriting is for"


def test_fractions_of_a_sample_also_after_training():
    model, x = stirred(Residual()), images(4, 1, 16, 16)
    result = antialias(model, x, "alias-free")
    assert result.before.error > 1e-2
    assert result.after.error < 1e-9
    trained = certify.equivariance(steps(result.model, x), "fractional shift", x, layers=None)
    assert trained.error < 1e-6
    assert trained.error < 1e-9, "float64"
    assert any("mean" in note for note in result.notes)


def test_the_blur_loses_less_and_keeps_shapes():
    model, x = stirred(Residual()), images(8, 1, 17, 15)
    result = antialias(model, x)
    assert result.after.mean < 0.8 * result.before.mean
    names = {row.name: row.after for row in result.rows}
    assert set(names.values()) == {"blur"}
    assert len(names) == 4
    down = antialias(
        nn.Sequential(nn.Conv2d(1, 2, 3, 2, 1), nn.BatchNorm2d(2), nn.ReLU()), images(2, 1, 9, 9, dtype=torch.float32)
    )
    kinds = [type(down.model.get_submodule(str(n.target))) for n in down.model.graph.nodes if n.op == "call_module"]
    assert kinds[-1] is type(BlurPool2d()), "behind the activation"


@pytest.mark.parametrize("how", ["blur", "polyphase", "anchor", "alias-free"])
@pytest.mark.parametrize(
    "layer",
    [
        nn.Conv2d(2, 3, 3, 2, 1), nn.Conv2d(2, 3, 4, 2, 1), nn.Conv2d(2, 2, 7, 2, 3, groups=2), nn.Conv2d(2, 3, 2, 2),
        nn.Conv2d(2, 3, 3, 2, 2, dilation=2), nn.MaxPool2d(2), nn.MaxPool2d(3, 2, 1), nn.AvgPool2d(2), nn.AvgPool2d(3, 2, 1),
    ],
    ids=lambda layer: " ".join(repr(layer).split())[:40],
)  # fmt: skip
def test_shapes_and_names_stay(layer, how):
    model = nn.Sequential(copy.deepcopy(layer), nn.ReLU()).double()
    x = images(3, 2, 12, 8)
    result = antialias(model, x, how)
    assert result.model(x).shape == model(x).shape
    old, new = model.state_dict(), result.model.state_dict()
    assert all(torch.equal(new[name], value) for name, value in old.items())
    group = "fractional shift" if how == "alias-free" else "shift up to a roll"
    if how != "blur":
        assert certify.equivariance(result.model, group, x).error < 1e-12
        assert certify.equivariance(model, group, x).error > 1e-3


def test_inside_the_image_a_dense_layer_sampled_on_the_first_grid_is_the_old_one():
    model, x = nn.Sequential(nn.Conv2d(1, 2, 3, 2, 1)).double(), images(1, 1, 12, 12)
    made = antialias(model, x, "polyphase").model
    dense = made.get_submodule("0")(x)
    torch.testing.assert_close(dense[..., 2:-2:2, 2:-2:2], model(x)[..., 1:-1, 1:-1])


def test_u_nets_move_with_their_input():
    model, x = stirred(UNet()), images(3, 1, 16, 16)
    for how in ("polyphase", "anchor"):
        result = antialias(model, x, how)
        assert result.before.error > 1e-2
        assert result.after.error < 1e-12
        assert sum("on the grid of" in row.after for row in result.rows) == 2


def test_patch_embeddings_with_anchors():
    model, x = stirred(Patches()), images(6, 1, 16, 16)
    result = antialias(model, x, {"embed": "anchor"})
    assert result.before.error > 1e-2
    assert result.after.error < 1e-10
    assert len(result.rows) == 1


def test_branches_that_meet_share_a_grid():
    x = images(4, 1, 8, 8)
    model = stirred(Block(1, 3, 2))
    made = antialias(model, x, "polyphase").model
    assert certify.equivariance(made, "shift up to a roll", x).error < 1e-12
    apart = copy.deepcopy(made)
    for node in apart.graph.nodes:
        if node.op == "call_module" and isinstance(
            apart.get_submodule(str(node.target)), type(PolyphaseDownsample2d())
        ):
            node.args = node.args[:1]
    apart.recompile()
    assert certify.equivariance(apart, "shift up to a roll", images(32, 1, 8, 8), count=63).error > 1e-2


def test_layers_are_chosen_by_name_and_modes_stay():
    model = Residual().train()
    model.first.bn1.eval()
    result = antialias(model, images(4, 1, 16, 16, dtype=torch.float32), {"stem": None, "second.*": "blur"})
    assert {row.name for row in result.rows} == {"second.conv1", "second.short.0"}
    assert result.model.training
    assert not result.model.get_submodule("first.bn1").training
    assert result.model.get_submodule("first.bn2").training
    assert "→ blur" in str(result)


def test_it_is_at_the_door():
    assert faltung.antialias is antialias


def test_what_cannot_be_is_refused():
    class Deciding(nn.Module):
        def forward(self, x):
            return x if x.sum() > 0 else -x

    x = images(2, 1, 9, 9, dtype=torch.float32)
    net = nn.Sequential(nn.Conv2d(1, 1, 3, 2, 1))
    with pytest.raises(ArgumentError, match="traces"):
        antialias(Deciding(), x)
    with pytest.raises(ArgumentError, match="sample"):
        antialias(nn.Sequential(nn.ReLU()), x)
    with pytest.raises(ArgumentError, match="ways"):
        antialias(net, x, "sharpen")
    with pytest.raises(ArgumentError, match="divides"):
        antialias(net, x, "alias-free")
    with pytest.raises(ArgumentError, match="one window"):
        antialias(nn.Sequential(nn.MaxPool2d((2, 3))), x, "polyphase")
    with pytest.raises(DtypeError):
        antialias(torch.relu, x)
    assert "not exact" in str(antialias(net, x, "polyphase"))
