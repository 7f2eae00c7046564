"""Languages measured: matching against `re` and `re2`, patterns that break backtracking, and the eight languages of the paper.

    python benchmarks/language.py            writes results/language.md and docs/pictures/language.svg

All contenders take turns in one process; figures are medians. `google-re2` takes part where it is installed.
"""

import math
import random
import re
import statistics
import sys
import time
from collections.abc import Callable
from functools import partial
from itertools import cycle, islice
from pathlib import Path
from typing import Any

from timing import cpu, mean, once, rows, settle, span, write

settle()

from faltung import language
from faltung.language import Trie, one, parse, rec

try:
    import re2
except ImportError:
    re2 = None

PICTURE = Path(__file__).parent.parent / "docs" / "pictures" / "language.svg"
SIZE = 200_000
LIMIT = 2.0  # seconds: a longer call is not made
TURNS, ENOUGH = (3, 15), 1.0  # least and most turns of one comparison; seconds after which it ends

# name, pattern, text: what is found often, seldom and never
ORDINARY = (
    ("a word in prose, never there", r"Faltung", "prose"),
    ("a word in prose, now and then", r"whale", "prose"),
    ("one of eight words", r"apple|berry|cherry|date|elder|fig|grape|honey", "prose"),
    ("ignoring case", r"(?i)whale", "prose"),
    ("numbers", r"[0-9]+", "prose"),
    ("every word", r"[a-z]+", "prose"),
    ("every word, with boundaries", r"\b\w+\b", "prose"),
    ("words that end in ing", r"[a-z]+ing\b", "prose"),
    ("dates", r"\d{4}-\d{2}-\d{2}", "prose"),
    ("addresses", r"[a-z0-9.]+@[a-z0-9]+\.[a-z]{2,3}", "prose"),
    ("whole lines", r"(?m)^.*whale.*$", "prose"),
    ("never there, ambiguous start", r"(?:[a-z]+ )+X", "short"),
    ("umlauts in UTF-32", r"[äöü]\w+", "wide"),
)
FULL = (
    ("all small letters and spaces", r"[a-z0-9.,@\n -]*", "prose"),
    ("words between spaces", r"(?:[^ ]+ )*[^ ]+", "prose"),
    ("three alternatives", r"(?:[a-m]|[n-z]|[^a-z])*", "prose"),
)
PUBLISHED = {  # microseconds: regexp and trie, each with children in a map
    "a*": (22.45, 2.624), "letters*": (690.9, 3.574), "a* a*": (1274.0, 2.619), "a* b*": (36.59, 2.789),
    "a* b a*": (49.21, 2.798), "letters* fish letters*": (2528.0, 4.233), "aⁿbⁿ": (None, 2.770), "Dyck": (None, 3.062),
}  # fmt: skip
DYCK = "[[[[[[]][[[[]]]][[[[]]]][[[]]][]][[[[]]]]]][]][[[]]][[[[]]]][[[[[[[]]][[[[]]]][[[]]][]][[[[]]]]]][]]"


def texts() -> dict[str, str]:
    """Prose made of random words with numbers, dates and lines; a short one; one with letters beyond Latin-1."""
    r = random.Random(1)
    letters = "etaoinshrdlucmfwypvbgkjqxz"
    words = ["".join(r.choices(letters, [26 - i for i in range(26)], k=r.randint(2, 9))) for _ in range(3000)]
    out, size = [], 0
    while size < SIZE:
        pick = r.random()
        word = ("whale" if pick < 0.003 else "apple" if pick < 0.004 else f"{r.randint(1, 9999)}" if pick < 0.02
                else "2024-03-17" if pick < 0.021 else "who@where.org" if pick < 0.022 else r.choice(words))  # fmt: skip
        out.append(word + ("\n" if r.random() < 0.08 else " "))
        size += len(out[-1])
    prose = "".join(out).rstrip()
    wide = prose.replace("a", "ä", 2000).replace("whale", "жук")
    return {"prose": prose, "short": prose[:20_000], "wide": wide}


def interleaved(calls: dict[str, Callable]) -> tuple[dict[str, float], dict[str, Any]]:
    """Median seconds of each call, A B C A B C ..., after one turn to warm up; calls of microseconds are repeated in a turn."""
    results = {label: call() for label, call in calls.items()}
    repeats = {label: max(1, int(5e-4 / max(once(call), 1e-7))) for label, call in calls.items()}
    times: dict[str, list[float]] = {label: [] for label in calls}
    begun = time.perf_counter()
    for turn in range(TURNS[1]):
        if turn >= TURNS[0] and time.perf_counter() - begun > ENOUGH:
            break
        for label, call in calls.items():
            times[label].append(once(call, repeats[label]))
    return {label: statistics.median(t) for label, t in times.items()}, results


def everything(module: Any, pattern: str) -> Callable[[str], int]:
    """How many matches a text has, by one library."""
    compiled = module.parse(pattern) if module is language else module.compile(pattern)
    return lambda text: sum(1 for _ in compiled.finditer(text))


