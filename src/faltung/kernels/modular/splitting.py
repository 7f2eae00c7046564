"""Karatsuba's splitting over any ring of words, as a function for kernels.

The recursion is kept on a stack of its own: compiled kernels do not call themselves.
"""

from collections.abc import Callable

from faltung.kernels import native

FRAME = 6  # operands, length, result, working memory, stage
DEPTH = 48  # frames that the stack holds: lengths of up to 2^47 times the base


def karatsuba(plain: Callable, add: Callable, subtract: Callable, limit: int, spare: int) -> Callable:
    """A function `(s, xa, ka, n, ya, sa, c, stack)`: 2n − 1 + spare results of n by n values, all of them in s.

    Args:
        plain: `(s, xa, n, ka, t, ya, sa, c)`, the product of n by t values, n + t − 1 + spare results, in working memory
            from s[sa] on.   add, subtract: `(a, b, c)` of two values, c the constants.
        limit: length from which on products are split.   spare: 1 where a product of values takes two places, else 0.

    Working memory from sa on: 8n + 16·depth values beside that of `plain`.
    """
    jit = native.inner

    @jit
    def product(s, xa, ka, n, ya, sa, c, stack):
        stack[0], stack[1], stack[2], stack[3], stack[4], stack[5] = xa, ka, n, ya, sa, 0
        at = 0
        while at >= 0:
            xa, ka, n = stack[at], stack[at + 1], stack[at + 2]
            ya, sa, stage = stack[at + 3], stack[at + 4], stack[at + 5]
            if n <= limit:
                plain(s, xa, n, ka, n, ya, sa, c)
                at -= FRAME
                continue
            h = (n + 1) // 2
            rest, middle = n - h, sa + 2 * h
            stack[at + 5] += 1
            new = at + FRAME
            if stage < 3:
                stack[new + 4], stack[new + 5] = sa + 4 * h, 0
            if stage == 0:  # (low + high) of either operand, and their product
                for i in range(rest):
                    s[sa + i] = add(s[xa + i], s[xa + h + i], c)
                    s[sa + h + i] = add(s[ka + i], s[ka + h + i], c)
                if rest < h:
                    s[sa + rest], s[sa + h + rest] = s[xa + rest], s[ka + rest]
                stack[new], stack[new + 1], stack[new + 2], stack[new + 3] = sa, sa + h, h, middle
                at = new
            elif stage == 1:
                stack[new], stack[new + 1], stack[new + 2], stack[new + 3] = xa, ka, h, ya
                at = new
            elif stage == 2:
                if spare == 0:
                    s[ya + 2 * h - 1] = 0
                stack[new], stack[new + 1], stack[new + 2], stack[new + 3] = xa + h, ka + h, rest, ya + 2 * h
                at = new
            else:
                for i in range(2 * h - 1 + spare):
                    s[middle + i] = subtract(s[middle + i], s[ya + i], c)
                for i in range(2 * rest - 1 + spare):
                    s[middle + i] = subtract(s[middle + i], s[ya + 2 * h + i], c)
                # The middle product has no more terms than there is room for: what lies beyond is zero.
                for i in range(min(2 * h, 2 * n - h) - 1 + spare):
                    s[ya + h + i] = add(s[ya + h + i], s[middle + i], c)
                at -= FRAME

    return product
