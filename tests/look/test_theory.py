"""Geometry, denoisers, generators and small theory: surfaces, spectra and ranks that are known."""

import numpy as np
import pytest
import torch
from torch import nn

from faltung import look
from faltung.errors import ArgumentError


def drawn(*shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape)


def embedded(x, d=50, seed=3):
    return x @ np.linalg.qr(drawn(d, x.shape[1], seed=seed))[0].T


@pytest.mark.parametrize(("d", "twonn", "mle"), [(2, 2.1, 2.0), (5, 4.5, 4.4), (10, 8.5, 8.0)])
def test_dimensions_of_cubes(d, twonn, mle):
    x = embedded(np.random.default_rng(0).random((1500, d)))
    assert look.intrinsic_dimension(x) == pytest.approx(twonn, rel=0.1)
    assert look.intrinsic_dimension(x, "mle") == pytest.approx(mle, rel=0.1)
    assert look.intrinsic_dimension(3e-4 * x + 5) == pytest.approx(look.intrinsic_dimension(x), rel=1e-6)
    assert look.intrinsic_dimension(embedded(x, 60, 4)) == pytest.approx(look.intrinsic_dimension(x), rel=1e-6)


def test_dimensions_with_copies_and_of_nothing():
    x = np.random.default_rng(0).random((300, 3))
    both = np.concatenate([x, x[:50]])
    for method in ("twonn", "mle", "pca"):
        assert np.isfinite(look.intrinsic_dimension(both, method))
        assert np.isnan(look.intrinsic_dimension(np.ones((20, 3)), method))
    with pytest.raises(ArgumentError, match="choose one"):
        look.intrinsic_dimension(x, "box")


@pytest.mark.parametrize(("radius", "d"), [(1.0, 2), (3.0, 2), (2.0, 3), (0.5, 1)])
def test_curvatures_of_spheres_and_planes(radius, d):
    rng = np.random.default_rng(0)
    found = []
    for _ in range(20):
        tangent = rng.uniform(-0.05, 0.05, (30, d))
        near = np.concatenate([np.sqrt(1 - (tangent**2).sum(1, keepdims=True)), tangent], 1) * radius
        rotation = np.linalg.qr(rng.standard_normal((9, 9)))[0][:, : d + 1]
        found.append(np.abs(look.curvature(np.eye(d + 1)[0] * radius @ rotation.T, near @ rotation.T, d)).mean())
    assert np.mean(found) == pytest.approx(1 / radius, rel=0.01)
    plane = rng.standard_normal((30, d)) @ rng.standard_normal((d, 9))
    assert look.curvature(np.zeros(9), plane, d).shape == (0, d)
    assert look.mean_curvature(rng.standard_normal((60, d)), d) == 0
    with pytest.raises(ArgumentError, match="pass more"):
        look.curvature(np.zeros(9), plane[:1], d)


def test_the_sharpest_labels():
    x = np.array([[0.0, 0.0], [1.0, 0.0], [5.0, 0.0]])
    assert look.label_sharpness(x, [0, 0, 1]) == pytest.approx(0.25)
    assert look.label_sharpness(x, [0, 0, 0]) == 0
    assert look.label_sharpness(x[[0, 0]], [0, 1]) == np.inf
    many = drawn(700, 5)
    labels = np.arange(700) % 3
    brute = max(
        1 / np.linalg.norm(a - b)
        for i, a in enumerate(many)
        for b, l in zip(many, labels, strict=True)
        if l != labels[i]
    )
    assert look.label_sharpness(many, labels) == pytest.approx(brute)


def test_a_profile_of_representations():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv1d(1, 4, 3), nn.ReLU(inplace=True), nn.Flatten(), nn.Linear(40, 3))
    found = look.representation_profile(model, torch.randn(200, 1, 12))
    assert [row[0] for row in found.rows] == ["0", "3"]
    assert found.rows[1][1] < found.rows[0][1]
    assert "twonn" in found.table()
    assert np.isfinite(found.rows[1][3])


def test_smooth_filters():
    rough = drawn(4, 2, 5, 5)
    low = np.stack([[np.pad(f, 1)[:-2] + 2 * np.pad(f, 1)[1:-1] + np.pad(f, 1)[2:] for f in pair] for pair in rough])
    low = low[..., :-2] + 2 * low[..., 1:-1] + low[..., 2:]
    assert all(a < b for a, b in zip(look.smoothness(low), look.smoothness(rough), strict=True))
    assert look.smoothness(np.ones((1, 1, 3, 3)))[0] == 0


# -- denoisers ----------------------------------------------------------------------------------------------------------