def whole(module: Any, pattern: str) -> Callable[[str], bool]:
    """Whether the whole text matches, by one library."""
    compiled = module.parse(pattern) if module is language else module.compile(pattern)
    return lambda text: compiled.fullmatch(text) is not None


def ordinary(given: dict[str, str]) -> list[str]:
    """Warm and cold speed relative to re; above 1 we are faster."""
    peers = {"ours": language, "re": re, **({"re2": re2} if re2 else {})}
    out = []
    for title, cases, make in (("all matches of a text", ORDINARY, everything), ("the whole text", FULL, whole)):
        lines, ratios, others = [], [], []
        for name, pattern, which in cases:
            text = given[which]
            print(name, file=sys.stderr)
            warm = {label: make(module, pattern) for label, module in peers.items()}
            seconds, results = interleaved({label: partial(f, text) for label, f in warm.items()})
            cold, _ = interleaved({label: partial(fresh, m, make, pattern, text) for label, m in peers.items()})
            ratio = seconds["re"] / seconds["ours"]
            ratios.append(ratio)
            others.append(seconds.get("re2", math.nan) / seconds["ours"])
            agree = "" if results["ours"] == results["re"] else f" (longest: {results['ours']}, re: {results['re']})"
            lines.append((
                f"{name}: `{pattern}`".replace("|", "\\|"), f"{len(text) / seconds['ours'] / 1e6:.0f}", f"{ratio:.2f}",
                f"{others[-1]:.2f}", f"{cold['re'] / cold['ours']:.2f}", f"{results['ours']}{agree}",
            ))  # fmt: skip
        lines.append(("geometric mean", "", mean(ratios), mean(others), "", ""))
        header = ("pattern", "million letters/s", "re ÷ ours", "re2 ÷ ours", "re ÷ ours, cold", "found")
        out += [f"## Against re and re2: {title}", "", rows(header, lines), ""]
    words = ["someone@example.com", "no address", "x@y.de"]
    lines = []
    for name, pattern in (("address", r"[a-z]+@[a-z]+\.com"), ("number", r"[+-]?\d+(\.\d+)?")):
        for call in ("fullmatch", "search"):
            calls = {
                label: getattr((m.parse if m is language else m.compile)(pattern), call) for label, m in peers.items()
            }
            seconds, _ = interleaved({k: lambda f=f: [f(w) for w in words * 20] for k, f in calls.items()})
            ours = seconds["ours"] / 60
            lines.append((f"{call} of one {name}", span(ours), f"{seconds['re'] / seconds['ours']:.2f}",
                          f"{seconds.get('re2', math.nan) / seconds['ours']:.2f}"))  # fmt: skip
    return [*out, "## Words of a dozen letters", "", rows(("call", "ours", "re ÷ ours", "re2 ÷ ours"), lines), ""]


def fresh(module: Any, make: Callable, pattern: str, text: str) -> Any:
    """A library's answer with nothing remembered from before."""
    if module is re:
        re.purge()
    return make(module, pattern)(text)


def expected(points: list[tuple[int, float]], n: int) -> float:
    """Seconds at a size, from the last two: by a power of the size, or exponential where that explains them better."""
    (a, s), (b, t) = points[-2:]
    growth = math.log(max(t / s, 1.0))
    exponential = growth / (b - a) > 0.1 and t > 1e-4
    return t * math.exp(growth * (n - b) / (b - a)) if exponential else t * (n / b) ** (growth / math.log(b / a))


def pathological() -> list[str]:
    """Seconds against length for patterns on which backtracking takes exponential time; a picture and a table."""
    import matplotlib

    matplotlib.use("Agg")
    matplotlib.rcParams["svg.hashsalt"] = "faltung"
    from matplotlib import pyplot

    families = (
        ("(a?)ⁿaⁿ on aⁿ", lambda n: (f"(?:a?){{{n}}}a{{{n}}}", "a" * n), (4, 8, 12, 16, 20, 24, 32, 64, 128, 256, 512)),
        ("(a|aa)*b on aⁿ", lambda n: ("(?:a|aa)*b", "a" * n), (4, 8, 16, 24, 32, 128, 1024, 8192, 65536, 524288)),
        ("(a*)*b on aⁿ", lambda n: ("(?:a*)*b", "a" * n), (4, 8, 16, 24, 32, 128, 1024, 8192, 65536, 524288)),
    )
    figure, axes = pyplot.subplots(1, 3, figsize=(11, 3.4), sharey=True)
    lines = []
    for (name, make, sizes), axis in zip(families, axes, strict=True):
        for label, module in {"re": re, **({"re2": re2} if re2 else {}), "ours": language}.items():
            points = []
            for n in sizes:
                if len(points) > 1 and expected(points, n) > LIMIT:
                    break
                pattern, text = make(n)
                f = whole(module, pattern)
                best = math.inf
                for turn in range(3):  # states are made in the first
                    start = time.perf_counter()
                    f(text)
                    best = min(best, time.perf_counter() - start)
                    if best > 0.1 and turn:
                        break
                points.append((n, best))
            axis.loglog(*zip(*points, strict=True), marker=".", label={"ours": "faltung"}.get(label, label))
            last = points[-1]
            lines.append((name.replace("|", "\\|"), {"ours": "faltung"}.get(label, label), f"n = {last[0]}: {span(last[1])}",
                          "stopped here" if last[0] < sizes[-1] else "end of the list"))  # fmt: skip
        axis.set_title(name, fontsize=10)
        axis.set_xlabel("n")
        axis.grid(alpha=0.3)
    axes[0].set_ylabel("seconds, warm")
    axes[0].legend(frameon=False)
    figure.tight_layout()
    figure.savefig(PICTURE, metadata={"Date": None})
    return ["## Patterns that break backtracking", "", "![seconds against length](../../docs/pictures/language.svg)", "",
            rows(("pattern", "library", "largest measured", ""), lines), ""]  # fmt: skip


