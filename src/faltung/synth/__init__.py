"""Data made by convolution and iteration: endless labelled images without a download, and augmentations that are exact and repeat.

system = synth.ifs.sample(3, rng=0)             a random fractal, contracting by construction
image = synth.ifs.render(system.points(100_000, rng=0), 224)
synth.FractalClasses(100, 1000, seed=0)[17]     (image, label), the same on every machine
synth.plasma((480, 640), 0.5, generator=0)      clouds by zero-stuffing and two small convolutions a level
synth.hybrid_augment(x, generator=0)            other images' high frequencies; hybrid_single(x): another version's
synth.Cascade([synth.LocalAugment(synth.warp, fields=2), synth.LocalAugment(synth.brighten)])    for image, mask and points
"""

from faltung.synth import ifs as ifs
from faltung.synth.classwise import ClasswiseConv as ClasswiseConv
from faltung.synth.composed import Cascade as Cascade
from faltung.synth.composed import Choice as Choice
from faltung.synth.fractals import FractalClasses as FractalClasses
from faltung.synth.fractals import MultiFractal as MultiFractal
from faltung.synth.front_ends import haar_bands as haar_bands
from faltung.synth.front_ends import haar_join as haar_join
from faltung.synth.front_ends import phase_only as phase_only
from faltung.synth.hybrid import hybrid_augment as hybrid_augment
from faltung.synth.hybrid import hybrid_both as hybrid_both
from faltung.synth.hybrid import hybrid_single as hybrid_single
from faltung.synth.hybrid import split_bands as split_bands
from faltung.synth.hybrid import swap_amplitude as swap_amplitude
from faltung.synth.local import LocalAugment as LocalAugment
from faltung.synth.local import blend as blend
from faltung.synth.local import brighten as brighten
from faltung.synth.local import tint as tint
from faltung.synth.operations import vary as vary
from faltung.synth.plasma import plasma as plasma
from faltung.synth.sharpening import low_cosines as low_cosines
from faltung.synth.sharpening import sharpen as sharpen
from faltung.synth.sharpening import sharpening_kernels as sharpening_kernels
from faltung.synth.tiles import rotations as rotations
from faltung.synth.tiles import scramble as scramble
from faltung.synth.warping import warp as warp
