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


def test_wide_features_keep_their_distances():
    from faltung.look.geometry import _sketched

    x = drawn(40, 20000)
    small = _sketched(x, 512)
    assert small.shape == (40, 512)
    ratios = np.linalg.norm(small[1:] - small[:1], axis=1) / np.linalg.norm(x[1:] - x[:1], axis=1)
    assert ratios.mean() == pytest.approx(1, abs=0.05)
    assert abs(ratios - 1).max() < 0.2
    assert _sketched(x[:, :100], 512) is not small
    np.testing.assert_array_equal(_sketched(x[:, :100], 512), x[:, :100])


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
    assert widths == [1, 15, 39]


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


def test_enlarging_tiles_the_spectrum():
    x = torch.from_numpy(drawn(1, 1, 6, 5))
    spectrum = np.fft.fft2(x[0, 0].numpy())
    zero = np.fft.fft2(Enlarge("zero")(x)[0, 0].numpy())
    np.testing.assert_allclose(zero, np.tile(spectrum, (2, 2)), atol=1e-12)
    nearest = np.fft.fft2(nn.functional.interpolate(x, scale_factor=2, mode="nearest")[0, 0].numpy())
    box = np.outer(*(1 + np.exp(-2j * np.pi * np.fft.fftfreq(n)) for n in (12, 10)))
    np.testing.assert_allclose(nearest, np.tile(spectrum, (2, 2)) * box, atol=1e-12)


def test_of_a_network_with_rectifiers_the_linear_part_is_said():
    torch.manual_seed(0)
    how = {"padding": 1, "padding_mode": "circular", "bias": False}
    one, two = nn.Conv1d(2, 3, 3, **how), nn.Conv1d(3, 2, 3, **how)
    x = torch.zeros(1, 2, 8)
    both = look.transfer(nn.Sequential(one, nn.ReLU(), two), 8, x)
    np.testing.assert_allclose(both, look.transfer(nn.Sequential(one, two), 8, x), atol=1e-6)


def test_random_decoders_gain_as_expected():
    """Many filters of one layer are many draws: low frequencies win where the mean of taps is not zero."""
    layer = nn.Conv2d(1, 20000, 3, padding=1, padding_mode="circular", bias=False)
    with torch.no_grad():
        layer.weight.copy_(torch.from_numpy(0.3 + 0.7 * drawn(20000, 1, 3, 3)))
    gains = (np.abs(look.transfer(layer, 8, torch.zeros(1, 1, 8, 8))) ** 2).mean((-1, -2))
    line = 2 * np.pi * np.fft.fftfreq(8)
    omega = np.stack(np.meshgrid(line, line, indexing="ij"), -1)
    np.testing.assert_allclose(gains, look.expected_gain(3, 0.3, 0.7, omega), rtol=0.05)


def test_the_best_linear_convolution_that_is_trained_is_wieners():
    n, sigma = 12, 0.8
    power = np.abs(np.fft.fft(drawn(n, seed=4))) ** 2
    covariance = circulant(np.fft.ifft(power).real)
    kernel = torch.zeros(n, dtype=torch.float64, requires_grad=True)
    noisy = torch.from_numpy(covariance + sigma**2 * np.eye(n))
    places = torch.from_numpy((np.arange(n)[:, None] - np.arange(n)) % n)
    optimizer = torch.optim.LBFGS([kernel], max_iter=200, tolerance_grad=1e-12, line_search_fn="strong_wolfe")

    def loss():  # E ‖f(x + σ ε) − x‖² for Gaussian data, written with their covariances
        optimizer.zero_grad()
        matrix = kernel[places]
        value = (matrix @ noisy @ matrix.T).trace() - 2 * (matrix @ torch.from_numpy(covariance)).trace()
        value.backward()
        return value

    optimizer.step(loss)
    np.testing.assert_allclose(kernel.detach().numpy(), look.wiener_kernel(power, sigma), atol=1e-3)
    y = drawn(5, n, seed=9)
    made = y @ kernel.detach()[places].T.numpy()
    score = -y @ np.linalg.inv(noisy.numpy())
    np.testing.assert_allclose((made - y) / sigma**2, score, atol=1e-2)


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


