"""The denoiser of training images alone: its formula written out, cuts that do not matter, scores, and levels near the ends."""

from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from faltung import look
from faltung.errors import ArgumentError


def drawn(*shape, seed=0):
    return torch.from_numpy(np.random.default_rng(seed).standard_normal(shape))


def smooth(count, *shape, seed=0):
    """Images whose neighbours are alike, so that masks are neither empty nor full."""
    x = drawn(count, *shape, seed=seed)
    for _ in range(2):
        x = x + 0.7 * x.roll(1, -1)
    return x


def looped(y, images, alpha, beta, tau):
    """The formula, a number at a time."""
    d, count = y[0].numel(), len(images)
    rows = images.reshape(count, d).numpy()
    centred = rows - rows.mean(0)
    s = centred.T @ centred / count
    wiener = s @ np.linalg.inv(s + beta / alpha * np.eye(d))
    over = np.abs(wiener / np.diag(wiener)[:, None])
    made = np.zeros((len(y), d))
    for b, signal in enumerate(y.reshape(len(y), d).numpy()):
        for p in range(d):
            exponents = []
            for i in range(count):
                total = 0.0
                for q in range(d):
                    if p == q or over[p, q] >= tau * over.max():
                        total += (signal[q] - np.sqrt(alpha) * rows[i, q]) ** 2
                exponents.append(-total / (2 * beta))
            weights = np.exp(np.array(exponents) - max(exponents))
            made[b, p] = (weights * rows[:, p]).sum() / weights.sum()
    return made.reshape(y.shape)


@settings(max_examples=15, deadline=None)
@given(
    seed=st.integers(0, 999), alpha=st.sampled_from([0.05, 0.5, 0.9]), tau=st.sampled_from([0.0, 0.05, 0.3, 1.0]),
    shape=st.sampled_from([(1, 7), (2, 3), (1, 3, 3)]),
)  # fmt: skip
def test_it_is_the_formula(seed, alpha, tau, shape):
    images, y = smooth(9, *shape, seed=seed), drawn(2, *shape, seed=seed + 1)
    denoiser = look.LocalDenoiser(images, tau=tau)
    wanted = looped(y, images, alpha, 1 - alpha, tau)
    np.testing.assert_allclose(denoiser(y, alpha).numpy(), wanted, atol=1e-9)
    single = denoiser(y.float(), alpha)
    assert single.dtype == torch.float32
    np.testing.assert_allclose(single.numpy(), wanted, atol=1e-4)


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 999), block=st.integers(1, 40), alpha=st.sampled_from([0.01, 0.5, 0.99]))
def test_cuts_of_the_training_images_do_not_matter(seed, block, alpha):
    images, y = smooth(31, 1, 8, seed=seed), drawn(2, 1, 8, seed=seed + 1)
    whole = look.LocalDenoiser(images, block=31)(y, alpha)
    cut = look.LocalDenoiser(images, block=block)(y, alpha)
    np.testing.assert_allclose(cut.numpy(), whole.numpy(), atol=1e-12)
    order = torch.from_numpy(np.random.default_rng(seed).permutation(31))
    turned = look.LocalDenoiser(images[order], block=block)(y, alpha)
    np.testing.assert_allclose(turned.numpy(), whole.numpy(), atol=1e-9)


@pytest.mark.parametrize("sigma", [0.3, 1.0, 4.0])
def test_where_all_is_seen_it_follows_the_score_of_the_images(sigma):
    """Tweedie's formula with the mixture of normal densities around the images: the exact mean of the posterior."""
    images = smooth(12, 1, 6)
    density = torch.distributions.MixtureSameFamily(
        torch.distributions.Categorical(torch.ones(12, dtype=torch.float64)),
        torch.distributions.Independent(
            torch.distributions.Normal(images.flatten(1), sigma * torch.ones(12, 6, dtype=torch.float64)), 1
        ),
    )

    def score(y):
        with torch.enable_grad():
            z = y.detach().requires_grad_()
            return torch.autograd.grad(density.log_prob(z.flatten(1)).sum(), z)[0]

    whole, near = look.LocalDenoiser(images, tau=0), look.LocalDenoiser(images, tau=0.5)
    samples = images.repeat(3, 1, 1)
    assert look.tweedie_gap(lambda y: whole(y, 1.0, sigma**2), samples, sigma, score) < 1e-9
    assert look.tweedie_gap(lambda y: near(y, 1.0, sigma**2), samples, sigma, score) > 1e-3


