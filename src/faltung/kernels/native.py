"""Compiled kernels: Numba makes them once, a disk cache keeps the machine code, later processes load it without Numba.

A kernel is a plain Python function over C pointers and integers, made by a factory (`build`) from constants such as the scalar
type or the algebra. The first use of a combination compiles it with Numba (about half a second, most of it Numba's import) and
stores the object code; every later process maps that code through LLVM's loader in a few milliseconds and never imports
Numba. Calls go through ctypes: they release the interpreter lock, so kernels run in parallel from ordinary threads and
survive forks, which Numba's own threading layers do not.

The cache key holds the kernel's source, its constants, the versions of faltung, Numba and LLVM, and the processor's name and
features (`NUMBA_CPU_NAME` and `NUMBA_CPU_FEATURES` are honoured), so a stale file is never loaded. Files are written under a
temporary name and renamed: two processes may fill the cache at once.
"""

import ctypes
import hashlib
import inspect
import os
import re
import sys
import tempfile
import threading
from collections.abc import Callable
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from faltung.errors import MissingExtraError
from faltung.version import __version__

CTYPES = {"p": ctypes.c_void_p, "i": ctypes.c_int64, "f": ctypes.c_float, "d": ctypes.c_double}
_MAGIC = b"faltung-kernel-1\n"
# Functions that LLVM calls on its own account; the loader must find them in the running process.
_RUNTIME = (
    "memset",
    "memcpy",
    "memmove",
    "exp",
    "expf",
    "log",
    "logf",
    "log1p",
    "log1pf",
    "pow",
    "powf",
    "sqrt",
    "fmod",
    "fmodf",
    "fma",
)

_lock = threading.RLock()
_loaded: dict[str, Any] = {}
_engines: list[Any] = []  # machine code lives as long as its engine


def cache_folder() -> Path:
    """Where machine code is kept: `FALTUNG_CACHE_DIR`, or the user's cache folder."""
    if folder := os.environ.get("FALTUNG_CACHE_DIR"):
        return Path(folder)
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA", Path.home())) / "faltung" / "kernels"
    base = (
        Path.home() / "Library" / "Caches"
        if sys.platform == "darwin"
        else Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    )
    return base / "faltung" / "kernels"


def load(name: str, build: Callable[..., tuple[Callable, str]], *constants: Any) -> Callable[..., None]:
    """The compiled kernel `build(*constants)`, from memory, from disk, or compiled now.

    Args:
        name: a readable stem for the cache file.
        build: returns the Python function and its signature: one letter for each argument, `p:float32` a pointer to float32,
            `i` int64, `f` float32, `d` float64, comma separated. It may import Numba; it is called only on a miss.
        constants: hashable values with a stable repr; they become part of the key.

    Returns:
        A function of addresses and numbers that returns nothing and holds no interpreter lock while it runs.
    """
    memory_key = f"{name}{constants!r}"
    found = _loaded.get(memory_key)
    if found is not None:
        return found
    with _lock:
        if memory_key not in _loaded:
            _loaded[memory_key] = _from_disk_or_compiler(name, build, constants)
        return _loaded[memory_key]


def ready(name: str, build: Callable[..., tuple[Callable, str]], *constants: Any) -> bool:
    """Whether `load` would find the kernel compiled, in memory or on disk. Nothing is compiled to find out.

    With `FALTUNG_COMPILE=eager` in the environment every kernel counts as ready: nobody minds to wait for the compiler.
    """
    if os.environ.get("FALTUNG_COMPILE") == "eager" or f"{name}{constants!r}" in _loaded:
        return True
    return _path(name, build, constants).exists()


def _path(name: str, build: Callable, constants: tuple) -> Path:
    digest = hashlib.sha256(_source(build) + f"{_toolchain()}|{constants!r}".encode()).hexdigest()[:24]
    return cache_folder() / f"{name}-{digest}.bin"


@cache
def _machine() -> tuple[str, str]:
    import llvmlite.binding as llvm

    cpu = os.environ.get("NUMBA_CPU_NAME") or llvm.get_host_cpu_name()
    if "NUMBA_CPU_FEATURES" in os.environ:
        return cpu, os.environ["NUMBA_CPU_FEATURES"]
    return cpu, "" if os.environ.get("NUMBA_CPU_NAME") else llvm.get_host_cpu_features().flatten()


def address(a: np.ndarray) -> int:
    """Where the values of an array start."""
    return a.__array_interface__["data"][0]


@cache
def lanes(dtype: str) -> int:
    """How many values of a dtype kernels put into one vector: 64 bytes where the processor has such registers, else 32."""
    wide = "+avx512f" in _machine()[1].split(",")
    return (64 if wide else 32) // np.dtype(dtype).itemsize


@cache
def _toolchain() -> str:
    import llvmlite

    return f"{__version__}|{_numba_version()}|{llvmlite.__version__}|{sys.version_info[:2]}|{_machine()}"


def _numba_version() -> str:
    """Numba's version without importing Numba: the file in which it states it."""
    if "numba" in sys.modules:
        return sys.modules["numba"].__version__
    spec = find_spec("numba")
    if spec is None or not spec.submodule_search_locations:
        raise MissingExtraError.of("compiled kernels", "numba", "no installed numba", "run: pip install numba")
    text = Path(spec.submodule_search_locations[0], "_version.py").read_text()
    found = re.search(r'"version": "([^"]+)"', text) or re.search(r"version = ['\"]([^'\"]+)['\"]", text)
    return found[1] if found else hashlib.sha256(text.encode()).hexdigest()


