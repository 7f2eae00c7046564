"""Memory over long times: copying tokens across a pause, and recall of a value by its key, with every kind of long filter.

    python recipes/long_recall.py [--quick]

Arjovsky, Shah and Bengio, Unitary evolution recurrent neural networks (2016), for copying; Fu et al., Hungry hungry hippos: towards
language modeling with state space models (2023), for recall; Poli et al., Hyena hierarchy (2023), for the gates.
"""

import statistics

import torch
from torch import Tensor, nn

from faltung.nn import Conv1d
from recipe import LongBlock, constructors, run, table, train_for

WIDTH, TOKENS = 32, 8
COPIED, PAUSE = 8, 240
PAIRS, KEYS = 8, 4
TRAINED, TESTED = 2000, 3000  # seeds; 0 and 1 were those that the task and the rate were judged by


def copying(count: int) -> tuple[Tensor, Tensor]:
    """(tokens, wanted): eight random tokens, a long pause, then a marker at every place where one of them is to be said again."""
    said = torch.randint(TOKENS, (count, COPIED))
    pause = torch.full((count, PAUSE), TOKENS)
    marker = torch.full((count, COPIED), TOKENS + 1)
    wanted = torch.full((count, COPIED + PAUSE + COPIED), -1)
    wanted[:, -COPIED:] = said
    return torch.cat([said, pause, marker], 1), wanted


def recall(count: int) -> tuple[Tensor, Tensor]:
    """(tokens, wanted): pairs of a key and a value, keys again and again with one value each, and at the end a key alone."""
    values = torch.randint(TOKENS, (count, KEYS))
    keys = torch.randint(KEYS, (count, PAIRS))
    last = keys.gather(1, torch.randint(PAIRS, (count, 1)))
    pairs = torch.stack([TOKENS + 2 + keys, values.gather(1, keys)], -1).flatten(1)
    tokens = torch.cat([pairs, TOKENS + 2 + last], 1)
    wanted = torch.full(tokens.shape, -1)
    wanted[:, -1:] = values.gather(1, last)
    return tokens, wanted


class Network(nn.Module):
    """Tokens to vectors, two blocks, vectors to tokens."""

    def __init__(self, length: int, make: object, gated: bool) -> None:
        super().__init__()
        self.words = nn.Embedding(TOKENS + 2 + KEYS, WIDTH)
        self.blocks = nn.Sequential(*(LongBlock(WIDTH, length, make, gated) for _ in range(2)))
        self.last = Conv1d(WIDTH, TOKENS, 1)

    def forward(self, tokens: Tensor) -> Tensor:
        return self.last(self.blocks(self.words(tokens).transpose(1, 2)))


def accuracy(task: object, make: object, gated: bool, seconds: float, seed: int) -> tuple[float, int, int]:
    """The share of wanted tokens that are found in fresh sequences, parameters, and steps of training."""
    torch.manual_seed(TRAINED + seed)
    model = Network(task(1)[0].shape[1], make, gated)

    def loss() -> Tensor:
        tokens, wanted = task(32)
        return nn.functional.cross_entropy(model(tokens), wanted, ignore_index=-1)

    steps = train_for(seconds, model, loss, 1e-2)
    model.eval()
    torch.manual_seed(TESTED + seed)
    with torch.no_grad():
        tokens, wanted = task(256)
        right = (model(tokens).argmax(1) == wanted)[wanted >= 0].float().mean().item()
    return right, sum(p.numel() for p in model.parameters()), steps


def main(quick: bool) -> str:
    torch.set_num_threads(1)  # threads that wait for each other would count as processor time
    seconds, seeds = (0.05, 1) if quick else (6.0, 2)
    lines, found = [], {}
    kinds = [(name, False) for name in constructors(1, 1)] + [(name, True) for name in ("free taps", "implicit", "S4D")]
    for name, gated in kinds:
        line = [f"Hyena ({name})" if gated else name]
        for word, task in (("copy", copying), ("recall", recall)):
            make = constructors(WIDTH, task(1)[0].shape[1])[name]
            runs = [accuracy(task, make, gated, seconds, seed) for seed in range(seeds)]
            found[word, name, gated] = statistics.mean(right for right, _, _ in runs)
            line += [
                ", ".join(f"{right:.2f}" for right, _, _ in runs),
                runs[0][1],
                ", ".join(str(n) for _, _, n in runs),
            ]
        lines.append(line)
    header = ("filters", "copy", "parameters", "steps", "recall", "parameters", "steps")
    text = f"""# Memory over long times

Copy: {COPIED} of {TOKENS} tokens, a pause of {PAUSE} steps, then the tokens again, in order. Recall: {PAIRS} pairs of one of {KEYS}
keys and its value among {TOKENS}, then a key whose value is to be said. Share of right tokens in fresh sequences; a guess is right
in {1 / TOKENS:.3f} of them; {seeds} run{"s" * (seeds > 1)}, each from a seed of its own and
tested on 256 sequences from another. Two blocks of {WIDTH} channels, each with one long filter a channel and a GELU, or with two in
a Hyena operator of order 2; {seconds:g} seconds of processor time for each model and task, on as many batches of 32 as that allows.

{table(header, lines)}

Claimed: long filters copy across long pauses; recall by a key needs products of the signal with itself, as gates make them."""
    if quick:
        return text
    copied = [name for name, gated in kinds if not gated and found["copy", name, False] > 0.95]
    pairs = ((name, found["recall", name, False], found["recall", name, True]) for name, gated in kinds if gated)
    gains = "; ".join(f"{name} {plain:.2f} without and {gated:.2f} with gates" for name, plain, gated in pairs)
    missed = [name for name, gated in kinds if not gated and name not in copied]
    return f"""{text}

Here copying is learnt, at more than 95 % in the mean, by {", ".join(copied) or "none"} without gates, and not by
{", ".join(missed) or "none"}.
Recall: {gains}.

The task was made easier once (8 pairs and 4 keys in place of 24 and 16) and the rate of learning set to 0.01, one for all kinds.
Both were judged by the share of right tokens after training from seed 0, in sequences drawn from seed 1; this table uses neither
seed. How many steps fit into the time depends on what else a machine does; the table says how many there were."""


if __name__ == "__main__":
    run("long_recall", main)
