"""Matrix groups and convolution over them: coordinates, measures, estimators, and what equivariance is left after sampling."""

import copy
import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from faltung import certify, nn
from faltung.certify.actions import AffineMap
from faltung.errors import ArgumentError
from faltung.nn.lie import SL, SO, Affine, GLPlus, GroupSamples, lie_network

DOUBLE = torch.float64
GROUPS = [GLPlus(1), GLPlus(2), SL(2), SO(2), GLPlus(3, 2.0), SL(3), SO(3), SL(4)]


def seeded(seed):
    return torch.Generator().manual_seed(seed)


def turn(angle):
    c, s = math.cos(angle), math.sin(angle)
    return torch.tensor([[c, -s], [s, c]], dtype=DOUBLE)


# Coordinates


def test_published_coordinates():
    group = GLPlus(2)
    stretch, skew = group.parts(group.log(torch.diag(torch.tensor([2.0, 0.5], dtype=DOUBLE))))
    assert torch.allclose(stretch, torch.diag(torch.tensor([math.log(2), -math.log(2)], dtype=DOUBLE)), atol=1e-14)
    assert torch.allclose(skew, torch.zeros(2, 2, dtype=DOUBLE), atol=1e-14)
    found = group.log(2 * turn(math.pi / 3))
    assert torch.allclose(group.parts(found)[0], math.log(2) * torch.eye(2, dtype=DOUBLE), atol=1e-14)
    assert found[-1].item() == pytest.approx(math.pi / 3, abs=1e-14)


@pytest.mark.parametrize("group", GROUPS, ids=repr)
@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 2**31), size=st.sampled_from([0.0, 1e-9, 1e-4, 0.3, 1.0]))
def test_coordinates_and_elements_are_inverse(group, seed, size):
    """Also where eigenvalues meet (size 0 and nearly 0)."""
    stretch = size * torch.randn(len(group.symmetric), dtype=DOUBLE, generator=seeded(seed))
    angles = torch.randn(len(group.skew), dtype=DOUBLE, generator=seeded(seed + 1))
    angles = angles * (2.5 / max(1e-9, math.sqrt(angles.square().sum()) * 2))  # all eigenangles below half a circle
    coordinates = torch.cat([stretch, angles])
    g = group.exp(coordinates)
    assert torch.linalg.det(g) > 0
    if group.volume_preserving:
        assert torch.linalg.det(g).item() == pytest.approx(1, rel=1e-10)
    assert torch.allclose(group.log(g), coordinates, atol=1e-10)
    assert torch.allclose(group.exp(group.log(g)), g, rtol=0, atol=1e-10 * g.abs().max().item())
    s, r = group.polar(g)
    unit = torch.eye(group.n, dtype=DOUBLE)
    assert torch.allclose(s @ r, g, atol=1e-10)
    assert torch.allclose(r @ r.T, unit, atol=1e-10)
    assert torch.linalg.eigvalsh(s).min() > 0


def test_elements_that_are_the_exponential_of_nothing_have_coordinates():
    """diag(−2, −½) has no real logarithm; halves of a turn have one angle whichever way they are rounded."""
    group = SL(2)
    for g in (torch.diag(torch.tensor([-2.0, -0.5], dtype=DOUBLE)), turn(math.pi), turn(-math.pi)):
        found = group.log(g)
        assert torch.allclose(group.exp(found), g, atol=1e-12)
        assert found[-1].item() == pytest.approx(math.pi)


@pytest.mark.parametrize("group", [GLPlus(2), SL(3)], ids=repr)
@pytest.mark.parametrize("size", [0.0, 1e-7, 0.5])
def test_derivatives_are_finite_and_right_where_eigenvalues_meet(group, size):
    coordinates = size * torch.randn(group.dim, dtype=DOUBLE, generator=seeded(0))
    coordinates[-1] = 0.4
    coordinates.requires_grad_()
    assert torch.autograd.gradcheck(group.exp, (coordinates,))
    g = group.exp(coordinates).detach().requires_grad_()
    assert torch.autograd.gradcheck(group.log, (g,))
    (slope,) = torch.autograd.grad(group.log(g).sum(), g)
    assert slope.isfinite().all()


