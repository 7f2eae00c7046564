"""Products of features: polynomial convolutions, learnt activations, layers between Walsh–Hadamard transforms."""

from faltung.nn.base import Layer
from faltung.nn.polynomial.conv import PolynomialConv
from faltung.nn.polynomial.fourier import FourierActivation
from faltung.nn.polynomial.hadamard import HadamardPerceptron
from faltung.nn.polynomial.hermite import HermiteActivation
from faltung.nn.polynomial.quasilinear import ChannelSphere, QuasilinearBlock
from faltung.nn.polynomial.quasilinear import quasilinear_network as quasilinear_network
from faltung.nn.polynomial.tropical import TropicalActivation

ALL: tuple[type[Layer], ...] = (
    PolynomialConv, HadamardPerceptron, HermiteActivation, FourierActivation, TropicalActivation, QuasilinearBlock,
    ChannelSphere,
)  # fmt: skip
