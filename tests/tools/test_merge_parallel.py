"""Any sum, mean or concatenation of parallel convolutions becomes one convolution, or the tool says what stands in the way."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from faltung.errors import ArgumentError, DtypeError
from faltung.nn import Conv, ConvTranspose, DilatedReparam, LargeKernelBlock
from faltung.tools import merge_parallel

KINDS = {1: nn.Conv1d, 2: nn.Conv2d, 3: nn.Conv3d, 4: lambda *a, **o: Conv(4, *a, **o)}
NORMS = {1: nn.BatchNorm1d, 2: nn.BatchNorm2d, 3: nn.BatchNorm3d}


def settled(module, ndim, channels=4):
    """In float64, with statistics of its own, in evaluation mode."""
    module.double().train()
    with torch.no_grad():
        for value in module.parameters():
            value.normal_()
        for _ in range(2):
            module(torch.randn(3, channels, *[5] * ndim, dtype=torch.float64) + 1)
    return module.eval()


class Sum(nn.Module):
    def __init__(self, branches, reduce):
        super().__init__()
        self.branches, self.reduce = nn.ModuleList(branches), reduce

    def forward(self, x):
        results = [branch(x) for branch in self.branches]
        if self.reduce == "mean":
            return torch.stack(results).mean(0)
        return torch.cat(results, dim=1) if self.reduce == "cat" else sum(results)


@st.composite
def sums(draw):
    """Branches of one stride with margins that fit, some behind norms, some shortcuts."""
    whole = lambda low, high: draw(st.integers(low, high))  # noqa: E731 - a word for each draw
    ndim, stride, crop = whole(1, 3), whole(1, 2), whole(0, 1)
    mode = draw(st.sampled_from(["zeros", "circular", "reflect"]))
    branches = []
    for _ in range(whole(1, 4)):
        taps, rate = draw(st.sampled_from([1, 3, 5] if ndim < 3 else [1, 3])), whole(1, 2)
        pad = rate * (taps // 2) - crop
        if pad < 0:
            taps, rate, pad = 3, 1, 1 - crop
        options = {"padding": pad, "dilation": rate, "stride": stride, "groups": draw(st.sampled_from([1, 2, 4]))}
        made = KINDS[ndim](4, 4, taps, bias=draw(st.booleans()), padding_mode=mode, **options)
        branches.append(nn.Sequential(made, NORMS[ndim](4)) if draw(st.booleans()) else made)
    if stride == 1 and not crop and draw(st.booleans()):
        branches.append(draw(st.sampled_from([nn.Identity(), NORMS[ndim](4)])))
    return ndim, Sum(branches, draw(st.sampled_from(["sum", "mean", "cat"])))


@settings(max_examples=60, deadline=None, derandomize=True, database=None)
@given(sums())
def test_the_one_convolution_equals_the_branches(drawn):
    ndim, module = drawn
    settled(module, ndim)
    x = torch.randn(2, 4, *[7] * ndim, dtype=torch.float64)
    want = module(x)
    for made in (merge_parallel(module), merge_parallel(list(module.branches), module.reduce)):
        assert type(made) is KINDS[ndim]
        torch.testing.assert_close(made(x), want, rtol=0, atol=1e-10)
        again = KINDS[ndim](4, made.out_channels, made.kernel_size, bias=made.bias is not None, groups=made.groups)
        again.load_state_dict(made.state_dict())


class Written(nn.Module):
    """Sums as people write them."""

    def __init__(self):
        super().__init__()
        self.wide, self.small, self.point = (
            nn.Conv2d(4, 4, 5, padding=2),
            nn.Conv2d(4, 4, 3, padding=1),
            nn.Conv2d(4, 4, 1),
        )
        self.norm, self.drop = nn.BatchNorm2d(4), nn.Dropout(0.5)
        self.scale, self.share = nn.Parameter(torch.ones(4, 1, 1)), nn.Parameter(torch.ones(()))

    def forward(self, x):
        y = self.norm(self.wide(x)) * self.scale - 0.5 * self.small(x) / 2
        y += self.point(self.small(x)).mul(self.share)
        return self.drop(-y + x.add(self.norm(x), alpha=3)) + 1


def test_sums_as_people_write_them():
    module = settled(Written(), 2)
    x = torch.randn(2, 4, 8, 6, dtype=torch.float64)
    made = merge_parallel(module)
    assert made.kernel_size == (5, 5)
    torch.testing.assert_close(made(x), module(x), rtol=0, atol=1e-10)
    with pytest.raises(ArgumentError, match="training mode"):
        merge_parallel(module.train())


def test_our_layers_take_part_in_four_dimensions_too():
    branches = nn.ModuleList([Conv(4, 2, 2, 3, padding=1), DilatedReparam(4, 2, 3, ((1, 1),)).eval()])
    made = merge_parallel(branches, "mean")
    x = torch.randn(1, 2, 3, 3, 3, 3)
    assert isinstance(made, Conv)
    torch.testing.assert_close(made(x), (branches[0](x) + branches[1](x)) / 2, rtol=1e-4, atol=1e-5)


def test_branches_of_one_dilation_keep_it():
    branches = [
        nn.Conv1d(1, 1, 3, padding=2, dilation=2),
        nn.Conv1d(1, 1, 5, padding=4, dilation=2),
        nn.Conv1d(1, 1, 1),
    ]
    made = merge_parallel(branches)
    assert (made.kernel_size, made.dilation, made.padding) == ((5,), (2,), (4,))


def test_the_module_is_left_as_it_is():
    branch = nn.Conv1d(2, 2, 3, padding=1)
    made = merge_parallel(branch)
    assert made is not branch
    assert made.weight.data_ptr() != branch.weight.data_ptr()
    assert torch.equal(made.weight, branch.weight)


class Product(nn.Module):
    def __init__(self):
        super().__init__()
        self.a, self.b = nn.Conv1d(2, 2, 1), nn.Conv1d(2, 2, 1)

    def forward(self, x):
        return self.a(x) * self.b(x)


class Bent(Product):
    def forward(self, x):
        return self.a(x).relu() + self.b(x)


class Choosy(Product):
    def forward(self, x):
        return self.a(x) if x.sum() > 0 else self.b(x)


@pytest.mark.parametrize(
    ("module", "reduce", "word"),
    [
        ([nn.Conv1d(2, 2, 3, padding=1), nn.Conv1d(2, 2, 1, stride=2)], "sum", "same strides"),
        ([nn.Conv1d(2, 2, 3, padding=1), nn.Conv1d(2, 2, 3)], "sum", "results of one size"),
        (
            [nn.Conv1d(2, 2, 3, padding=1), nn.Conv1d(2, 2, 3, padding=1, padding_mode="circular")],
            "sum",
            "padding modes",
        ),
        ([nn.Conv1d(2, 2, 1), nn.Conv1d(2, 3, 1)], "sum", "as many outputs"),
        ([nn.Conv1d(2, 2, 1)], "product", "sum, mean or cat"),
        ([], "sum", "at least one branch"),
        ([nn.Identity()], "sum", "at least one convolution"),
        (nn.Sequential(nn.Conv1d(2, 2, 3), nn.Conv1d(2, 2, 3)), "sum", "merge each stage by itself"),
        (nn.Sequential(nn.Conv1d(2, 2, 1), nn.Dropout()), "sum", "dropout in evaluation mode"),
        (nn.Sequential(nn.Conv1d(2, 2, 1), nn.BatchNorm1d(2)), "sum", "statistics are final"),
        (Product(), "sum", "product of two results"),
        (Bent(), "sum", r"relu\(\)"),
        (Choosy(), "sum", "torch.fx can trace"),
    ],
)
def test_what_is_no_single_convolution_is_refused(module, reduce, word):
    with pytest.raises(ArgumentError, match=word):
        merge_parallel(module, reduce)


@pytest.mark.parametrize("module", [3, [nn.Conv1d(2, 2, 1), "x"], ConvTranspose(1, 2, 2, 3), LargeKernelBlock(1, 4, 3)])
def test_what_is_no_convolution_is_refused(module):
    with pytest.raises((DtypeError, ArgumentError)):
        merge_parallel(module)