def circulant(kernel):
    return np.stack([np.roll(kernel, i) for i in range(len(kernel))], 1)


@pytest.mark.parametrize("sigma", [0.1, 1.0, 3.0])
def test_the_wiener_kernel_is_the_matrix(sigma):
    power = np.abs(np.fft.fft(drawn(16))) ** 2
    covariance = circulant(np.fft.ifft(power).real)
    matrix = covariance @ np.linalg.inv(covariance + sigma**2 * np.eye(16))
    np.testing.assert_allclose(circulant(look.wiener_kernel(power, sigma)), matrix, atol=1e-10)
    with pytest.raises(ArgumentError, match="check them"):
        look.wiener_kernel(-power, sigma)


def test_noise_widens_what_a_wiener_filter_reads():
    n, rho = 64, 0.95
    places = np.arange(n)
    covariance = rho ** np.abs(places[:, None] - places)
    widths = []
    for sigma in (0.1, 1, 3):
        row = np.abs((covariance @ np.linalg.inv(covariance + sigma**2 * np.eye(n)))[32])
        layer = Matrix(torch.from_numpy(covariance @ np.linalg.inv(covariance + sigma**2 * np.eye(n))))
        seen = look.footprint(layer, torch.zeros(1, 1, n, dtype=torch.float64), (32,)).numpy()
        np.testing.assert_allclose(seen, row, atol=1e-12)
        widths.append(int((row > 0.1 * row.max()).sum()))
    assert widths == sorted(widths)
    assert widths[1:] == [15, 39]


class Matrix(nn.Module):
    def __init__(self, matrix):
        super().__init__()
        self.matrix = nn.Parameter(matrix)

    def forward(self, x):
        return nn.functional.linear(x, self.matrix)


def test_modes_of_a_linear_denoiser():
    power = np.abs(np.fft.fft(drawn(24))) ** 2
    gains = power / (power + 1)
    found = look.denoiser_modes(
        Matrix(torch.from_numpy(circulant(look.wiener_kernel(power, 1.0)))),
        torch.zeros(1, 1, 24, dtype=torch.float64),
        4,
    )
    np.testing.assert_allclose(found.values, np.sort(gains)[::-1][:4], atol=1e-8)
    assert found.dimension == pytest.approx(gains.sum())
    assert found.antisymmetric < 1e-10
    skew = Matrix(torch.tensor([[1.0, 2.0, 0], [-2.0, 1.0, 0], [0, 0, 1.0]], dtype=torch.float64))
    assert look.denoiser_modes(skew, torch.zeros(1, 1, 3, dtype=torch.float64), 1).antisymmetric > 0.5


def test_the_score_of_gaussian_data_by_its_best_denoiser():
    power, sigma = np.abs(np.fft.fft(drawn(16))) ** 2, 0.7
    covariance = torch.from_numpy(circulant(np.fft.ifft(power).real))
    x = torch.from_numpy(drawn(50, 16)) @ torch.linalg.cholesky(covariance + 1e-9 * torch.eye(16)).T
    noisy = torch.linalg.inv(covariance + sigma**2 * torch.eye(16, dtype=torch.float64))
    best = Matrix(covariance @ noisy)
    assert look.tweedie_gap(best, x, sigma, lambda y: -y @ noisy) < 1e-10
    assert look.tweedie_gap(nn.Identity(), x, sigma, lambda y: -y @ noisy) == pytest.approx(1)


def test_a_denoiser_without_biases_is_its_jacobian():
    torch.manual_seed(0)
    net = nn.Sequential(
        nn.Conv2d(1, 4, 3, padding=1, bias=False), nn.ReLU(), nn.Conv2d(4, 1, 3, padding=1, bias=False)
    ).double()
    y = torch.randn(1, 1, 6, 6, dtype=torch.float64)
    torch.testing.assert_close(look.linearize(net, y).matvec(y), net(y))
    torch.testing.assert_close(net(3 * y), 3 * net(y))
    found = look.denoiser_modes(net, y, 3)
    jacobian = torch.func.jacrev(lambda z: net(z).flatten())(y).reshape(36, 36).detach()
    np.testing.assert_allclose(
        found.values, np.linalg.eigvalsh((jacobian + jacobian.T).numpy() / 2)[::-1][:3], atol=1e-8
    )
    assert found.dimension == pytest.approx(float(jacobian.trace()))