def test_the_affine_group_multiplies_as_matrices_and_sees_relative_places():
    group = Affine(GLPlus(2))
    g, other = group.sample(6, 0.2, generator=seeded(0)).unflatten(0, (2, 3))
    assert torch.allclose(group.exp(group.log(g)), g, atol=1e-12)
    relative = group.log(torch.linalg.inv(g) @ other)
    x, h = g[:, :2, 2], g[:, :2, :2]
    y, k = other[:, :2, 2], other[:, :2, :2]
    assert torch.allclose(relative[:, :2], (torch.linalg.inv(h) @ (y - x)[..., None])[..., 0], atol=1e-12)
    assert torch.allclose(relative[:, 2:], group.linear.log(torch.linalg.inv(h) @ k), atol=1e-12)
    place, s, r = group.polar(g)
    assert torch.allclose(s @ r, h, atol=1e-12)
    assert torch.equal(place, x)


# Measures and samples


def lattice(*axes):
    """Places of a product grid (N, axes) and the volume of a cell."""
    points = torch.cartesian_prod(*axes).reshape(-1, len(axes))
    return points, math.prod(float(a[1] - a[0]) for a in axes)


def line(reach, count):
    return torch.linspace(-reach, reach, count, dtype=DOUBLE)


CIRCLE = torch.arange(12, dtype=DOUBLE) * (2 * math.pi / 12) - math.pi + 0.01


@pytest.mark.parametrize("group", [SL(2), GLPlus(1)], ids=repr)
def test_the_haar_density_is_left_invariant(group):
    """∫ φ(h⁻¹g) dμ(g) is that of φ, by a lattice in the coordinates; without the density it is not."""
    axes = [line(3.5, 57)] * len(group.symmetric) + [CIRCLE] * len(group.skew)
    points, cell = lattice(*axes)
    inverse = torch.linalg.inv(group.sample(3, 0.2, "random", seeded(1)))

    def phi(g):
        coordinates = group.log(g)
        many = len(group.symmetric)
        bump = torch.exp(-3 * coordinates[..., :many].square().sum(-1))
        return bump * (1.5 + coordinates[..., many:].cos().prod(-1))

    elements = group.exp(points)
    density = group.haar_density(points)
    here = (phi(elements) * density).sum() * cell
    plain = phi(elements).sum() * cell
    for h in inverse:
        moved = phi(h @ elements)
        assert (moved * density).sum() * cell == pytest.approx(here.item(), rel=2e-3)
        if group.n > 1:
            assert abs((moved.sum() * cell - plain) / plain) > 1e-2


def test_the_haar_density_of_rotations_of_space_is_that_of_uniform_draws():
    """The mean of cos(angle) over uniform rotations is −1/2 ... by the density (sin s / s)² of the angle, as by draws."""
    group = SO(3)
    angles = torch.linspace(1e-6, math.pi, 4001, dtype=DOUBLE)
    coordinates = torch.zeros(4001, 3, dtype=DOUBLE)
    coordinates[:, 0] = angles
    density = group.haar_density(coordinates) * angles**2
    mean = ((density * angles.cos()).sum() / density.sum()).item()
    draws = group.sample(20000, generator=seeded(0))
    traces = (torch.diagonal(draws, dim1=1, dim2=2).sum(1) - 1) / 2
    assert mean == pytest.approx(-0.5, abs=1e-3)
    assert traces.mean().item() == pytest.approx(mean, abs=0.015)


