"""What the kernels of sets of packed states compute, in NumPy: the reference that every tool's version equals.

A state is a row of symbols of `bits` bits each, 64 // bits of them in a word of 64 bits, the first symbol lowest; a symbol never
crosses words. One word is its own record. States of several words are records of a key, a mix of all words, and then the words;
records are ordered and compared in full, so that two states with one key stay two. A set is a sorted array of distinct records.
"""

import numpy as np

ODD = (0x9E3779B97F4A7C15, 0xC2B2AE3D27D4EB4F)  # the golden ratio's and another odd multiplier


def packed(symbols: np.ndarray, bits: int, key_bits: int = 64) -> np.ndarray:
    """Records of states.

    Shapes: symbols (m, n) → (m, 1), or (m, 1 + words) where n·bits > 64.   key_bits: how many bits keys have.
    """
    m, n = symbols.shape
    per = 64 // bits
    words = np.zeros((m, -(-n // per)), np.uint64)
    for i in range(n):
        words[:, i // per] |= symbols[:, i].astype(np.uint64) << np.uint64(i % per * bits)
    return words if words.shape[1] == 1 else np.column_stack([_key(words, key_bits), words])


def unpacked(records: np.ndarray, n: int, bits: int) -> np.ndarray:
    """The symbols of records: (m, n)."""
    per = 64 // bits
    words = records if records.shape[1] == 1 else records[:, 1:]
    i = np.arange(n)
    mask = np.uint64((1 << bits) - 1 if bits < 64 else (1 << 64) - 1)
    return ((words[:, i // per] >> (i % per * bits).astype(np.uint64)) & mask).astype(np.int64)


def moved(records: np.ndarray, generators: np.ndarray, bits: int, key_bits: int = 64) -> np.ndarray:
    """All states `new[i] = old[g[i]]`, generator after generator."""
    symbols = unpacked(records, generators.shape[1], bits)
    return packed(np.concatenate([symbols[:, g] for g in generators]), bits, key_bits)


def multiplied(
    records: np.ndarray, generators: np.ndarray, rows: int, modulus: int, bits: int, key_bits: int = 64
) -> np.ndarray:
    """All products state · generator modulo m of states that are matrices of so many rows, generator after generator."""
    d = generators.shape[1]
    states = unpacked(records, rows * d, bits).reshape(-1, rows, d).astype(object)
    out = [(states @ g.astype(object)) % modulus for g in generators]
    return packed(np.concatenate(out).reshape(-1, rows * d).astype(np.int64), bits, key_bits)


def fresh(records: np.ndarray, known: list[np.ndarray]) -> np.ndarray:
    """The set of the records that are in none of the known sets."""
    seen = {tuple(r) for s in known for r in s.tolist()}
    return _set((r for r in map(tuple, records.tolist()) if r not in seen), records.shape[1])


def united(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """The union of two sets."""
    return _set((tuple(r) for s in (a, b) for r in s.tolist()), a.shape[1])


def _set(records: object, width: int) -> np.ndarray:
    return np.array(sorted(set(records)), np.uint64).reshape(-1, width)  # type: ignore[call-overload]


def _key(words: np.ndarray, key_bits: int) -> np.ndarray:
    key = np.zeros(len(words), np.uint64)
    for column in words.T:
        key = (key ^ column) * np.uint64(ODD[0])
        key = (key ^ key >> np.uint64(32)) * np.uint64(ODD[1])
        key ^= key >> np.uint64(29)
    return key & np.uint64((1 << key_bits) - 1)