# -- generators ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("ndim", [1, 2])
def test_transfer_is_what_happens_to_frequencies(ndim):
    torch.manual_seed(0)
    conv = getattr(nn, f"Conv{ndim}d")
    how = {"padding": 1, "padding_mode": "circular", "bias": False, "dtype": torch.float64}
    net = nn.Sequential(conv(2, 4, 3, **how), conv(4, 4, 3, groups=2, **how), conv(4, 3, 3, **how))
    n = 8
    x = torch.randn(1, 2, *(n,) * ndim, dtype=torch.float64)
    made = look.transfer(net, n, x)
    axes = tuple(range(2, ndim + 2))
    before, after = (np.fft.fftn(v.detach().numpy(), axes=axes)[0] for v in (x, net(x)))
    np.testing.assert_allclose(np.einsum("...oi,i...->o...", made, before), after, atol=1e-10)
    with pytest.raises(ArgumentError, match="stride 1"):
        look.transfer(conv(2, 2, 3, 2), n, x.float())


def test_expected_gains_of_random_kernels():
    omega = np.random.default_rng(0).uniform(-np.pi, np.pi, (5, 2))
    kernels = 0.3 + 0.7 * drawn(20000, 3, 3)
    waves = np.exp(-1j * omega[:, :1] * np.arange(3))[:, :, None] * np.exp(-1j * omega[:, 1:] * np.arange(3))[:, None]
    gains = (np.abs(np.einsum("nij,wij->nw", kernels, waves)) ** 2).mean(0)
    np.testing.assert_allclose(look.expected_gain(3, 0.3, 0.7, omega), gains, rtol=0.05)


def test_radial_profiles():
    noise = look.radial_profile(drawn(400, 32, 32), normalise=False)
    assert noise[1:].std() / noise.mean() < 0.05
    y, x = np.meshgrid(np.arange(32), np.arange(32), indexing="ij")
    wave = np.cos(2 * np.pi * 5 * x / 32)
    line = look.radial_profile(wave, normalise=False)
    assert line.argmax() == 5
    assert line[np.arange(17) != 5].max() < 1e-12 * line.max()
    image = drawn(24, 24)
    for other in (np.rot90(image), image[::-1], image.T):
        np.testing.assert_allclose(look.radial_profile(other), look.radial_profile(image))
    power = np.abs(np.fft.fft2(image)) ** 2
    from faltung.look.generating import _power, bins_of

    counts = bins_of((24, 24))
    _, radius, _ = _power(image, False)
    means = np.bincount(np.rint(radius).astype(int).ravel(), power.ravel()) / counts
    assert (means * counts).sum() == pytest.approx(power.sum())
    level, slope = look.power_law_tail(np.concatenate([[1], 5.0 * np.arange(1, 65) ** -1.5]))
    assert (level, slope) == pytest.approx((np.log(5), -1.5))
    assert y.shape == (32, 32)


class Enlarge(nn.Module):
    def __init__(self, kind):
        super().__init__()
        self.kind = kind

    def forward(self, x):
        if self.kind == "zero":
            weight = torch.zeros(1, 1, 2, 2, dtype=x.dtype)
            weight[0, 0, 0, 0] = 1
            return nn.functional.conv_transpose2d(x, weight, stride=2)
        x = nn.functional.interpolate(x, scale_factor=2, mode="nearest")
        row = torch.tensor([1.0, 4.0, 6.0, 4.0, 1.0], dtype=x.dtype) / 16
        return nn.functional.conv2d(
            nn.functional.pad(x, (2, 2, 2, 2), mode="circular"), torch.outer(row, row)[None, None]
        )


def test_copies_of_the_spectrum_after_enlarging():
    noise = np.fft.fft2(drawn(8, 1, 32, 32))
    damping = np.exp(-((np.hypot(np.fft.fftfreq(32)[:, None], np.fft.fftfreq(32)) / 0.12) ** 2))
    smooth = torch.from_numpy(np.fft.ifft2(noise * damping).real + 1)
    zero = look.upsampling_artifacts(Enlarge("zero"), smooth)
    assert zero.replica > 10
    assert zero.layers[0].factor == (2, 2)
    assert look.upsampling_artifacts(Enlarge("nearest"), smooth).replica < 2
    assert "replica" in zero.table()


@pytest.mark.parametrize(("taps", "stride", "even"), [(3, 2, False), (4, 2, True), (5, 3, False), (6, 3, True)])
def test_checkerboards_of_transposed_convolutions(taps, stride, even):
    up = nn.ConvTranspose1d(1, 1, taps, stride, bias=False)
    nn.init.constant_(up.weight, 1.0)
    x = torch.ones(2, 1, 9)
    middle = up(x)[0, 0, taps:-taps].detach()
    assert bool(middle.max() == middle.min()) == even
    (row,) = look.upsampling_artifacts(up, x).layers
    assert row.uneven is not even
    assert look.aliasing(up, x).layers[0].checkers is not even


