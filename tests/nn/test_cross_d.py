"""Cross-D convolution and kernels that move."""

import itertools
import math

import pytest
import torch
from torch import nn

from faltung import nn as ours
from faltung.errors import ArgumentError
from faltung.nn.functional.motion import rotation_weights, turned
from faltung.tools import rotate_kernel, translate_kernel


def drawn(*shape, seed=0):
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def published(kernel, rotation):
    """The paper's code as a formula: a phase of (1, 1, 1)·R f on the whole spectrum, the real part of the result."""
    f = torch.stack(
        torch.meshgrid(*[torch.fft.fftfreq(n, dtype=torch.float64) for n in kernel.shape[-3:]], indexing="ij")
    )
    phase = torch.exp(-2j * math.pi * torch.einsum("ij,jabc->abc", rotation, f))
    return torch.fft.ifftn(torch.fft.fftn(kernel, dim=(-3, -2, -1)) * phase, dim=(-3, -2, -1)).real


def first_order(axis, angle):
    axis = torch.tensor(axis, dtype=torch.float64)
    return turned(axis / axis.norm(), torch.tensor(angle, dtype=torch.float64), first_order=True)


def test_the_published_motion_is_a_translation():
    """Reference test 15."""
    kernel = drawn(2, 3, 5, 5, 5)
    torch.testing.assert_close(
        published(kernel, first_order((0, 0, 1), 0.0)), kernel.roll((1, 1, 1), (-3, -2, -1)), rtol=1e-10, atol=1e-10
    )
    t = first_order((0, 0, 1), math.pi / 8).T @ torch.ones(3, dtype=torch.float64)
    torch.testing.assert_close(t, torch.tensor([1.392699, 0.607301, 1.0], dtype=torch.float64), rtol=0, atol=1e-6)
    for axis, angle in (((0, 0, 1), math.pi / 8), ((1, -2, 0.5), 0.6), ((0, 1, 0), -0.3)):
        rotation = first_order(axis, angle)
        t = rotation.T @ torch.ones(3, dtype=torch.float64)
        moved = translate_kernel(kernel, t)
        torch.testing.assert_close(moved, published(kernel, rotation), rtol=1e-10, atol=1e-10)
        torch.testing.assert_close(moved.sum((-3, -2, -1)), kernel.sum((-3, -2, -1)), rtol=1e-10, atol=1e-10)
        torch.testing.assert_close(moved.norm(), kernel.norm(), rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("size", [3, 4])
def test_a_layer_at_rest_as_published_rolls_its_kernel(size):
    """Reference test 15, in the layer."""
    made = ours.CrossDConv2d(3, 4, size, per_sample=False, rest="published", dtype=torch.float64)
    wanted = made.weight.roll((1, 1, 1), (-3, -2, -1))[:, :, size // 2]
    torch.testing.assert_close(made.effective_kernel(), wanted, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("size", [4, 5])
def test_whole_translations_roll(size):
    kernel = drawn(2, size, size + 1, 3)
    shifts = torch.tensor([[1.0, -2.0, 0.0], [3.0, 1.0, 5.0]], dtype=torch.float64)
    moved = translate_kernel(kernel, shifts)
    for one, shift in zip(moved, shifts.long().tolist(), strict=True):
        torch.testing.assert_close(one, kernel.roll(shift, (-3, -2, -1)), rtol=1e-10, atol=1e-10)
    torch.testing.assert_close(translate_kernel(kernel[0, 0, 0], shifts[0, :1]), kernel[0, 0, 0].roll(1))
    back = translate_kernel(
        translate_kernel(drawn(5, 5), torch.tensor([0.3, -1.7]).double()), -torch.tensor([0.3, -1.7]).double()
    )
    torch.testing.assert_close(back, drawn(5, 5), rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("size", [3, 4, 5])
def test_quarter_turns_permute_voxels(size):
    kernel = drawn(2, size, size, size)
    for a, b in itertools.permutations(range(3), 2):
        rotation = torch.eye(3, dtype=torch.float64)
        rotation[[a, b]] = rotation[[b, a]] * torch.tensor([[1.0], [-1.0]], dtype=torch.float64)
        wanted = torch.rot90(kernel, 1, (1 + b, 1 + a))
        torch.testing.assert_close(rotate_kernel(kernel, rotation), wanted, rtol=0, atol=0)
        angle = torch.full((), math.pi / 2, dtype=torch.float64)
        axis = torch.linalg.cross(torch.eye(3)[b], torch.eye(3)[a]).double()
        torch.testing.assert_close(rotate_kernel(kernel, turned(axis, angle)), wanted, rtol=1e-10, atol=1e-10)
    plane = drawn(3, size, size)
    every = torch.stack([turned(axis, angle * n / 3) for n in range(4)])
    one = torch.stack([rotate_kernel(kernel, rotation) for rotation in every])
    torch.testing.assert_close(rotate_kernel(kernel, every), one, rtol=0, atol=1e-12)
    dense = (kernel.flatten(1) @ rotation_weights((size,) * 3, every).mT).reshape(one.shape)
    torch.testing.assert_close(dense, one, rtol=0, atol=1e-12)
    quarter = torch.tensor([[[0.0, -1.0], [1.0, 0.0]]], dtype=torch.float64)
    torch.testing.assert_close(rotate_kernel(plane, quarter)[0], torch.rot90(plane, 1, (1, 2)), rtol=0, atol=0)


def test_rotations_of_smooth_kernels_are_close_to_the_truth():
    """A Gaussian with three widths, turned by half a radian, within what linear interpolation leaves."""
    at = torch.arange(21, dtype=torch.float64) - 10
    grid = torch.stack(torch.meshgrid(at, at, at, indexing="ij"), -1)
    widths = torch.tensor([3.0, 4.0, 2.5], dtype=torch.float64)
    rotation = turned(torch.tensor([0.6, 0.0, 0.8], dtype=torch.float64), torch.tensor(0.5, dtype=torch.float64))
    smooth = lambda p: torch.exp(-0.5 * (p / widths).square().sum(-1))  # noqa: E731
    error = (rotate_kernel(smooth(grid), rotation) - smooth(grid @ rotation)).abs().max()
    assert error < 0.04
    assert (smooth(grid) - smooth(grid @ rotation)).abs().max() > 0.1


@pytest.mark.parametrize("motion", ["translate", "rotate", "both"])
@pytest.mark.parametrize("per_sample", [True, False])
@pytest.mark.parametrize("size", [3, 4, 5])
def test_no_motion_is_the_plain_layer_with_the_middle_slice(motion, per_sample, size):
    made = ours.CrossDConv2d(3, 4, size, stride=2, motion=motion, per_sample=per_sample, dtype=torch.float64).eval()
    if per_sample:
        with torch.no_grad():  # any axis, and no angle
            made.predictor[3].weight[3] = 0
            made.predictor[3].bias[3] = 0
    plain = nn.Conv2d(3, 4, size, stride=2).double()
    plain.load_state_dict({"weight": made.weight[:, :, size // 2], "bias": made.bias})
    x = drawn(2, 3, 9, 8)
    torch.testing.assert_close(made(x), plain(x), rtol=1e-10, atol=1e-10)
    torch.testing.assert_close(made.slice(0, 0), plain.weight, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("motion", ["translate", "rotate", "both"])
def test_each_sample_meets_the_kernel_that_its_vector_moves(motion):
    made = ours.CrossDConv2d(3, 4, 3, padding=1, motion=motion, dtype=torch.float64).eval()
    x = drawn(4, 3, 8, 8) * torch.tensor([1.0, 3.0, 9.0, 0.1]).reshape(-1, 1, 1, 1)
    vectors = made.vectors(x)
    assert vectors.std(0).min() > 0.01
    axis, angle = made.axis_angle(vectors)
    for n in range(4):
        moved = made.weight
        if motion != "translate":
            moved = rotate_kernel(moved, turned(axis[n], angle[n]))
        if motion != "rotate":
            moved = translate_kernel(moved, turned(axis[n], angle[n], first_order=True).sum(-2) - 1)
        plain = nn.functional.conv2d(x[n : n + 1], moved[:, :, 1], made.bias, padding=1)
        torch.testing.assert_close(made(x)[n : n + 1], plain, rtol=1e-10, atol=1e-10)
        torch.testing.assert_close(made(x[n : n + 1]), plain, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("function", [translate_kernel, rotate_kernel])
def test_motion_is_differentiable(function):
    kernel = drawn(2, 3, 4, 3).requires_grad_()
    if function is translate_kernel:
        given = drawn(2, 3, seed=1).requires_grad_()
        assert torch.autograd.gradcheck(function, (kernel, given))
        assert torch.autograd.gradcheck(function, (kernel, given[0].detach().requires_grad_()))
    else:
        axis, angle = nn.functional.normalize(drawn(2, 3, seed=1)), drawn(2, seed=2).requires_grad_()
        assert torch.autograd.gradcheck(lambda k, a: function(k, turned(axis, a)), (kernel, angle))


@pytest.mark.parametrize("padding_mode", ["circular", "symmetric"])
def test_a_volume_that_is_constant_along_depth(padding_mode):
    """The 3-D layer then sees the kernel summed over depth."""
    made = ours.CrossDConv2d(2, 4, 3, padding=1, groups=2, padding_mode=padding_mode, dtype=torch.float64)
    deep, x = made.to_conv3d(), drawn(2, 2, 6, 7)
    flat = ours.Conv2d(2, 4, 3, padding=1, groups=2, padding_mode=padding_mode, dtype=torch.float64)
    flat.load_state_dict({"weight": made.weight.sum(2), "bias": made.bias})
    wanted = flat(x)[:, :, None].expand(-1, -1, 5, -1, -1)
    torch.testing.assert_close(deep(x[:, :, None].expand(-1, -1, 5, -1, -1)), wanted, rtol=1e-10, atol=1e-10)
    assert type(deep) is (nn.Conv3d if padding_mode == "circular" else ours.Conv)


def test_slices():
    made = ours.CrossDConv2d(2, 3, 5, dtype=torch.float64)
    for axis, offset in itertools.product(range(3), (-2, 0, 1)):
        torch.testing.assert_close(
            made.slice(axis, offset), made.weight.select(2 + axis, 2 + offset), rtol=1e-10, atol=1e-10
        )
    shift = torch.tensor([-0.4, 0.0, 0.0], dtype=torch.float64)
    between = translate_kernel(made.weight, shift)[:, :, 2]
    torch.testing.assert_close(made.slice(0, 0.4), between, rtol=1e-10, atol=1e-10)


def test_wrong_calls():
    with pytest.raises(ArgumentError, match="motion"):
        ours.CrossDConv2d(1, 1, 3, motion="turn")
    with pytest.raises(ArgumentError, match="rest"):
        ours.CrossDConv2d(1, 1, 3, rest="nowhere")
    with pytest.raises(ArgumentError, match="kernel_size"):
        ours.CrossDConv2d(1, 1, (3, 3))
    with pytest.raises(ArgumentError, match="one motion for all samples"):
        ours.CrossDConv2d(1, 1, 3).freeze()
    with pytest.raises(ArgumentError, match="axis 0, 1 or 2"):
        ours.CrossDConv2d(1, 1, 3).slice(3)
    with pytest.raises(ArgumentError, match="shift"):
        translate_kernel(torch.zeros(3, 3), torch.zeros(3))
    with pytest.raises(ArgumentError, match="rotation"):
        rotate_kernel(torch.zeros(3, 3), torch.zeros(2, 3))