def test_the_residual_is_a_convolution_of_cells():
    """Four fixed kernels on cells of 2 × 2, put back in their places."""
    x = torch.randn(2, 3, 8, 6)
    kernels = torch.eye(4).reshape(4, 1, 2, 2).clone()
    kernels[:, 0, 0, 0] -= 1
    cells = nn.functional.conv2d(x, kernels.repeat(3, 1, 1, 1), stride=2, groups=3)
    torch.testing.assert_close(look.neighbor_residual(x), nn.functional.pixel_shuffle(cells, 2), atol=1e-6, rtol=0)
    y = torch.randn_like(x)
    torch.testing.assert_close(
        look.neighbor_residual(2 * x - y), 2 * look.neighbor_residual(x) - look.neighbor_residual(y), atol=1e-5, rtol=0
    )


@pytest.mark.parametrize("scale", [0.1, 7.0])
def test_curvature_falls_as_the_cloud_grows(scale):
    angles = np.random.default_rng(0).uniform(0, 2 * np.pi, 400)
    circle = np.stack([np.cos(angles), np.sin(angles), 0 * angles], 1)
    one = look.mean_curvature(circle, 1, 8)
    assert one == pytest.approx(1, rel=0.01)
    assert look.mean_curvature(scale * circle, 1, 8) == pytest.approx(one / scale, rel=1e-6)
    turned = circle @ np.linalg.qr(drawn(3, 3))[0].T
    assert look.mean_curvature(turned, 1, 8) == pytest.approx(one, rel=1e-6)


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
    flow = look.linear_cnn_flow(x, y, np.array([0.0, order[1][1] * 1.5, 500.0]), method="closed")
    assert flow.stationary < 0.01
    np.testing.assert_allclose(flow.gains[0], 1e-3)
    assert flow.gains[1][3] > 0.5 * flow.targets[3]
    assert flow.gains[1][5] < 0.5 * flow.targets[5]
    np.testing.assert_allclose(flow.gains[2][[3, 5]], flow.targets[[3, 5]], rtol=1e-3)
    assert spectrum.sum() == n


class TwoLayers(nn.Module):
    """Two hidden convolutions of m filters and a readout, with what stands between them."""

    def __init__(self, m, act=nn.Identity, d=9, k=3, outputs=2):
        super().__init__()
        self.a, self.b = nn.Conv1d(1, m, k, bias=False), nn.Conv1d(m, m, k, bias=False)
        self.head, self.act = nn.Linear(m * (d - 2 * k + 2), outputs, bias=False), act()

    def forward(self, x):
        return self.head(self.act(self.b(self.act(self.a(x)))).flatten(1))


def regression(d=9, n=120, outputs=2, seed=5):
    drawn = torch.Generator().manual_seed(seed)
    return tuple(torch.randn(n, *s, dtype=torch.float64, generator=drawn) for s in ((1, d), (outputs,)))


def test_twice_the_channels_twice_the_rank():
    x, y = regression()
    found = []
    for m in (4, 8):
        torch.manual_seed(m)
        found.append(look.hessian_rank(TwoLayers(m).double(), x, y, 1e-9))
    small, large = found
    assert large.functional == pytest.approx(2 * small.functional, rel=0.05)
    assert large.parameters > 2.9 * small.parameters
    assert large.outer == small.outer  # which has nothing to do with the width


def test_the_functional_part_of_rectifiers_is_near_the_linear_bound():
    x, y = regression(8)
    torch.manual_seed(0)

    class Rectified(Linear):
        def forward(self, x):
            return self.head(torch.relu(self.conv(x)).flatten(1))

    # A rectified filter, too, meets its own readout alone; only the outer part sees every sample's own mask.
    bound = look.hessian_rank_bound(4, 3, 8, 2)
    found = look.hessian_rank(Rectified(4, 8, 3, 2).double(), x, y)
    assert found.functional == pytest.approx(bound.functional, rel=0.1)


