"""Problems that exercise one kind of work each, for measuring rates: every kind of work in one line or more."""

REALS = ("float32", "float64")
NUMBERS = (*REALS, "complex64", "complex128")
ROWS = (*NUMBERS, "int64", "uint64", "bool")
_OVER = {"complex64": "complex", "complex128": "complex", "int64": "integer", "uint64": "integer", "bool": "boolean"}


def _line(pattern: str, x: str, k: str, dtype: str, pad: int = 0, extra: str = "") -> str:
    letters = pattern.split(",")[1].split("->")[0].split()
    ndim = len(k.split("x")) - len(letters) + 1
    pads = ",".join([f"{pad}:{pad}"] * ndim)
    over = f" algebra={_OVER[dtype]}" if dtype in _OVER else ""
    return f'correlate "{pattern}" x={x}:{dtype} k={k}:{dtype} out={dtype} pad={pads} {extra}{over}'.strip()


def every_kind(torch: bool) -> list[tuple[str, str]]:
    """(method, problem line), one or more for every kind of work; torch's own where it is at hand."""
    plain, dense, batch = "*s, *s -> *s", "b c *s, o c *s -> b o *s", "b *s, *s -> b *s"
    last, each = "b *s c, o c *s -> b *s o", "c *s, c *s -> c *s"
    lines = [("direct", _line(plain, "64", "8", "float64")), ("direct", _line(batch, "40000x24", "3", "float32"))]
    lines += [("direct", _line(plain, "512x1024", "7x7", t)) for t in ROWS]
    lines += [("direct", _line(plain, "512x1024", "5x5", t, extra="stride=1x2")) for t in REALS]
    for t in ("float32", "float64", "int64"):
        lines.append(("blocks", _line(plain, "512x1024", "17x17", t, 8)))
        lines.append(("blocks", _line(plain, "2048x2048", "3x3", t, 1)))
        lines.append(("blocks", _line(dense, "2x256x14x14", "256x256x3x3", t, 1)))
        lines.append(("indirect", _line(last, "4x28x28x128", "128x128x3x3", t, 1)))
        lines.append(("indirect", _line(last, "2x112x112x4", "32x4x1x1", t)))
    for t in REALS:
        for method in ("direct", "blocks"):
            lines.append((method, _line(plain, "10000", "4000", t, 2000, "algebra=max-plus")))
            lines.append((method, _line(plain, "512x1024", "7x7", t, 3, "algebra=max-plus")))
        lines.append(("window", _line(plain, "2048x2048", "31x31", t, 15)))
        lines += [(m, _line(plain, "116x182x17", "3x3x3", t, 1)) for m in ("passes", "window")]
        lines += [
            ("passes", _line(plain, "128x128x128", "7x7x7", t)),
            ("passes", _line(plain, "1024x1024", "21x21", t)),
        ]
        lines.append(("pointwise", _line(dense, "8x16x24x24", "16x16x1x1", t, extra="stride=2x2")))
        lines.append(("envelope", _line(batch, "512x1024", "2047", t, 1023, "algebra=min-plus")))
        lines.append(("indirect", _line(dense, "4x64x56x56", "64x64x1x1", t)))
        lines.append(("winograd", _line(last, "4x56x56x32", "32x32x3x3", t, 1)))
        lines.append(("winograd", _line(last, "1x8x8x256", "256x256x3x3", t, 1)))
        lines += [("overlap", _line(plain, "x".join(x), "x".join(k), t)) for x, k in (
            (("1000000",), ("32",)), (("1000000",), ("1001",)), (("300000",), ("9001",)), (("1024", "1024"), ("11", "11")),
            (("1024", "1024"), ("63", "63")), (("96", "96", "96"), ("7", "7", "7")),
        )]  # fmt: skip
        lines.append(("overlap", _line(dense, "1x16x65536", "16x16x63", t)))
        lines += [
            ("negacyclic", _line(each, f"{max(1, (1 << 17) // n)}x{2 * n}", f"{max(1, (1 << 17) // n)}x{n}", t, n - 1))
            for n in (256, 1024, 4096, 16384, 65536, 262144)
        ]
    lines.append(("blocks", _line(plain, "16x16", "3x3", "float32", 1)))
    lines.append(("overlap", _line(plain, "100", "20", "float32")))
    lines.append(("running", _line(batch, "512x4096", "31", "float32")))
    lines.append(("running", _line(plain, "2048x2048", "31x31", "float32")))
    lines.append(("fft", _line(plain, "200", "20", "float32")))
    lines.append(("indirect", _line(last, "1x8x8x8", "16x8x3x3", "float32", 1)))
    lines.append(("segments", _line(plain, "512x512", "15x15", "float32")))
    lines.append(("segments", _line(dense, "1x48x32768", "48x48x512", "float32")))
    lines.append(("definition", _line(plain, "256x256", "5x5", "float32")))
    return lines + _exact_lines() + _set_lines() + (_torch_lines() if torch else [])


def _exact_lines() -> list[tuple[str, str]]:
    whole = 'convolve "*s, *s -> *s" x=50000:int16 k=50000:int16 out=int64 pad=49999:49999 algebra=integer'
    count = 'convolve "*s, *s -> *s" x=4000:object k=4000:object out=object pad=3999:3999 algebra=count'
    short = 'convolve "*s, *s -> *s" x={0}:{1} k={0}:{1} out={1} pad={2}:{2} algebra={3}'
    lines = [
        ("limbs", whole),
        ("ntt", whole.replace("50000", "100").replace("49999", "99")),
        ("ntt", whole),
        ("ntt", count),
    ]
    lines += [("karatsuba", short.format(n, "int64", n - 1, "modular(998244353)")) for n in (8, 2000)]
    lines.append(("karatsuba", short.format(2000, "int64", 1999, f"modular({2**61 - 1})")))
    return [*lines, ("karatsuba", short.format(200, "object", 199, "rational"))]


def _set_lines() -> list[tuple[str, str]]:
    sets = 'convolve "{}" x={}:{} k={}:{} out={} domain={}'
    pairs, bits = "b *s, b *s -> b *s", "b c *s, o c *s -> b o *s"
    lines = [("walsh", sets.format(bits, "16x16x1024", "float64", "16x16x1024", "float64", "float64", "dyadic"))]
    for t in REALS:
        lines.append(("scatter", sets.format(pairs, "8x512", t, "8x512", t, t, "cyclic(512)")))
        lines.append(("walsh", sets.format(pairs, "128x4096", t, "128x4096", t, t, "dyadic")))
    return lines


def _torch_lines() -> list[tuple[str, str]]:
    dense, depthwise = "b c *s, o c *s -> b o *s", "b c *s, c *s -> b c *s"
    lines = [_line(dense, "1x8x64", "8x8x3", "float32", 1, "host=torch")]
    lines.append(_line(depthwise, "1x64x8192", "64x63", "float32", 31, "host=torch"))
    lines.append(_line(dense, "4x64x56x56", "64x64x1x1", "float32", 0, "host=torch"))
    for dtype, batch in (("float32", 4), ("float64", 1)):
        shape = f"{batch}x64x56x56"
        lines.append(_line(dense, shape, "64x64x3x3", dtype, 1, "host=torch"))
        lines.append(_line(depthwise, shape, "64x7x7", dtype, 3, "host=torch"))
    return [("onednn", line) for line in lines]
