"""Compiles Triton kernels for devices that are not here: as far as machine code, with what that takes of a device.

`starts(module)` records what a module's functions would start, on tensors that need not be on a device; `compiled` makes machine
code of one start for a compute capability and reads registers, stack and shared memory off it.
"""

import re
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any
from unittest.mock import patch

from faltung.kernels import gpu

_POINTERS = {
    "float16": "*fp16", "bfloat16": "*bf16", "float32": "*fp32", "float64": "*fp64", "int32": "*i32", "int64": "*i64",
}  # fmt: skip


@dataclass(frozen=True)
class Start:
    """One start of a kernel: what `gpu.launch` was given."""

    kernel: Any
    grid: tuple[int, ...]
    arguments: tuple[Any, ...]
    constants: dict[str, Any]
    warps: int
    stages: int

    @property
    def name(self) -> str:
        """The kernel's name and the constants that it is made from."""
        constants = " ".join(f"{name}={value}" for name, value in self.constants.items())
        return f"{self.kernel.__name__} {constants} warps={self.warps}"


@dataclass(frozen=True)
class Code:
    """What machine code takes: registers a thread, bytes of stack a thread (spilled registers), shared memory of a block."""

    registers: int
    stack: int
    shared: int


@contextmanager
def starts(module: ModuleType, capability: int) -> Iterator[list[Start]]:
    """The starts that a module's functions make meanwhile, with the tiles of a capability (times ten); nothing runs."""
    seen: list[Start] = []

    def record(kernel: Any, grid: Any, *arguments: Any, warps: int, stages: int = 2, **constants: Any) -> None:
        seen.append(Start(kernel, tuple(grid), arguments, constants, warps, stages))

    with patch.object(module, "launch", record), patch.object(gpu, "device_of", lambda device: ("none", capability)):
        yield seen


def compiled(start: Start, capability: int) -> Code:
    """Machine code of a start for a compute capability (times ten); raises what Triton's compiler raises."""
    import triton
    from triton.backends.compiler import GPUTarget
    from triton.compiler import ASTSource

    signature: dict[str, str] = {}
    constants: dict[tuple[int, ...], Any] = {}
    aligned: dict[tuple[int, ...], list] = {}
    given = dict(zip(start.kernel.arg_names, start.arguments, strict=False)) | start.constants
    for place, name in enumerate(start.kernel.arg_names):
        value = given[name]
        if name in start.constants or (isinstance(value, int) and value == 1):  # Triton makes a constant of 1 itself
            signature[name], constants[place,] = "constexpr", value
        elif hasattr(value, "dtype"):
            signature[name], aligned[place,] = (
                _POINTERS[str(value.dtype).removeprefix("torch.")],
                [["tt.divisibility", 16]],
            )
        elif isinstance(value, float):
            signature[name] = "fp32"
        else:
            signature[name] = "i64" if abs(value) >= 1 << 31 else "i32"
            if value % 16 == 0:
                aligned[place,] = [["tt.divisibility", 16]]
    source = ASTSource(start.kernel, signature=signature, constexprs=constants, attrs=aligned)
    options = {"num_warps": start.warps, "num_stages": start.stages, "enable_fp_fusion": True}
    made = triton.compile(source, target=GPUTarget("cuda", capability, 32), options=options)
    return _usage(made.asm["cubin"], made.metadata.shared)


def _usage(code: bytes, shared: int) -> Code:
    """Registers and stack as the disassembler that comes with Triton reads them."""
    import triton

    tool = Path(triton.__file__).parent / "backends" / "nvidia" / "bin" / "cuobjdump"
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "kernel.cubin")
        file.write_bytes(code)
        said = subprocess.run([str(tool), "-res-usage", str(file)], capture_output=True, text=True, check=True).stdout
    found = re.search(r"REG:(\d+) STACK:(\d+)", said)
    if found is None:
        raise ValueError(f"cuobjdump says nothing of registers: {said!r}")
    return Code(int(found[1]), int(found[2]), shared)
