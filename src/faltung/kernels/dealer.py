"""Machine code that deals the pieces of a kernel to the threads of a team, so that none of them needs the interpreter.

A thread that enters Python waits for the interpreter's lock, and whoever waits for a lock sleeps: two threads in the interpreter
cost 30 to 60 µs a call, in machine code two. The dealer is written in LLVM's language, one for each number of arguments, and reads
what is to be done from a block of numbers:

    pieces done, seconds and nanoseconds of the end, and of when the caller found no more to do,
    pieces, items, seats, kernel, two words of Numba's,
    the arguments, for each argument 0 or 1 (counted from the thread's own memory),
    the own memory of each seat, the next piece and the end of each seat's share

A thread's seat is its number in the team, so its memory stays in its processor's cache from call to call. It takes the pieces of
its own share first, then what others have left. Pieces are the same whoever takes them.
"""

import ctypes
import threading
from array import array
from collections.abc import Sequence
from functools import cache
from typing import Any

HEAD = 11  # words before the arguments
END, LEFT = 1, 3  # where the times lie: two words each

_lock = threading.Lock()
_engines: list[Any] = []  # machine code lives as long as its engine


class Own(int):
    """An argument that means own memory of the thread, that many bytes from its start."""


def block(
    kernel: int, spare: tuple[int, int], arguments: Sequence[int], memory: Sequence[int], pieces: int, items: int
) -> array:
    """The numbers that the dealer reads; `memory` is the own memory of every seat."""
    seats = len(memory)
    own = [1 if type(a) is Own else 0 for a in arguments]
    bounds = [seat * pieces // seats for seat in range(seats + 1)]
    return array(
        "q", (0, 0, 0, 0, 0, pieces, items, seats, kernel, *spare, *arguments, *own, *memory, *bounds[:-1], *bounds[1:])
    )


def times(numbers: array) -> tuple[float, float]:
    """When the last piece was done and when the caller found no more to do, on the clock of `time.perf_counter`."""
    return numbers[END] + 1e-9 * numbers[END + 1], numbers[LEFT] + 1e-9 * numbers[LEFT + 1]


@cache
def dealer(arguments: int, number: int) -> int:
    """Address of the dealer for kernels with that many arguments before the first and last item of a piece.

    `number` is the address of the function that tells a thread its number in the team.
    """
    import llvmlite.binding as llvm

    with _lock:
        llvm.initialize_native_target()
        llvm.initialize_native_asmprinter()
        clock = ctypes.cast(ctypes.CDLL(None).clock_gettime, ctypes.c_void_p).value or 0
        target = llvm.Target.from_default_triple().create_target_machine(opt=2, jit=True)
        engine = llvm.create_mcjit_compiler(llvm.parse_assembly(_written(arguments, number, clock)), target)
        engine.finalize_object()
        _engines.append(engine)
        return engine.get_function_address("deal")


def _written(many: int, number: int, clock: int) -> str:
    """The dealer in LLVM's language: %w5 is word 5 of the block, %at5 its address."""
    place = HEAD + 2 * many  # of the seats' words
    words = [
        f"%at{i} = getelementptr i64, i64* %block, i64 {i}\n%w{i} = load i64, i64* %at{i}"
        for i in range(LEFT + 2, place)
    ]
    own = [f"%o{i} = mul i64 %w{HEAD + many + i}, %own\n%a{i} = add i64 %w{HEAD + i}, %o{i}" for i in range(many)]
    given = ", ".join(["i64 %w9", "i64 %w10", *(f"i64 %a{i}" for i in range(many)), "i64 %first", "i64 %last"])
    kinds = ", ".join(["i64"] * (many + 4))
    lines = "\n".join
    return f"""
define void @deal(i64* %block) {{
enter:
%asked = inttoptr i64 {number} to i32 ()*
%number = call i32 %asked()
%seat = zext i32 %number to i64
{lines(words)}
%seated = icmp ult i64 %seat, %w7
br i1 %seated, label %sit, label %leave
sit:
%memory = getelementptr i64, i64* %block, i64 {place}
%mine = getelementptr i64, i64* %memory, i64 %seat
%own = load i64, i64* %mine
{lines(own)}
%nexts = getelementptr i64, i64* %memory, i64 %w7
%ends = getelementptr i64, i64* %nexts, i64 %w7
%kernel = inttoptr i64 %w8 to i32 ({kinds})*
br label %look
look:
%round = phi i64 [0, %sit], [%later, %pass]
%sum = add i64 %seat, %round
%whose = urem i64 %sum, %w7
%next = getelementptr i64, i64* %nexts, i64 %whose
%stop_at = getelementptr i64, i64* %ends, i64 %whose
%stop = load i64, i64* %stop_at
br label %take
take:
%piece = atomicrmw add i64* %next, i64 1 monotonic
%some = icmp slt i64 %piece, %stop
br i1 %some, label %work, label %pass
pass:
%later = add i64 %round, 1
%others = icmp ult i64 %later, %w7
br i1 %others, label %look, label %through
work:
%then = add i64 %piece, 1
%low = mul i64 %piece, %w6
%high = mul i64 %then, %w6
%first = udiv i64 %low, %w5
%last = udiv i64 %high, %w5
%ignored = call i32 %kernel({given})
%before = atomicrmw add i64* %block, i64 1 acq_rel
%count = add i64 %before, 1
%all = icmp eq i64 %count, %w5
br i1 %all, label %end, label %take
end:
%clock = inttoptr i64 {clock} to i32 (i32, i64*)*
%second = getelementptr i64, i64* %block, i64 {END}
%told = call i32 %clock(i32 1, i64* %second)
br label %through
through:
%caller = icmp eq i64 %seat, 0
br i1 %caller, label %tell, label %leave
tell:
%clock_too = inttoptr i64 {clock} to i32 (i32, i64*)*
%since = getelementptr i64, i64* %block, i64 {LEFT}
%told_too = call i32 %clock_too(i32 1, i64* %since)
br label %leave
leave:
ret void
}}
"""