@cache
def _source(build: Callable) -> bytes:
    """What a kernel may be made from: its own folder and the files beside this one."""
    home = Path(inspect.getfile(build)).parent
    files = sorted({*home.glob("*.py"), *Path(__file__).parent.glob("*.py")})
    return b"".join(file.read_bytes() for file in files)


def _from_disk_or_compiler(
    name: str, build: Callable[..., tuple[Callable, str]], constants: tuple
) -> Callable[..., None]:
    path = _path(name, build, constants)
    try:
        symbol, signature, code = _read(path.read_bytes())
    except (OSError, ValueError):
        symbol, signature, code = _compile(build, constants)
        _write(path, symbol, signature, code)
    return _link(symbol, signature, code)


def _read(blob: bytes) -> tuple[str, str, bytes]:
    """Split a cache file; ValueError where it is damaged, so that it is made anew."""
    magic, _, rest = blob.partition(b"\n")
    digest, _, body = rest.partition(b"\n")
    if magic + b"\n" != _MAGIC or hashlib.sha256(body).hexdigest().encode() != digest:
        raise ValueError("not a kernel file")
    symbol, signature, code = body.split(b"\n", 2)
    return symbol.decode(), signature.decode(), code


def _write(path: Path, symbol: str, signature: str, code: bytes) -> None:
    """Keep the code for later processes; a folder that cannot be written costs them a compilation, nothing else."""
    body = b"\n".join((symbol.encode(), signature.encode(), code))
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(dir=path.parent, suffix=".tmp")
        with os.fdopen(handle, "wb") as file:
            file.write(_MAGIC + hashlib.sha256(body).hexdigest().encode() + b"\n" + body)
        os.replace(temporary, path)
    except OSError:
        return


# "contract" allows fused multiply-adds, which only make results more accurate. Nothing that reorders sums or assumes finite
# values is allowed: results repeat bit for bit, and NaN and infinity behave as IEEE 754 says.
_OPTIONS: dict[str, Any] = {"nogil": True, "fastmath": {"contract"}, "error_model": "numpy", "boundscheck": False}
_OPTIONS |= {"no_cpython_wrapper": True, "no_cfunc_wrapper": True, "_nrt": False}


def inner(function: Callable) -> Any:
    """Decorates what a kernel calls: compiled into it, and without the wrappers that make it callable from Python."""
    from numba import njit

    return njit(**_OPTIONS)(function)


def inlined(function: Callable) -> Any:
    """As `inner`, for what is called for every vector: becomes part of its caller whatever the compiler thinks of it."""
    from numba import njit

    return njit(**_OPTIONS, forceinline=True)(function)


def _compile(build: Callable[..., tuple[Callable, str]], constants: tuple) -> tuple[str, str, bytes]:
    from numba import njit, types

    function, signature = build(*constants)
    letters = {"i": types.int64, "f": types.float32, "d": types.float64}
    arguments = [
        types.CPointer(getattr(types, a[2:])) if a.startswith("p:") else letters[a] for a in signature.split(",")
    ]
    compiled = njit(types.void(*arguments), **_OPTIONS)(function)
    result = compiled.overloads[tuple(arguments)]
    return result.fndesc.llvm_func_name, signature, result.library._get_compiled_object()


def _link(symbol: str, signature: str, code: bytes) -> Callable[..., None]:
    import llvmlite.binding as llvm

    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()
    process = ctypes.CDLL(None)
    for runtime in _RUNTIME:
        if llvm.address_of_symbol(runtime) is None and hasattr(process, runtime):
            llvm.add_symbol(runtime, ctypes.cast(getattr(process, runtime), ctypes.c_void_p).value)
    cpu, features = _machine()
    target = llvm.Target.from_default_triple().create_target_machine(cpu=cpu, features=features, opt=3, jit=True)
    engine = llvm.create_mcjit_compiler(llvm.parse_assembly(""), target)
    engine.add_object_file(llvm.object_file.ObjectFileRef.from_data(code))
    engine.finalize_object()
    _engines.append(engine)
    # Numba's native convention: a place for the result, a place for an exception (kernels raise none), then the arguments.
    kinds = [CTYPES[a[0]] for a in signature.split(",")]
    native = ctypes.CFUNCTYPE(ctypes.c_int32, ctypes.c_void_p, ctypes.c_void_p, *kinds)(
        engine.get_function_address(symbol)
    )
    spare = (ctypes.c_void_p * 4)()
    result, exception = ctypes.addressof(spare), ctypes.addressof(spare) + 16

    def kernel(*arguments: Any, _spare: Any = spare) -> None:
        native(result, exception, *arguments)

    # For machine code that calls it: where it is, and what stands before the arguments. Only whole numbers are handed on.
    if all(kind in (ctypes.c_void_p, ctypes.c_int64) for kind in kinds):
        kernel.entry = engine.get_function_address(symbol), (result, exception)  # type: ignore[attr-defined]
    return kernel