def test_noise_widens_what_a_place_sees():
    """Images with exactly the covariance ρ^|i − j|: plus and minus the columns of its root."""
    n, places = 64, np.arange(64)
    covariance = 0.95 ** np.abs(places[:, None] - places)
    root = np.sqrt(n) * np.linalg.cholesky(covariance).T
    denoiser = look.LocalDenoiser(torch.from_numpy(np.concatenate([root, -root]))[:, None], tau=0.1)
    masks = [denoiser.mask(1.0, sigma**2).numpy() for sigma in (0.1, 1, 3)]
    wiener = [covariance @ np.linalg.inv(covariance + sigma**2 * np.eye(n)) for sigma in (0.1, 1, 3)]
    for mask, w in zip(masks, wiener, strict=True):
        over = np.abs(w / np.diag(w)[:, None])
        np.testing.assert_array_equal(mask, over >= 0.1 * over.max())
    widths = [int(mask[32].sum()) for mask in masks]
    assert widths[0] < widths[1] < widths[2]
    assert all((a <= b).all() for a, b in pairwise(masks))
    halved = denoiser.mask(0.5, 0.5).numpy()
    np.testing.assert_array_equal(halved, masks[1])  # the quotient alone counts


def test_one_image_is_all_that_it_can_say():
    image = drawn(1, 2, 5)
    made = look.LocalDenoiser(image)(drawn(3, 2, 5, seed=1), 0.3)
    np.testing.assert_allclose(made.numpy(), image.expand(3, 2, 5).numpy(), atol=1e-14)
    copies = look.LocalDenoiser(image.expand(6, 2, 5), block=4)(drawn(3, 2, 5, seed=1), 0.3)
    np.testing.assert_allclose(copies.numpy(), made.numpy(), atol=1e-14)


@pytest.mark.parametrize("tau", [0.0, 0.05])
def test_levels_near_the_ends(tau):
    images, y = smooth(11, 1, 7), drawn(2, 1, 7, seed=5)
    denoiser = look.LocalDenoiser(images, tau=tau, block=3)
    # Hardly any noise: at every place the value of the image that fits best around it.
    calm = denoiser(y, 1.0, 1e-300)
    distances = (y[:, None] - images[None]).square()[:, :, 0]  # (2, 11, 7)
    seen = denoiser.mask(1.0, 1e-300).double()
    best = torch.einsum("biq,pq->bip", distances, seen).argmin(1)
    assert torch.equal(calm[:, 0], images[:, 0].gather(0, best))
    # Nothing but noise: the mean image.
    for alpha, beta in [(1e-300, 1.0), (1.0, 1e300), (5e-324, 1e308)]:
        loud = denoiser(y, alpha, beta)
        np.testing.assert_allclose(loud.numpy(), images.mean(0).expand(2, 1, 7).numpy(), atol=1e-12)
    for alpha, beta in [(5e-324, 5e-324), (1.0, 5e-324), (1e-300, 1e-300)]:
        assert torch.isfinite(denoiser(1e3 * y, alpha, beta)).all()


def test_places_that_never_vary_see_themselves():
    images = smooth(9, 1, 6)
    images[:, :, 2] = 4.0
    denoiser = look.LocalDenoiser(images)
    mask = denoiser.mask(0.5)
    assert mask[2].tolist() == [False, False, True, False, False, False]
    assert mask.diagonal().all()
    assert not mask[[0, 1, 3, 4, 5], 2].any()
    np.testing.assert_allclose(denoiser(drawn(2, 1, 6), 0.5)[:, :, 2].numpy(), 4.0, atol=1e-13)


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda x: look.LocalDenoiser(x[0, 0]), "stack them"),
        (lambda x: look.LocalDenoiser(x[:0]), "stack them"),
        (lambda x: look.LocalDenoiser(x.long()), "stack them"),
        (lambda x: look.LocalDenoiser(x, tau=1.5), "use 0.05"),
        (lambda x: look.LocalDenoiser(x, block=0), "block"),
        (lambda x: look.LocalDenoiser(x)(x[..., 1:], 0.5), "crop them"),
        (lambda x: look.LocalDenoiser(x)(x), "give beta"),
        (lambda x: look.LocalDenoiser(x)(x, 0.0), "give beta"),
        (lambda x: look.LocalDenoiser(x)(x, 1.5, 1.0), "give beta"),
        (lambda x: look.LocalDenoiser(x)(x, 0.5, float("nan")), "give beta"),
    ],
)
def test_what_is_refused(call, said):
    with pytest.raises(ArgumentError, match=said):
        call(smooth(4, 1, 5))


def test_no_signals_give_none():
    assert look.LocalDenoiser(smooth(4, 1, 5))(torch.zeros(0, 1, 5), 0.5).shape == (0, 1, 5)
