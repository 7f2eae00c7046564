"""Patterns in the syntax of Python's `re` as terms: everything in it that is regular.

Back-references, look-around, conditionals, atomic groups and possessive quantifiers are refused by name. A lazy quantifier
means the same words as a greedy one. Each function reads one level of the syntax: alternatives, sequence, piece, class, escape.
"""

import re
import unicodedata
from dataclasses import dataclass
from typing import NoReturn

from faltung.errors import ArgumentError
from faltung.language import charset, terms
from faltung.language.charset import BYTES, UNICODE, Ranges
from faltung.language.terms import Term

NESTED = 200  # levels of parentheses
FLAGS = {"i": re.I, "s": re.S, "x": re.X, "m": re.M, "a": re.A, "u": re.U, "L": re.L}
CONTROL = {"a": 7, "b": 8, "f": 12, "n": 10, "r": 13, "t": 9, "v": 11, "\\": 92}
SPACE, DIGITS, OCTAL, HEX = frozenset(" \t\n\r\v\f"), "0123456789", "01234567", "0123456789abcdefABCDEF"
PLACES = {"A": "start", "Z": "end", "b": "boundary", "B": "no boundary"}
REFUSED = {
    "?=": "look-ahead", "?!": "look-ahead", "?<=": "look-behind", "?<!": "look-behind", "?P=": "a back-reference",
    "?(": "a conditional", "?>": "an atomic group",
}  # fmt: skip


class PatternError(ArgumentError):
    """A pattern that is not written as a regular expression; `position` is where reading stopped."""

    position: int = 0


@dataclass(frozen=True)
class Parsed:
    """A pattern's term, the names of its groups by number, and whether it is about bytes."""

    term: Term
    groups: tuple[str | None, ...]
    binary: bool


def read(pattern: str | bytes, flags: int = 0) -> Parsed:
    """The term of a pattern; PatternError shows the place with a caret and says what was expected."""
    if not isinstance(pattern, str | bytes):
        raise ArgumentError.of(
            "language.parse", "a pattern as str or bytes", type(pattern).__name__, "pass the pattern's text"
        )
    reader = _Reader(pattern, int(flags))
    term = reader.alternatives(reader.flags, 0)
    if reader.at < len(reader.text):
        reader.fail("the end of the pattern", "an unbalanced parenthesis", "escape it as \\)")
    return Parsed(term, tuple(reader.groups), reader.binary)