def test_the_affine_density_is_left_invariant():
    group = Affine(GLPlus(1))
    points, _ = lattice(line(14, 281), line(3, 121))
    g = group.exp(points)
    h = torch.linalg.inv(group.exp(torch.tensor([0.7, 0.4], dtype=DOUBLE)))

    def phi(coordinates):
        return torch.exp(-2 * coordinates.square().sum(-1))

    density = group.haar_density(points)
    here, there = (phi(c) * density for c in (points, group.log(h @ g)))
    assert there.sum().item() == pytest.approx(here.sum().item(), rel=1e-3)
    assert phi(group.log(h @ g)).sum().item() != pytest.approx(phi(points).sum().item(), rel=1e-1)


def test_rotations_are_equidistant_and_none_comes_twice():
    angles = SO(2).log(SO(2).sample(10))[:, 0] % (2 * math.pi)
    gaps = torch.diff(angles.sort().values)
    assert torch.allclose(gaps, torch.full((9,), 2 * math.pi / 10, dtype=DOUBLE), atol=1e-12)


@pytest.mark.parametrize(
    ("group", "weights"),
    [
        pytest.param(SL(2), "mean", marks=pytest.mark.slow),
        (SL(2), "haar"),
        pytest.param(GLPlus(1), "haar", marks=pytest.mark.slow),
    ],
)
def test_the_sum_over_samples_estimates_the_integral(group, weights):
    """Unbiased against a lattice, and its deviation falls as 1/√S: what a 1×1 layer computes for one g."""
    torch.manual_seed(0)
    layer = nn.LieGroupConv(
        group.n, 1, 1, 1, GroupSamples(group, 4, weights=weights), omega=2.0, bias=False, dtype=DOUBLE
    )
    own = torch.linalg.inv(group.sample(1, 0.1, "random", seeded(5)))
    many = len(group.symmetric)

    def integrand(g):  # k(0, ξ⁻¹(g₀⁻¹g))·f(g)·|det g|⁻¹
        seen = torch.cat([torch.zeros(len(g), group.n, dtype=DOUBLE), group.log(own @ g)], -1)
        # A smooth f of the element itself: coordinates' angle enters by its cosine.
        coordinates = group.log(g)
        f = torch.exp(-6 * coordinates[:, :many].square().sum(-1)) * (1 + coordinates[:, many:].cos().sum(-1))
        with torch.no_grad():
            k = layer.kernel_net(seen.T[None])[0, 0]
        return (1 + k) * f / torch.linalg.det(g)

    axes = [line(2.4, 49)] * many + [torch.arange(60, dtype=DOUBLE) * (2 * math.pi / 60) - math.pi + 0.01] * len(
        group.skew
    )
    points, cell = lattice(*axes)
    density = group.haar_stretch(points) if weights == "haar" else group.density(points)
    share = cell / (2 * math.pi) ** len(group.skew)
    wanted = sum(
        (integrand(group.exp(p)) * d).sum() for p, d in zip(points.split(50000), density.split(50000), strict=True)
    )
    wanted = wanted.item() * share

    deviations = []
    for count, rotations in ((6, "random"), (6, "turned"), (96, "random")):
        samples = GroupSamples(group, count, rotations=rotations, weights=weights, dtype=DOUBLE)
        sums = []
        for seed in range(300):
            samples.draw(seeded(seed))
            samples.train()
            sums.append((samples.read("shares") * integrand(samples.elements)).sum())
        sums = torch.stack(sums)
        error = sums.std().item() / math.sqrt(300)
        assert abs(sums.mean().item() - wanted) < 4 * error + 1e-3 * abs(wanted)
        deviations.append((sums - wanted).square().mean().sqrt().item())
    assert 2.8 < deviations[0] / deviations[2] < 5.7  # √16 = 4


# Layers


