"""Write the generated tables of the docs from the classes: run after adding a method, algebra, filter, kernel or error.

Each table stands between two comment lines, `<!-- table NAME -->` and `<!-- end -->`; everything else in a page is written by
hand. With --check nothing is written and the exit code says whether a page is out of date.
"""

import ast
import inspect
import itertools
import re
import sys
from collections.abc import Iterable
from pathlib import Path
from types import ModuleType

import faltung
from faltung import algebras, domains, errors, filters, init, kernels, look, methods, nn, tools

HERE = Path(__file__).parent


def rows(header: Iterable[str], lines: Iterable[Iterable[str]]) -> str:
    """A Markdown table."""
    names = list(header)
    body = ["| " + " | ".join(names) + " |", "|" + "---|" * len(names)]
    body += ["| " + " | ".join(str(cell).replace("|", "\\|") for cell in line) + " |" for line in lines]
    return "\n".join(body)


def first_line(thing: object) -> str:
    return (inspect.getdoc(thing) or "").partition("\n")[0]


def error_rows() -> Iterable[tuple[str, str, str]]:
    for name, kind in vars(errors).items():
        if isinstance(kind, type) and issubclass(kind, errors.FaltungError):
            builtin = [
                b.__name__
                for b in kind.__mro__[1:]
                if b.__module__ == "builtins" and b not in (Exception, BaseException, object)
            ]
            yield f"`{name}`", ", ".join(builtin) or "Exception", first_line(kind)


def results() -> str:
    """The measured tables, headings one level down."""
    pages = [path.read_text() for path in (HERE.parent / "benchmarks" / "results").glob("*-cores.md")]
    newest = max(pages, key=lambda text: re.findall(r"\d{4}-\d\d-\d\d", text.partition("\n")[0]))
    return re.sub(r"^(#+ )", r"#\1", newest.strip(), flags=re.MULTILINE)


def speed() -> str:
    """The summary alone."""
    lines = results().splitlines()
    start = next(n for n, line in enumerate(lines) if line.startswith("| class"))
    return "\n".join(itertools.takewhile(lambda line: line.startswith("|"), lines[start:]))


def door_rows() -> Iterable[tuple[str, str]]:
    return ((f"`faltung.{name}`", first_line(getattr(faltung, name))) for name in faltung.__all__ if name[0] != "_")


def recipe_rows() -> Iterable[tuple[str, str, str]]:
    """Every recipe with its first line and the page that it wrote."""
    recipes = HERE.parent / "recipes"
    for path in sorted(recipes.glob("*.py")):
        if path.stem != "recipe":
            doc = ast.get_docstring(ast.parse(path.read_text())) or ""
            page = recipes / "results" / f"{path.stem}.md"
            came = f"[{path.stem}](../recipes/results/{page.name})" if page.exists() else "not run in full yet"
            yield f"`recipes/{path.name}`", doc.partition("\n")[0], came


def operator_speed() -> str:
    """The measured table of operators."""
    lines = (HERE.parent / "benchmarks" / "results" / "operators.md").read_text().splitlines()
    return "\n".join(line for line in lines if line.startswith("|"))


def engine_rows() -> Iterable[tuple[str, str]]:
    """The operations around convolution; a module among them is a family of its own."""
    for name in faltung._ENGINE:
        thing = getattr(faltung, name)
        yield f"`{name}`", first_line(thing)


def rule_rows() -> Iterable[tuple[str, ...]]:
    """What the report looks for."""
    from faltung.report.page import WORDS
    from faltung.report.sections import ALL

    for section in ALL:
        for rule in section.rules:
            yield rule.id, section.name, rule.title, WORDS[rule.grade].lower(), rule.expected, rule.meaning


def names(room: ModuleType) -> Iterable[tuple[str, str]]:
    """What a room offers, with first lines."""
    found = ((name, getattr(room, name)) for name in room.__all__)
    return ((f"`{name}`", first_line(thing)) for name, thing in found if callable(thing))


def functions(room: ModuleType) -> Iterable[tuple[str, str]]:
    """As `names`, without the classes of results."""
    found = ((name, getattr(room, name)) for name in room.__all__)
    return ((f"`{name}`", first_line(thing)) for name, thing in found if inspect.isfunction(thing))


TABLES = {
    "recipes": lambda: rows(("recipe", "what it does", "what came"), recipe_rows()),
    "operator_speed": operator_speed,
    "look": lambda: rows(("`faltung.look.`", "what it says"), functions(look)),
    "tools": lambda: rows(("`faltung.tools.`", "what it does"), names(tools)),
    "functional": lambda: rows(("`faltung.nn.functional.`", "what it computes"), names(nn.functional)),
    "engine": lambda: rows(("`faltung.`", "what it computes"), engine_rows()),
    "init": lambda: rows(("`faltung.init.`", "what it draws"), names(init)),
    "methods": lambda: rows(
        ("method", "what it does", "kind", "source"),
        (
            (
                f"`{m.name}`",
                m.summary,
                "structured" if m.structured else "spreads NaN" if m.spreads else "general",
                m.source,
            )
            for m in methods.ALL
        ),
    ),
    "rules": lambda: rows(("rule", "section", "what is wrong", "grade", "expected", "what follows"), rule_rows()),
    "algebras": lambda: rows(
        ("algebra", "add, mul", "dtypes", "laws", "what it is for"),
        (
            (
                f"`{a.name}`",
                a.notation,
                ", ".join(a.dtypes),
                ", ".join(sorted(a.laws)),
                a.summary,
            )
            for a in algebras.ALL
        ),
    ),
    "domains": lambda: rows(("domain", "what it is"), ((f"`{d.name}`", d.summary) for d in domains.ALL)),
    "kernels": lambda: rows(
        ("kernel", "tool", "what it computes", "source"),
        ((f"`{k.name}`", k.tool, k.summary, k.source) for k in kernels.ALL),
    ),
    "filters": lambda: rows(
        ("filter", "what it is", "source"), ((f"`{f.name}`", f.summary, f.source) for f in filters.ALL)
    ),
    "errors": lambda: rows(("error", "is also a", "raised for"), error_rows()),
    "results": results,
    "speed": speed,
    "door": lambda: rows(
        ("call", "what it does"),
        ((f"`faltung.{n}`", first_line(getattr(faltung, n))) for n in faltung.__all__ if n[0] != "_"),
    ),
}


def filled(text: str) -> str:
    """The page with every table made anew."""
    return re.sub(
        r"(<!-- table (\w+) -->\n).*?(<!-- end -->)", lambda m: f"{m[1]}{TABLES[m[2]]()}\n{m[3]}", text, flags=re.DOTALL
    )


def main(check: bool) -> int:
    stale = []
    for page in (HERE.parent / "README.md", *sorted(HERE.glob("*.md"))):
        text = page.read_text()
        if (new := filled(text)) != text:
            stale.append(page.name)
            if not check:
                page.write_text(new)
    print(("out of date: " if check else "written: ") + (", ".join(stale) or "none"))
    return 1 if check and stale else 0


if __name__ == "__main__":
    sys.exit(main("--check" in sys.argv[1:]))