class _Reader:
    def __init__(self, pattern: str | bytes, flags: int) -> None:
        self.binary = isinstance(pattern, bytes)
        self.pattern = pattern
        self.text = pattern.decode("latin-1") if isinstance(pattern, bytes) else pattern
        self.size = BYTES if self.binary else UNICODE
        self.at, self.groups, self.open = 0, list[str | None](), 0
        known = sum(FLAGS.values())
        if flags & ~int(known) or flags & re.L or (self.binary and flags & re.U) or (flags & re.A and flags & re.U):
            raise ArgumentError.of(
                "language.parse", "flags among I, S, X, M and A", f"{flags:#x}", "leave the others out"
            )
        self.flags = flags | self.leading_flags()

    # -- errors and tokens ------------------------------------------------------------------------------------------------

    def fail(self, expected: str, came: str, remedy: str, at: int | None = None) -> NoReturn:
        """Raise PatternError with the line of the pattern and a caret below the place."""
        at = self.at if at is None else at
        start = self.text.rfind("\n", 0, at) + 1
        stop = self.text.find("\n", start)
        line = self.text[start : stop if stop >= 0 else None]
        shown = line[max(0, at - start - 60) : at - start + 60]
        caret = " " * min(at - start, 60) + "^"
        message = f"pattern, position {at}: expected {expected}, but got {came}; {remedy}\n    {shown}\n    {caret}"
        error = PatternError(message)
        error.position = at
        raise error

    def peek(self, count: int = 1) -> str:
        return self.text[self.at : self.at + count]

    def take(self, token: str) -> bool:
        if self.text.startswith(token, self.at):
            self.at += len(token)
            return True
        return False

    def digits(self, allowed: str, most: int) -> str:
        start = self.at
        while self.at < len(self.text) and self.at - start < most and self.text[self.at] in allowed:
            self.at += 1
        return self.text[start : self.at]

    def leading_flags(self) -> int:
        """`(?i)` and its like at the very start hold for the whole pattern."""
        found = 0
        while (m := re.compile(r"\(\?([a-zA-Z]+)\)").match(self.text, self.at)) is not None:
            self.at += 2
            found |= self.letters(m[1])
            self.at += 1
        return found

    def letters(self, word: str) -> int:
        """Flag letters as bits."""
        bits = 0
        for c in word:
            if c not in FLAGS or c == "L" or (c == "u" and self.binary):
                self.fail("flags among i, s, x, m, a", repr(c), "leave it out")
            if c in "au" and bits & (re.A | re.U) & ~FLAGS[c]:
                self.fail("one of the flags a and u", "both", "leave one out")
            bits |= FLAGS[c]
            self.at += 1
        return bits

    # -- levels -----------------------------------------------------------------------------------------------------------

    def alternatives(self, flags: int, depth: int) -> Term:
        if depth > NESTED:
            self.fail(f"at most {NESTED} levels of parentheses", "more", "write the pattern flatter")
        branches = [self.sequence(flags, depth)]
        while self.take("|"):
            branches.append(self.sequence(flags, depth))
        return terms.union(branches)

    def sequence(self, flags: int, depth: int) -> Term:
        items: list[Term] = []
        before = ""  # what a quantifier would repeat: nothing, a place, an item, or something repeated already
        while self.at < len(self.text) and self.text[self.at] not in "|)":
            start, c = self.at, self.text[self.at]
            if flags & re.X and c in SPACE:
                self.at += 1
            elif flags & re.X and c == "#":
                end = self.text.find("\n", self.at)
                self.at = len(self.text) if end < 0 else end + 1
            elif self.take("(?#"):
                end = self.text.find(")", self.at)
                if end < 0:
                    self.fail("a closing parenthesis", "a comment without end", "close it", start)
                self.at = end + 1
            elif c in "*+?" or (c == "{" and self.counts(look=True) is not None):
                if before in ("", "place"):
                    self.fail("something to repeat", repr(c), f"escape it as \\{c}")
                if before == "repeated":
                    self.fail("one quantifier", f"another one, {c!r}", "put the first into (?:...)")
                items[-1], before = self.repeated(items[-1]), "repeated"
            else:
                items.append(self.item(flags, depth))
                before = "place" if items[-1].kind == "place" and c != "(" else "item"
        return terms.concat(items)

    def counts(self, look: bool = False) -> tuple[int, int | None] | None:
        """`{m}`, `{m,}`, `{,n}` or `{m,n}`; None where the brace is an ordinary character."""
        m = re.compile(r"\{(\d*)(,?)(\d*)\}", re.A).match(self.text, self.at)
        if m is None or (not m[1] and not m[2]):
            return None
        if not look:
            self.at = m.end()
        if max(len(m[1]), len(m[3])) > 10:
            self.fail("a smaller number of repetitions", "one of more than ten digits", "use *")
        least = int(m[1] or 0)
        most = least if not m[2] else int(m[3]) if m[3] else None
        if most is not None and most < least:
            self.fail("counts in order", f"at least {least} and at most {most}", "swap them")
        return least, most

    def repeated(self, item: Term) -> Term:
        start = self.at
        least, most = {"*": (0, None), "+": (1, None), "?": (0, 1)}.get(self.peek(), (-1, None))
        if least < 0:
            least, most = self.counts() or (1, 1)
        else:
            self.at += 1
        if self.peek() == "+":
            self.fail("a greedy or lazy quantifier", "a possessive one", "leave the second + out", start)
        self.take("?")  # lazy: the same words
        return terms.repeat(item, least, most)

    def item(self, flags: int, depth: int) -> Term:
        c = self.text[self.at]
        if c == "(":
            return self.parenthesis(flags, depth)
        if c == "[":
            return terms.chars(self.bracket(flags))
        if c == "\\":
            return self.escape(flags)
        self.at += 1
        if c == ".":
            every: Ranges = ((0, self.size - 1),)
            return terms.chars(every if flags & re.S else charset.complement(((10, 10),), self.size))
        if c == "^":
            return terms.place("line start" if flags & re.M else "start")
        if c == "$":
            return terms.place("line end" if flags & re.M else "end or newline")
        return self.letter(ord(c), flags)

    def letter(self, code: int, flags: int) -> Term:
        return terms.chars(self.folded(((code, code),), flags))

    def ascii(self, flags: int) -> bool:
        return self.binary or bool(flags & re.A)

    def folded(self, letters: Ranges, flags: int) -> Ranges:
        return charset.fold(letters, self.ascii(flags)) if flags & re.I else letters

    def parenthesis(self, flags: int, depth: int) -> Term:
        start = self.at
        self.at += 1
        for opening, name in REFUSED.items():
            if self.text.startswith(opening, self.at):
                self.fail("a regular expression", name, "write it without", start)
        number: int | None = None
        if self.take("?P<"):
            name = self.name(start)
            number = self.numbered(name)
        elif self.take("?:"):
            pass
        elif self.take("?"):
            m = re.compile(r"([a-zA-Z]*)(?:-([a-zA-Z]+))?(:?)").match(self.text, self.at)
            if m is None or not m[3]:
                if m is not None and m[1] and self.text[m.end() : m.end() + 1] == ")":
                    self.fail(
                        "flags for the whole pattern at its start", f"(?{m[1]})", "move them there, or write (?i:...)"
                    )
                self.fail("(?:, (?P<name>, (?# or flags and a colon", repr("(?" + self.peek()), "choose one")
            on, off = self.letters(m[1]), 0
            if m[2] is not None:
                self.at += 1
                off = self.letters(m[2])
                if off & (re.A | re.U) or on & off:
                    self.fail("flags i, s, x, m to turn off", m[2], "leave the others out", start)
            flags = (flags & ~(re.A | re.U) if on & (re.A | re.U) else flags) | on
            flags &= ~off
            self.at = m.end()
        else:
            number = self.numbered(None)
        body = self.alternatives(flags, depth + 1)
        if not self.take(")"):
            self.fail("a closing parenthesis", "the end of the pattern", "close the group", start)
        return body if number is None else terms.group(number, self.groups[number - 1], body)

    def numbered(self, name: str | None) -> int:
        self.groups.append(name)
        return len(self.groups)

    def name(self, start: int) -> str:
        end = self.text.find(">", self.at)
        name = self.text[self.at : end] if end >= 0 else ""
        if not name.isidentifier() or (self.binary and not name.isascii()):
            self.fail("a name and >", repr(name or self.peek()), "name the group by a word")
        if name in self.groups:
            self.fail("another name", f"{name!r} a second time", "choose another", start)
        self.at = end + 1
        return name

    # -- classes and escapes --------------------------------------------------------------------------------------------------

    def bracket(self, flags: int) -> Ranges:
        start = self.at
        self.at += 1
        negated = self.take("^")
        found: list[Ranges] = []
        first = True
        while first or self.peek() != "]":
            if self.at >= len(self.text):
                self.fail("a closing bracket", "the end of the pattern", "close the class, or escape [", start)
            first, here = False, self.at
            low = self.member(flags)
            if self.peek() == "-" and self.peek(2) not in ("-]", "-"):
                self.at += 1
                if self.at >= len(self.text):
                    self.fail("a closing bracket", "the end of the pattern", "close the class, or escape [", start)
                high = self.member(flags)
                if isinstance(low, tuple) or isinstance(high, tuple):
                    self.fail("characters at both ends of a range", "a class", "write - at the end", here)
                if high < low:
                    self.fail("a range in order", f"{self.text[here : self.at]}", "swap its ends", here)
                found.append(self.folded(((low, high),), flags))
            else:
                found.append(low if isinstance(low, tuple) else self.folded(((low, low),), flags))
        self.at += 1
        letters = charset.union(*found)
        return charset.complement(letters, self.size) if negated else letters

    def member(self, flags: int) -> int | Ranges:
        """One character of a class, or a class of its own such as `\\d`."""
        c = self.text[self.at]
        if c != "\\":
            self.at += 1
            return ord(c)
        e = self.text[self.at + 1 : self.at + 2]
        if e in tuple("dDsSwW"):
            self.at += 2
            return self.category(e, flags)
        start = self.at
        if e in tuple(OCTAL):
            self.at += 1
            return self.octal(self.digits(OCTAL, 3), start)
        if e == "b":
            self.at += 2
            return 8
        return self.character()

    def category(self, letter: str, flags: int) -> Ranges:
        found = charset.category(letter.lower(), self.ascii(flags))
        return charset.complement(found, self.size) if letter.isupper() else found

    def octal(self, digits: str, start: int) -> int:
        if int(digits, 8) > 0o377:
            self.fail("an octal number of at most 377", digits, "write \\x or \\u", start)
        return int(digits, 8)

    def escape(self, flags: int) -> Term:
        start = self.at
        e = self.text[self.at + 1 : self.at + 2]
        if e in PLACES:
            self.at += 2
            return terms.place(("ascii boundary", "no ascii boundary")[e == "B"]
                               if e in "bB" and self.ascii(flags) else PLACES[e])  # fmt: skip
        if e in tuple("dDsSwW"):
            self.at += 2
            return terms.chars(self.category(e, flags))
        if e == "0":
            self.at += 1
            return self.letter(self.octal(self.digits(OCTAL, 3), start), flags)
        if e in tuple(DIGITS):
            m = re.compile(r"\\[0-3]?[0-7][0-7]").match(self.text, self.at)
            if m is None or len(m[0]) < 4:
                if m := re.compile(r"\\[4-7][0-7][0-7]").match(self.text, self.at):
                    self.octal(m[0][1:], start)
                self.fail("a regular expression", f"a back-reference, \\{e}", "write the group out")
            self.at = m.end()
            return self.letter(int(m[0][1:], 8), flags)
        return self.letter(self.character(), flags)

    def character(self) -> int:
        """An escape that means one character."""
        start = self.at
        self.at += 2
        e = self.text[start + 1 : start + 2]
        if not e:
            self.fail("a character behind the backslash", "the end of the pattern", "write \\\\", start)
        if e in CONTROL and e != "b":
            return CONTROL[e]
        width = {"x": 2, "u": 4, "U": 8}.get(e, 0) if e == "x" or not self.binary else 0
        if width:
            digits = self.digits(HEX, width)
            if len(digits) < width or int(digits, 16) >= self.size:
                self.fail(f"{width} hexadecimal digits of a character", repr(digits), "write the number out", start)
            return int(digits, 16)
        if e == "N" and not self.binary:
            end = self.text.find("}", self.at)
            name = self.text[self.at + 1 : end] if self.peek() == "{" and end > 0 else ""
            try:
                code = ord(unicodedata.lookup(name))
            except (KeyError, TypeError):
                self.fail("the name of a character in braces", repr(name), "look it up", start)
            self.at = end + 1
            return code
        if e.isascii() and e.isalnum():
            self.fail("an escape that has a meaning", f"\\{e}", f"write {e} alone", start)
        return ord(e)
