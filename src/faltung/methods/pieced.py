"""What methods share whose work is cut into equal pieces: when threads are worth waking, and what that makes of the cost."""

from abc import abstractmethod

from faltung.methods.method import Machine, Method
from faltung.problem import Problem


class Pieced(Method):
    """A method in equal pieces. It says what one thread would take, and how many pieces there are; cost and threads follow.

    Class field:
        call: the rate of what every call takes before its first piece.
    """

    call = "call.blocks"
    silent = True

    @abstractmethod
    def alone(self, problem: Problem, machine: Machine) -> tuple[float, int]:
        """Seconds of all pieces on one thread, and how many there are."""

    def beside(self, problem: Problem, machine: Machine) -> float:
        """Seconds of what is done besides the pieces."""
        return 0.0

    def cost(self, problem: Problem, machine: Machine) -> float:
        pieces = together(*self.alone(problem, machine), machine)
        return machine.seconds(self.call) + self.beside(problem, machine) + pieces

    def threads(self, problem: Problem, machine: Machine) -> int:
        return awake(*self.alone(problem, machine), machine)


class VectorSums(Pieced):
    """Pieces that add products in vectors, in any algebra that has vectors."""

    def refuses(self, problem: Problem) -> str | None:
        if problem.unknown != "out":
            return "computes results, not gradients"
        if not problem.over.vector_add or problem.compute_dtype.startswith("complex"):
            return f"has no vectors of {problem.algebra} values"
        if problem.device != "cpu":
            return f"runs on the CPU, the arrays are on {problem.device}"
        return None


def together(work: float, pieces: int, machine: Machine) -> float:
    """Seconds for what takes `work` seconds on one thread, in equal pieces on those that are worth waking."""
    shared = work * -(-pieces // machine.threads) / pieces + machine.seconds("thread")
    return shared if pieces > 1 and machine.threads > 1 and shared < work else work


def awake(work: float, pieces: int, machine: Machine) -> int:
    """The threads that `together` counts with."""
    return machine.threads if together(work, pieces, machine) < work else 1
