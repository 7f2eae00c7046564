"""Write benchmarks/problems.txt: one line a problem, `class | name | filter | problem`. Run after changing a list below."""

from pathlib import Path

from faltung import Spec
from faltung.door import problem_of

DENSE, DEPTHWISE, PLAIN = "b c *s, o c *s -> b o *s", "b c *s, c *s -> b c *s", "*s, *s -> *s"
IMAGE = {"mode": "same", "boundary": "constant"}

# (name, channels in, out, size, taps, stride, groups) of the convolutions that make up each network, repeated shapes once.
RESNET50 = [
    ("stem", 3, 64, 224, 7, 2, 1), ("1x1 64-64", 64, 64, 56, 1, 1, 1), ("3x3 64", 64, 64, 56, 3, 1, 1),
    ("1x1 64-256", 64, 256, 56, 1, 1, 1), ("1x1 256-64", 256, 64, 56, 1, 1, 1), ("3x3 128 /2", 128, 128, 56, 3, 2, 1),
    ("3x3 128", 128, 128, 28, 3, 1, 1), ("1x1 128-512", 128, 512, 28, 1, 1, 1), ("3x3 256", 256, 256, 14, 3, 1, 1),
    ("1x1 256-1024", 256, 1024, 14, 1, 1, 1), ("3x3 512", 512, 512, 7, 3, 1, 1), ("1x1 2048-512", 2048, 512, 7, 1, 1, 1),
]  # fmt: skip
MOBILENETV2 = [
    ("stem", 3, 32, 224, 3, 2, 1), ("dw 32", 32, 32, 112, 3, 1, 32), ("dw 96 /2", 96, 96, 112, 3, 2, 96),
    ("1x1 16-96", 16, 96, 112, 1, 1, 1), ("dw 144", 144, 144, 56, 3, 1, 144), ("dw 384", 384, 384, 14, 3, 1, 384),
    ("1x1 64-384", 64, 384, 14, 1, 1, 1), ("dw 960", 960, 960, 7, 3, 1, 960), ("1x1 160-960", 160, 960, 7, 1, 1, 1),
]  # fmt: skip
CONVNEXT = [("stem", 3, 96, 224, 4, 4, 1), ("dw 96", 96, 96, 56, 7, 1, 96), ("dw 384", 384, 384, 14, 7, 1, 384)]
REPLKNET = [
    ("dw31 128", 128, 128, 56, 31, 1, 128),
    ("dw29 256", 256, 256, 28, 29, 1, 256),
    ("dw27 512", 512, 512, 14, 27, 1, 512),
]


def line(
    kind: str,
    name: str,
    x: tuple,
    k: tuple,
    pattern: str = PLAIN,
    hint: str = "random",
    dtype: str = "float32",
    **options,
) -> str:
    """One row of the corpus; options are those of `problem_of`, and host, unknown, out, x_dtype."""
    host = options.pop("host", "numpy")
    unknown = options.pop("unknown", "out")
    x_dtype = options.pop("x_dtype", dtype)
    out = options.pop("out", None)
    problem = problem_of(False, Spec(x, x_dtype), Spec(k, dtype), pattern, dtype=out, host=host, **options).gradient(
        unknown
    )
    return f"{kind} | {name} | {hint} | {problem.text}"