def test_large_eigenvalues_without_the_matrix():
    x, y = regression()
    torch.manual_seed(0)
    model = TwoLayers(3, nn.Tanh).double()
    names, parameters = zip(*model.named_parameters(), strict=True)

    def loss(*values):
        made = torch.func.functional_call(model, dict(zip(names, values, strict=True)), (x,))
        return 0.5 * ((made - y) ** 2).sum() / len(x)

    every = tuple(range(len(parameters)))
    blocks = torch.func.jacrev(torch.func.jacrev(loss, every), every)(*[p.detach() for p in parameters])
    sizes = [p.numel() for p in parameters]
    whole = torch.cat([torch.cat([b.reshape(n, -1) for b in row], 1) for n, row in zip(sizes, blocks, strict=True)])
    wanted = torch.linalg.eigvalsh(whole).numpy()
    wanted = wanted[np.argsort(-np.abs(wanted))][:6]
    np.testing.assert_allclose(look.hessian_values(model, x, y, 6), wanted, rtol=1e-8)
    with pytest.raises(ArgumentError, match="fewer"):
        look.hessian_values(nn.Linear(2, 1), x[:, 0, :2], y[:, :1], 9)


def test_a_trained_linear_network_follows_the_closed_form():
    n, start = 8, 1e-3
    rng = np.random.default_rng(0)
    # White noise made exactly white, so that frequencies do not mix; a target of three waves.
    x = rng.standard_normal((200, n))
    x = (x - x.mean(0)) @ np.linalg.inv(np.linalg.cholesky(np.cov(x, rowvar=False, bias=True))).T
    target = sum(a * np.cos(2 * np.pi * f * np.arange(n) / n) for f, a in ((1, 0.8), (2, 0.4), (3, 0.15)))
    y = (x @ target)[:, None]
    places = (np.arange(n)[:, None] - np.arange(n)) % n

    def end_to_end(w, v):  # what the network multiplies each place of the input by: ⟨x ⋆ w, v⟩ = ⟨x, w * v⟩
        return w[places] @ v

    # Balanced: at every frequency filter and readout have one size and point the same way, a₀ end to end.
    waves = np.fft.fft(target, norm="ortho")
    used = np.abs(waves) > 1e-9
    root = np.where(used, (start / n**0.5) ** 0.5, 0) * n**0.5
    w = np.fft.ifft(root).real
    v = np.fft.ifft(root * np.where(used, waves / np.maximum(np.abs(waves), 1e-12), 0)).real
    scale = start / np.abs(np.fft.fft(end_to_end(w, v), norm="ortho"))[1]
    w, v = w * scale**0.5, v * scale**0.5
    covariance = x.T @ x / len(x)
    rate, seen, times = 1e-3, [], []
    for step in range(8001):
        if step % 800 == 0:
            seen.append(np.abs(np.fft.fft(end_to_end(w, v), norm="ortho")))
            # Filter and readout multiply √n times as much at a unitary frequency as two numbers would.
            times.append(step * rate * n**0.5)
        off = covariance @ (end_to_end(w, v) - target)
        w, v = w - rate * v[places].T @ off, v - rate * w[places].T @ off
    flow = look.linear_cnn_flow(x, y, np.array(times), start)
    assert flow.method == "closed"
    assert flow.stationary < 1e-20
    for f in (1, 2, 3):
        np.testing.assert_allclose(np.array(seen)[:, f], flow.gains[:, f], rtol=0.01)
    half = [np.argmax(np.array(seen)[:, f] > flow.targets[f] / 2) for f in (1, 2)]
    assert 0 < half[0] < half[1]


def patches(signals, taps, stride):
    return np.lib.stride_tricks.sliding_window_view(signals, taps, axis=1)[:, ::stride]


def test_a_filter_is_learnt_where_samples_say_which():
    rng = np.random.default_rng(0)
    true = rng.standard_normal(8)
    z = rng.standard_normal((3000, 6, 8))
    right = 0.1 * (
        true / np.linalg.norm(true) + 0.8 * np.linalg.qr(np.stack([true, rng.standard_normal(8)], 1))[0][:, 1]
    )
    found = look.learn_filter(z, true, start=right, steps=400)
    assert (np.diff(found.angles) < 1e-12).all()  # all the way, up to rounding
    assert found.distances[-1] < 1e-4
    assert found.errors[-1] < 1e-9
    few = look.learn_filter(z[:6, :1], true, start=right, steps=400)
    assert few.errors[-1] < 0.1 * few.errors[0]
    assert few.distances[-1] > 0.1  # fewer samples than taps do not say which filter it was
    with pytest.raises(ArgumentError, match="patches"):
        look.learn_filter(z[0], true)
    assert "angle" in found.table(100)