@pytest.mark.parametrize("ndim", [1, 2, 3])
def test_neighbours_of_repeated_pixels(ndim):
    x = torch.randn(2, 3, *(7,) * ndim)
    made = look.neighbor_residual(x)
    assert (made[(slice(None), slice(None), *(slice(None, None, 2),) * ndim)] == 0).all()
    big = nn.functional.interpolate(x, scale_factor=2, mode="nearest")
    assert (look.neighbor_residual(big) == 0).all()
    assert look.neighbor_residual(big, reference="mean").abs().max() < 1e-6
    torch.testing.assert_close(look.neighbor_residual(x + 3), made, atol=1e-5, rtol=1e-5)
    even = torch.randn(1, 1, *(8,) * ndim)
    axes = tuple(range(2, ndim + 2))
    torch.testing.assert_close(
        look.neighbor_residual(even.roll((2,) * ndim, axes)), look.neighbor_residual(even).roll((2,) * ndim, axes)
    )
    assert not torch.allclose(
        look.neighbor_residual(even.roll((1,) * ndim, axes)), look.neighbor_residual(even).roll((1,) * ndim, axes)
    )


# -- theory -------------------------------------------------------------------------------------------------------------


class Linear(nn.Module):
    def __init__(self, m, d, k, outputs):
        super().__init__()
        self.conv, self.head = nn.Conv1d(1, m, k, bias=False), nn.Linear(m * (d - k + 1), outputs, bias=False)

    def forward(self, x):
        return self.head(self.conv(x).flatten(1))


@pytest.mark.parametrize(
    ("m", "outer", "functional", "whole"), [(1, 14, 6, 15), (2, 16, 12, 27), (4, 16, 24, 39), (8, 16, 48, 63)]
)
def test_the_rank_of_the_hessian(m, outer, functional, whole):
    torch.manual_seed(m)
    model = Linear(m, 8, 3, 2).double()
    x, y = torch.randn(100, 1, 8, dtype=torch.float64), torch.randn(100, 2, dtype=torch.float64)
    found = look.hessian_rank(model, x, y)
    assert (found.outer, found.functional, found.whole) == (outer, functional, whole)
    bound = look.hessian_rank_bound(m, 3, 8, 2)
    assert found.functional == bound.functional
    assert found.outer <= bound.outer
    assert found.whole <= bound.whole
    assert found.parameters == bound.parameters
    exact = look.hessian_rank(model, x, model(x).detach())
    assert exact.whole == exact.outer
    with pytest.raises(ArgumentError, match="smaller model"):
        look.hessian_rank(nn.Linear(100, 100), x, y)


def test_the_learning_curve_is_the_flow():
    s, lam, a = 0.8, 1.6, 1e-3
    times = np.linspace(0, 12, 7)
    wanted = (s / lam) / (1 + (s / (lam * a) - 1) * np.exp(-2 * s * times))
    np.testing.assert_allclose(look.learning_curve(s, lam, a, times), wanted)
    # two balanced layers u v with a = u v, v' = u (s − λ u v)
    u = v = a**0.5
    step, path = 1e-4, {}
    for i in range(120001):
        if i % 20000 == 0:
            path[i] = u * v
        error = s - lam * u * v
        u, v = u + step * v * error, v + step * u * error
    np.testing.assert_allclose(list(path.values()), wanted, rtol=1e-2)
    assert look.learning_curve(0.0, 1.0, 0.1, [0.0])[0] == pytest.approx(0.1)


def test_a_linear_network_learns_the_strongest_frequency_first():
    rng, n = np.random.default_rng(0), 16
    x = rng.standard_normal((4000, n))
    spectrum = np.ones(n)
    waves = np.stack([np.cos(2 * np.pi * 3 * np.arange(n) / n), 0.3 * np.cos(2 * np.pi * 5 * np.arange(n) / n)])
    y = x @ waves.sum(0)[:, None]
    order = look.discovery_order(x, y)
    assert {order[0][0][0], order[1][0][0]} == {3, 13}
    assert {order[2][0][0], order[3][0][0]} == {5, 11}
    flow = look.linear_cnn_flow(x, y, np.array([0.0, order[1][1] * 1.5, 500.0]))
    assert flow.stationary < 0.01
    np.testing.assert_allclose(flow.gains[0], 1e-3)
    assert flow.gains[1][3] > 0.5 * flow.targets[3]
    assert flow.gains[1][5] < 0.5 * flow.targets[5]
    np.testing.assert_allclose(flow.gains[2][[3, 5]], flow.targets[[3, 5]], rtol=1e-3)
    assert spectrum.sum() == n