def layer(kind: str, net: str, batch: int, spec: tuple, dtype: str = "float32", **options) -> str:
    name, c, o, size, taps, stride, groups = spec
    pad = ((taps // 2 if taps != 4 else 0,) * 2,) * 2
    label = f"{net} {name} batch {batch}" + ("" if dtype == "float32" else f" {dtype}")
    x = (batch, c, size, size)
    if groups == 1:
        return line(kind, label, x, (o, c, taps, taps), DENSE, dtype=dtype, mode=pad, stride=stride, **options)
    return line(kind, label, x, (c, taps, taps), DEPTHWISE, dtype=dtype, mode=pad, stride=stride, **options)


def lines() -> list[str]:
    out = []
    big = (2048, 2048)
    out += [line("image", f"2048², {t}²", big, (t, t), **IMAGE) for t in (3, 7, 15, 31)]
    out += [line("image", "512², 5²", (512, 512), (5, 5), **IMAGE)]
    out += [line("image", "1080×1920×3, 15²", (1080, 1920, 3), (15, 15), "*s c, *s -> *s c", **IMAGE)]
    for sigma in (2, 8, 30):
        size = (2 * int(4 * sigma + 0.5) + 1,) * 2
        out.append(
            line("image", f"gaussian σ={sigma}", big, size, hint=f"gaussian:{sigma}", mode="same", boundary="symmetric")
        )
    out += [line("image", "box 31²", big, (31, 31), hint="box", mode="same", boundary="symmetric")]
    out += [
        line("image", f"7², {b}", big, (7, 7), mode="same", boundary=b)
        for b in ("edge", "reflect", "symmetric", "wrap")
    ]
    out += [line("image", "7², uint8", big, (7, 7), x_dtype="uint8", out="uint8", mode="same", boundary="reflect")]
    out += [line("signal", f"1M × {t}", (1_000_000,), (t,)) for t in (31, 1001, 100_000)]
    out += [line("signal", "60 s stereo × 3 s", (2, 2_646_000), (132_300,), "c *s, *s -> c *s")]
    for t in (1024, 2048):
        out.append(
            line("signal", f"64 × 64000 × {t} dense", (1, 64, 64_000), (64, 64, t), DENSE, mode="valid", host="torch")
        )
        out.append(
            line(
                "signal", f"64 × 64000 × {t} depthwise", (1, 64, 64_000), (64, t), DEPTHWISE, mode="valid", host="torch"
            )
        )
    out += [
        line("signal", "8×128×4096×1023 depthwise", (8, 128, 4096), (128, 1023), DEPTHWISE, mode="same", host="torch")
    ]
    out += [
        line("signal", "8×256×16384×63 depthwise", (8, 256, 16_384), (256, 63), DEPTHWISE, mode="same", host="torch")
    ]
    out += [line("volume", f"128³, {t}³", (128,) * 3, (t,) * 3, **IMAGE) for t in (5, 9)]
    out += [
        line("volume", "256³ gaussian σ=3", (256,) * 3, (25,) * 3, hint="gaussian:3", mode="same", boundary="symmetric")
    ]
    out += [line("volume", "8×8×32³, 8→8, 3³", (8, 8, 32, 32, 32), (8, 8, 3, 3, 3), DENSE, mode="same", host="torch")]
    out += [
        line("volume", "24⁴, 4→4, 3⁴", (1, 4, 24, 24, 24, 24), (4, 4, 3, 3, 3, 3), DENSE, mode="same", host="torch")
    ]
    for net, layers in (
        ("ResNet-50", RESNET50),
        ("MobileNetV2", MOBILENETV2),
        ("ConvNeXt-T", CONVNEXT),
        ("RepLKNet-31", REPLKNET),
    ):
        out += [layer("dense", net, batch, spec, host="torch") for batch in (1, 8) for spec in layers]
    for dtype in ("float64", "float16", "bfloat16"):
        out += [layer("dtypes", "ResNet-50", 1, RESNET50[i], dtype, host="torch") for i in (2, 3, 8)]
    out += [layer("dtypes", "ResNet-50", 1, RESNET50[2], "int32", host="torch")]
    out += [line("dtypes", "complex64 1-D 100k × 255", (100_000,), (255,), dtype="complex64")]
    out += [line("dtypes", "complex64 2-D 512², 9²", (512, 512), (9, 9), dtype="complex64", mode="same")]
    for unknown in ("x", "k"):
        grad = {"unknown": unknown, "host": "torch", "mode": "same"}
        out.append(line("gradients", f"31² depthwise, {unknown}", (1, 64, 56, 56), (64, 31, 31), DEPTHWISE, **grad))
        out.append(line("gradients", f"1024 taps, {unknown}", (4, 16, 16_384), (16, 1024), DEPTHWISE, **grad))
        out.append(line("gradients", f"3×3 dense, {unknown}", (8, 64, 56, 56), (64, 64, 3, 3), DENSE, **grad))
    out += [line("algebras", f"dilation {t}²", big, (t, t), over="max-plus", **IMAGE) for t in (3, 7, 15)]
    out += [line("algebras", "flat dilation 31²", big, (31, 31), hint="zeros", over="max-plus", **IMAGE)]
    out += [line("algebras", "boolean 1024², 9²", (1024, 1024), (9, 9), dtype="bool", **IMAGE)]
    # The hint says what is done: this pass along the rows, then one with the same filter along the columns.
    out += [line("algebras", "distance transform 2048²", big, (1, 4095), hint="distance", over="min-plus", **IMAGE)]
    out += [line("algebras", "min-plus 10⁴ × 10⁴", (10_000,), (10_000,), over="min-plus", **IMAGE)]
    for label, terms in (("10⁴", 10_000), ("10⁵", 100_000)):
        out += [line("algebras", f"integer product {label} terms", (terms,), (terms,), dtype="int16")]
    out += [
        line("small", "100 × 10", (100,), (10,), dtype="float64"),
        line("small", "32² × 3²", (32, 32), (3, 3), dtype="float64"),
    ]
    return out


if __name__ == "__main__":
    target = Path(__file__).parent / "problems.txt"
    target.write_text("# class | name | filter | problem\n" + "\n".join(lines()) + "\n")
    print(target)