@torch.no_grad()
def as_p4(layer, lifting):
    """`GroupConv` with the same kernel function, on the same four turns."""
    taps = torch.linspace(-1, 1, 5, dtype=DOUBLE)
    grid = torch.stack(torch.meshgrid(taps, taps, indexing="ij"))
    inside = (grid.square().sum(0).sqrt() <= 1 + 1e-5).to(DOUBLE)
    plain = nn.GroupConv2d(2, 3, 5, "p4", "trivial" if lifting else "regular", padding=2, dtype=DOUBLE)
    if lifting:
        values = layer.kernel_net(grid[None])[0] * inside
        psi = values.reshape(3, 2, 25)
    else:
        parts = []
        for angle in (0, math.pi / 2, math.pi, -math.pi / 2):
            seen = torch.cat([grid, torch.full((1, 5, 5), angle, dtype=DOUBLE)])
            parts.append((layer.kernel_net(seen[None])[0] * inside / 4).reshape(3, 2, 25))
        psi = torch.cat(parts, -1)
    plain.weight.copy_(psi)
    plain.bias.copy_(layer.bias)
    return plain


@pytest.mark.parametrize("kind", [nn.LieLiftConv2d, nn.LieGroupConv2d])
def test_four_turns_are_the_group_convolution_on_p4(kind):
    torch.manual_seed(0)
    layer = kind(2, 3, 5, "SO", 4, padding=2, dtype=DOUBLE)
    x = torch.randn(2, layer.in_channels, 9, 8, dtype=DOUBLE)
    plain = as_p4(layer, layer.lifts)
    assert torch.allclose(layer(x), plain(x), atol=1e-6 * plain(x).abs().max().item())
    assert torch.allclose(layer(x), plain(x), atol=1e-12)


@pytest.mark.parametrize("net", ["siren", "wire"])
def test_kernels_depend_on_the_relative_element_only(net):
    """Elements all moved by one h: the same kernel of one tap, though every element is another; other g⁻¹g̃ give another one."""
    torch.manual_seed(0)
    layer = nn.LieGroupConv2d(2, 3, 1, "SL", 6, kernel_net=net, dtype=DOUBLE)
    before, elements = layer.kernel(), layer.samples.elements
    layer.samples.use(SL(2).sample(1, 0.3, "random", seeded(3)) @ elements)
    assert torch.allclose(layer.kernel(), before, atol=1e-10)
    layer.samples.use(elements @ SL(2).sample(1, 0.3, "random", seeded(3)))
    assert not torch.allclose(layer.kernel(), before, atol=1e-3)
    assert before.std() > 1e-3  # one tap still sees the group


def test_evaluation_repeats_and_training_draws_for_all_layers_together():
    torch.manual_seed(0)
    net = lie_network(1, 3, "SL", width=2, head=0, num_samples=3, hidden=6)
    shared = {id(m.samples) for m in net.modules() if hasattr(m, "samples")}
    assert len(shared) == 1
    x, fixed = torch.randn(2, 1, 10, 10), net[0].samples.fixed_elements.clone()
    net.eval()
    first = net(x)
    assert torch.equal(net(x), first)
    net.train()
    net(x)
    drawn = net[0].samples.elements
    assert torch.equal(net[3].convs[0].samples.elements, drawn)
    assert not torch.allclose(drawn, fixed)
    net(x)
    assert not torch.allclose(net[0].samples.elements, drawn)
    other = copy.deepcopy(net).eval()
    assert other[0].samples is other[3].convs[1].samples
    assert torch.equal(other[0].samples.elements, fixed)
    again = lie_network(1, 3, "SL", width=2, head=0, num_samples=3, hidden=6, seed=1).eval()
    assert not torch.allclose(again[0].samples.elements, fixed)
    assert "SL(2)" in repr(again[0])


def test_gradients_survive_a_second_draw_before_they_are_asked_for():
    torch.manual_seed(0)
    net = lie_network(1, 3, "GL+", width=2, head=4, num_samples=3, hidden=6).train()
    loss = net(torch.randn(2, 1, 10, 10)).square().sum() + net(torch.randn(2, 1, 10, 10)).square().sum()
    loss.backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in net.parameters())


