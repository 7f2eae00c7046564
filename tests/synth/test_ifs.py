"""Fractals: what the sampler promises, points on the attractor, dimensions that are known, and sets that repeat."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial import cKDTree

from faltung import synth
from faltung.errors import ArgumentError
from faltung.synth import ifs
from faltung.synth.fractals import INSTANCES


@settings(deadline=None, max_examples=60)
@given(n=st.integers(2, 7), seed=st.integers(0, 10**6), method=st.sampled_from(["svd", "uniform"]))
def test_sampled_systems_keep_the_sum_and_the_order_of_their_singular_values(n, seed, method):
    if method == "uniform" and n > 4:
        n = 4  # by rejection
    rng = np.random.default_rng(seed)
    system = ifs.sample(n, method, rng)
    alpha = np.random.default_rng(seed).uniform((5 + n) / 2, (6 + n) / 2)  # what the sampler draws first
    large, small = system.singular_values.T
    assert (large + 2 * small).sum() == pytest.approx(alpha, abs=1e-12)
    assert (large <= 1 + 1e-12).all()
    assert (large >= small).all()
    assert (small >= 0).all()
    assert system.contractive
    assert np.abs(system.maps[:, :, 2]).max() <= 1


def test_boxes_of_the_triangle_multiply_by_three():
    points = ifs.sierpinski().points(200_000, rng=1)
    assert [ifs.boxes(points, depth) for depth in range(8)] == [3**depth for depth in range(8)]


@pytest.mark.parametrize("seed", range(4))
def test_the_attractor_is_the_union_of_its_images(seed):
    system = ifs.System(ifs.sample(3, rng=seed).maps, np.full(3, 1 / 3))  # all parts seen equally often
    points = system.points(60_000, rng=seed)
    images = np.concatenate([points @ m[:, :2].T + m[:, 2] for m in system.maps])
    pixel = np.ptp(points, axis=0).max() / 64
    # The rarest thousandth of a random sample has no neighbours yet.
    for one, other in ((points, images), (images, points)):
        assert np.quantile(cKDTree(other).query(one)[0], 0.999) <= pixel


def test_the_first_point_comes_from_a_fixed_point():
    system = ifs.sample(4, rng=3)
    start = system.fixed_point()
    np.testing.assert_allclose(system.maps[0, :, :2] @ start + system.maps[0, :, 2], start, atol=1e-12)
    first = system.points(1, rng=0)[0]
    assert min(np.abs(m[:, :2] @ start + m[:, 2] - first).max() for m in system.maps) < 1e-12


def test_searched_systems_fill_a_fifth():
    for seed in range(3):
        system = ifs.sample(method="search", rng=seed)
        picture = ifs.render(system.points(ifs.POINTS, rng=99), ifs.SIDE, "binary")
        assert np.count_nonzero(picture) >= 0.19 * ifs.SIDE**2  # other points than those it was accepted for


def test_runaway_points_are_left_out():
    points = np.array([[0.0, 0.0], [1.0, 1.0], [np.inf, 0.0], [np.nan, 1.0], [1e200, 0.0]])
    assert np.count_nonzero(ifs.render(points, 8, "binary")) == 2
    assert not ifs.render(np.full((3, 2), np.nan), 8).any()


def test_a_mask_is_pasted_around_every_point():
    points = np.array([[0.5, 0.5]])
    window = (np.zeros(2), np.ones(2))
    picture = ifs.render(points, 9, "patch", window, rng=5)
    mask = np.random.default_rng(5).integers(0, 2, (3, 3))
    wanted = np.zeros((9, 9), int)
    wanted[3:6, 3:6] = 127 * mask
    assert np.array_equal(picture, wanted)


@pytest.mark.parametrize("method", ["svd", "uniform", "search"])
def test_pictures_repeat_and_depend_on_seed_and_index(method):
    def make(seed):
        return synth.FractalClasses(3, 5, seed=seed, size=40, method=method, points=3000)

    one, again, other = make(0), make(0), make(1)
    later = again[7][0]  # out of turn
    assert np.array_equal(one[7][0], later)
    assert one[7][1] == 1
    assert len(one) == 15
    assert not np.array_equal(one[7][0], other[7][0])
    assert not np.array_equal(one[7][0], one[8][0])
    assert [one[i][1] for i in range(15)] == [0] * 5 + [1] * 5 + [2] * 5
    with pytest.raises(IndexError, match="0 to 14, not 15"):
        one[15]


def test_a_thousand_instances_without_a_repeat():
    pictures = synth.FractalClasses(1, INSTANCES, method="search")
    assert len({pictures.instance(k) for k in range(INSTANCES)}) == INSTANCES == 1000


def test_colour_has_a_background_everywhere():
    image, _ = synth.FractalClasses(2, 2, size=48, colour=True)[3]
    assert image.shape == (48, 48, 3)
    assert image.dtype == np.uint8
    assert len(np.unique(image.reshape(-1, 3), axis=0)) > 20


def test_several_fractals_in_a_picture():
    pictures = synth.MultiFractal(6, 40, seed=2, size=64, points=2000)
    counts = [int(pictures[i][1].sum()) for i in range(40)]
    assert set(counts) == {1, 2, 3, 4, 5}
    assert np.array_equal(pictures[11][0], pictures[11][0])
    assert all(pictures[i][0].any() for i in range(10))


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda: ifs.sample(1), "at least 2 maps"),
        (lambda: ifs.sample(3, "fern"), "'fern'"),
        (lambda: ifs.sample(3, rng="x"), "a seed"),
        (lambda: ifs.System(np.zeros((2, 2))), r"\(2, 2\)"),
        (lambda: ifs.System(np.zeros((2, 2, 3)), np.array([0.5, 0.6])), "sum 1"),
        (lambda: ifs.System(np.eye(2, 3)[None]).points(3), "fixed point"),
        (lambda: ifs.sierpinski().points(-1), "at least 0"),
        (lambda: ifs.render(np.zeros((3, 2)), 8, "colour"), "'colour'"),
        (lambda: ifs.render(np.zeros((3, 2)), 8, "patch"), "rng"),
        (lambda: ifs.render(np.zeros((3, 3)), 8), r"\(3, 3\)"),
        (lambda: synth.FractalClasses(1, 1001, method="search"), "1000"),
        (lambda: synth.FractalClasses(1, 1, method="fern"), "'fern'"),
        (lambda: synth.MultiFractal(4, 1), "num_classes 4"),
    ],
)
def test_wrong_calls_are_told(call, said):
    with pytest.raises(ArgumentError, match=said):
        call()