def published() -> list[str]:
    """The eight languages of the paper, 100 letters, over counts: its times beside ours, cold and warm."""
    letters = "abcdefghijklmnopqrstuvwxyz"
    many = "".join(islice(cycle(letters), 48))
    t_a, t_b, t_all = Trie.letters("a"), Trie.letters("b"), Trie.letters(letters)
    cases: tuple[tuple[str, str, Callable, Callable], ...] = (
        ("a*", "a" * 100, lambda: parse("a*"), lambda: t_a.star()),
        ("letters*", "asdf" * 25, lambda: parse("[a-z]*"), lambda: t_all.star()),
        ("a* a*", "a" * 100, lambda: parse("a*a*"), lambda: t_a.star() * t_a.star()),
        ("a* b*", "a" * 50 + "b" * 50, lambda: parse("a*b*"), lambda: t_a.star() * t_b.star()),
        ("a* b a*", "a" * 50 + "b" + "a" * 49, lambda: parse("a*ba*"), lambda: t_a.star() * t_b * t_a.star()),
        ("letters* fish letters*", many + "fish" + many, lambda: parse("[a-z]*fish[a-z]*"),
         lambda: t_all.star() * Trie.of_words(["fish"]) * t_all.star()),
        ("aⁿbⁿ", "a" * 50 + "b" * 50, lambda: rec(lambda s: one | "a" * s * "b"),
         lambda: Trie.rec(lambda s: Trie.one() | t_a * (s * t_b))),
        ("Dyck", DYCK, lambda: rec(lambda s: ("[" * s * "]").star()),
         lambda: Trie.rec(lambda s: (Trie.letters("[") * (s * Trie.letters("]"))).star())),
    )  # fmt: skip
    lines = []
    for name, word, make, trie in cases:
        warm, walked = make(), trie()
        miss = word[:-1] + "!"
        seconds, results = interleaved({
            "truth": lambda p=warm, w=word: p.accepts(w), "count": lambda p=warm, w=word: p.weight(w),
            "trie": lambda t=walked, w=word: t.weight(w), "miss": lambda t=walked, w=miss: t.weight(w),
            "count cold": lambda f=make, w=word: f().weight(w), "trie cold": lambda f=trie, w=word: f().weight(w),
        })  # fmt: skip
        assert results["count"] == results["trie"] > 0, name
        regexp, theirs = PUBLISHED[name]
        lines.append((
            name, results["count"], "none" if regexp is None else span(regexp * 1e-6), span(theirs * 1e-6),
            *(span(seconds[k]) for k in ("trie", "trie cold", "miss", "count", "count cold", "truth")),
        ))  # fmt: skip
    header = ("language", "ways", "published: regexp", "published: trie", "our trie", "trie, cold", "trie, no match",
              "count, compiled", "count, cold", "truth")  # fmt: skip
    notes = (
        "The published figures are for compiled Haskell on a laptop of 2013 and for words that have been read before: about 26 ns "
        "a letter of walking a trie that is already there. *Cold* makes the language anew for every word, *no match* differs in "
        "the last letter. *Count, compiled* is the position automaton's kernel, for the two grammars a parse forest, which keeps "
        "nothing from word to word; *truth* is the table of derivatives, for the grammars the forest without weights."
    )
    return ["## The eight languages of the paper", "", notes, "", rows(header, lines), ""]


def main() -> None:
    """Measure everything and write the page."""
    given = texts()
    head = [
        "# Languages", "", f"Measured on {cpu()}; medians of calls in turns. A ratio above 1 means that faltung is faster.", "",
        "`re` finds the first alternative that matches, faltung and re2's longest mode the longest; where that makes another "
        "number of matches, both are given. re2 is called through its Python wrapper, which encodes the text to UTF-8 on every "
        "call.", "",
    ]  # fmt: skip
    write("language", "\n".join([*head, *ordinary(given), *pathological(), *published()]))


if __name__ == "__main__":
    main()