def test_starts_in_the_wrong_half_fail_where_others_never_do():
    """Results of eight patches have a large mean, which any filter of the right length has too: a start that points away grows
    where it points first, and turns slowly from there."""
    rng = np.random.default_rng(0)
    true = np.eye(6)[0]
    z = rng.standard_normal((800, 8, 6))
    ends: dict = {}
    for angle in (0.3, 0.45, 0.9, 0.97):  # of a half turn
        for _ in range(5):
            side = np.append(0.0, rng.standard_normal(5))
            start = 0.2 * (np.cos(np.pi * angle) * true + np.sin(np.pi * angle) * side / np.linalg.norm(side))
            found = look.learn_filter(z, true, start=start, rates=(0.2, 0.4), steps=300)
            ends.setdefault(angle < 0.5, []).append(found.distances[-1])
    assert max(ends[True]) < 0.01
    assert np.mean(np.array(ends[False]) > 1) >= 0.5


def test_patches_all_alike_are_one_neuron():
    rng = np.random.default_rng(1)
    z, true = rng.standard_normal((500, 1, 5)), rng.standard_normal(5)
    one, many = look.learn_filter(z, true, steps=50), look.learn_filter(z.repeat(4, 1), true, steps=50)
    np.testing.assert_allclose(one.weights, many.weights, atol=1e-12)


def test_the_more_patches_overlap_the_slower():
    rng = np.random.default_rng(2)
    true, signals = rng.standard_normal(6), rng.standard_normal((4000, 36))
    start = 0.1 * true + 0.05 * rng.standard_normal(6)
    # The same number of patches, a step of one, three, and of the whole filter.
    last = [
        look.learn_filter(patches(signals[:, : 6 + 5 * s], 6, s), true, start=start, steps=60).distances[-1]
        for s in (1, 3, 6)
    ]
    assert last[0] > last[1] > last[2]


# -- cues ---------------------------------------------------------------------------------------------------------------


def test_what_decisions_go_by():
    """Squares and bars, drawn in stripes or checkers: one model sees the outline, the other the texture."""

    class Outline(nn.Module):
        def forward(self, x):
            wide = (x.abs() > 0).double().amax(1).amax(1).sum(1)
            return torch.stack([-wide, wide - 12], 1)

    class Grain(nn.Module):
        def forward(self, x):
            stripes = (x * x.roll(1, -1)).flatten(1).sum(1)
            return torch.stack([-stripes, stripes], 1)

    x, shapes, textures = [], [], []
    rows, columns = np.meshgrid(np.arange(16), np.arange(16), indexing="ij")
    for shape in (0, 1):
        for texture in (0, 1):
            mask = (columns < (4 if shape == 0 else 12)) & (rows < 12)
            sign = (-1.0) ** (rows if texture else rows + columns)
            x.append(mask * sign)
            shapes.append(shape)
            textures.append(texture)
    x = torch.from_numpy(np.stack(x))[:, None]
    assert look.cue_bias(Outline(), x, shapes, textures).bias == 1
    assert look.cue_bias(Grain(), x, shapes, textures).bias == 0
    assert look.cue_bias(Grain(), x, shapes, textures).count == 2  # where both cues agree nothing is said
    assert np.isnan(look.cue_bias(Grain(), x, [5, 5, 5, 5], [6, 6, 6, 6]).bias)
    with pytest.raises(ArgumentError, match="each cue"):
        look.cue_bias(Grain(), x, [0], [1])


def test_channels_of_one_kind_and_of_all():
    class Features(nn.Module):
        def forward(self, x):
            return torch.cat([x[:, :1], x[:, 1:2]], 1)

    labels = np.arange(32) % 4
    x = torch.zeros(32, 2, 3)
    x[:, 0] = torch.from_numpy((labels == 2) * 1.0)[:, None]
    x[:, 1] = torch.arange(32.0)[:, None]
    made = look.channel_diversity(Features(), x, labels, "cat", 8)
    np.testing.assert_allclose(made, [0, 2])
    with pytest.raises(ArgumentError, match="layer"):
        look.channel_diversity(Features(), x, labels, "conv")