def blobs(places):
    """A smooth image (..., rows, columns) of real places (rows, columns, 2) in the unit of half the view."""
    spots = ((0.2, -0.1, 0.16, 1.0), (-0.25, 0.15, 0.12, -0.8), (0.05, 0.3, 0.14, 0.6))
    return sum(a * torch.exp(-((places - torch.tensor([r, c])) ** 2).sum(-1) / (2 * s**2)) for r, c, s, a in spots)


def seen(size, h=None):
    """The image (1, 1, size, size) under h⁻¹, sampled from its formula: no interpolation takes part."""
    at = torch.linspace(-1, 1, size, dtype=DOUBLE)
    places = torch.stack(torch.meshgrid(at, at, indexing="ij"), -1)
    return blobs(places if h is None else places @ torch.linalg.inv(h).T)[None, None]


def invariant(group, count, taps, seed):
    torch.manual_seed(seed)
    samples = GroupSamples(group, count, fresh=False, seed=seed, dtype=DOUBLE)
    lift = nn.LieLiftConv2d(1, 6, taps, samples, omega=5.0, padding=taps // 2, bias=False, dtype=DOUBLE)
    conv = nn.LieGroupConv2d(6, 6, taps, samples, omega=5.0, padding=taps // 2, bias=False, dtype=DOUBLE)

    @torch.no_grad()
    def call(x):
        y = conv(torch.relu(lift(x) / taps))
        return y.unflatten(1, (6, count)).mean(2).square().mean((-1, -2)).sqrt()

    return call


def test_the_error_of_a_turn_falls_with_the_resolution_and_with_the_samples():
    """Under a turn by 30°: with 12 turns only the grid is left, and it fades; with 4 turns an error stays."""
    h = turn(math.pi / 6)

    def off(count, size, taps):
        errors = []
        for seed in range(2):
            call = invariant(SO(2), count, taps, seed)
            before, after = call(seen(size)), call(seen(size, h))
            errors.append(((after - before).norm() / before.norm()).item())
        return sum(errors) / len(errors)

    coarse, fine = off(12, 13, 5), off(12, 37, 13)
    assert fine < coarse / 2
    assert fine < 0.05  # the bound that the page declares for this size
    assert off(4, 37, 13) > 2 * fine


@pytest.mark.parametrize("group", [SL(2), GLPlus(2)], ids=repr)
def test_a_mapped_image_is_the_image_seen_by_mapped_elements(group):
    """y(hf)(x, g) = y(f)(h⁻¹x, h⁻¹g) for any h: what is left is the grid's, and fades as it grows finer."""
    errors = []
    for size, taps in ((25, 9), (73, 25)):  # one share of the view
        gaps = []
        for seed in range(2):
            torch.manual_seed(seed)
            h = group.sample(1, 0.03, "random")[0]
            samples = GroupSamples(group, 4, spread=0.05, fresh=False, dtype=DOUBLE)
            elements = samples.elements
            common = {
                "omega": 3.0,
                "padding": taps // 2,
                "support": "disc",
                "reach": 2.0,
                "bias": False,
                "dtype": DOUBLE,
            }
            first, second = (
                nn.LieLiftConv2d(1, 4, taps, samples, **common),
                nn.LieGroupConv2d(4, 4, taps, samples, **common),
            )
            net = torch.nn.Sequential(first, torch.nn.Tanh(), second)
            with torch.no_grad():
                mapped = net(seen(size, h) * 12 / taps)[0, :, size // 2, size // 2]
                samples.use(torch.linalg.inv(h) @ elements)
                wanted = net(seen(size) * 12 / taps)[0, :, size // 2, size // 2]
            gaps.append(((mapped - wanted).norm() / wanted.norm()).item())
        errors.append(sum(gaps) / 2)
    assert errors[1] < 0.5 * errors[0]
    assert errors[1] < 0.05


def test_the_error_of_a_turn_falls_with_random_samples():
    """The mean over random turns of a layer of one tap: off by about 1/√S under a turn that none of them is."""
    torch.manual_seed(0)
    net = nn.CoordinateNet(3, 1, omega=2.0, dtype=DOUBLE)
    errors = []
    for count in (8, 128):
        gaps = []
        for seed in range(40):
            samples = GroupSamples(SO(2), count, rotations="random", seed=seed, fresh=False, dtype=DOUBLE)
            layer = nn.LieGroupConv2d(1, 1, 1, samples, kernel_net=net, bias=False, dtype=DOUBLE)
            angles = SO(2).log(samples.elements)[:, 0]
            with torch.no_grad():
                plain, turned = (layer((1 + torch.cos(angles - t)).reshape(1, count, 1, 1)).mean() for t in (0.0, 0.7))
            gaps.append((plain - turned).item() ** 2)
        errors.append(math.sqrt(sum(gaps) / len(gaps)))
    assert 2.5 < errors[0] / errors[1] < 6.5  # √16 = 4


def test_certify_knows_affine_maps():
    """An isotropic blur commutes with rotations but for the grid; a plain filter does not; sizes and names are checked."""
    at = torch.arange(-4, 5, dtype=DOUBLE)
    bell = torch.exp(-(at[:, None] ** 2 + at**2) / 4)[None, None] / 12
    slope = torch.zeros(1, 1, 9, 9, dtype=DOUBLE)
    slope[0, 0, 4, 3:6] = torch.tensor([-1.0, 0, 1])
    x = seen(48)

    def blur(s):
        return torch.nn.functional.conv2d(s, bell, padding=4)

    kept = certify.equivariance(blur, "SO", x, count=6, tolerance=2e-2)
    assert kept.kept
    assert 0 < kept.interpolation < 2e-2
    assert not certify.equivariance(lambda s: torch.nn.functional.conv2d(s, slope, padding=4), "SO", x, count=6).kept
    assert certify.equivariance(lambda s: 3 * s, AffineMap(Affine(GLPlus(2))), x, count=6, tolerance=1e-9).error < 1e-9
    assert (
        certify.equivariance(lambda s: s.square(), AffineMap(GLPlus(1)), x[:, :, 20], count=4, tolerance=0.1).error
        < 0.1
    )
    assert certify.equivariance(
        lambda s: s, AffineMap("SL", dim=3), x[:, :, :12, :12, None].expand(-1, -1, -1, -1, 12)
    ).kept
    with pytest.raises(ArgumentError, match="spatial axes"):
        certify.equivariance(lambda s: s, "SL", x[:, :, 20])


@pytest.mark.parametrize(
    "call",
    [
        lambda: SL(1),
        lambda: GLPlus(2, alpha=0),
        lambda: GroupSamples("SL"),
        lambda: GroupSamples(SL(2), weights="sum"),
        lambda: GroupSamples(SO(2), spread=0.0, weights="haar"),
        lambda: SL(2).sample(0),
        lambda: SL(2).sample(3, rotations="some"),
        lambda: GroupSamples(SL(2), 3).use(-torch.eye(2).expand(3, 2, 2) * torch.tensor([1.0, -1.0])),
        lambda: nn.LieLiftConv2d(1, 2, 3, SL(3)),
        lambda: nn.LieLiftConv2d(1, 2, 3, "E"),
        lambda: nn.LieLiftConv2d(1, 2, 3, support="box"),
        lambda: nn.LieGroupConv2d(1, 2, 3, GroupSamples(SL(2)), 10),
        lambda: nn.LieGroupConv2d(1, 2, 3, kernel_net="relu"),
        lambda: nn.LieResidualBlock(2, 2, 4),
        lambda: nn.LieGroupPool2d(3)(torch.zeros(1, 10, 4, 4)),
        lambda: Affine("SL"),
        lambda: AffineMap("SL", spread=-1),
    ],
)  # fmt: skip
def test_wrong_calls_are_refused(call):
    with pytest.raises(ArgumentError):
        call()
