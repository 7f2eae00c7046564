"""A spoken sentence through filters as long as itself: remembered in few numbers, filtered as a stream, at half the rate."""

import torch

from faltung import data
from faltung.nn.sequence import StateSpaceConv1d, recall, remember


def main() -> None:
    torch.manual_seed(0)
    voice = torch.from_numpy(data.sound())

    # Sixty milliseconds in a few numbers: a memory that projects all of its past on polynomials.
    past = voice[24_000:25_000]
    lost = {}
    for state in (16, 32, 64, 128):
        back = recall(remember(past, state)[-1], len(past))
        lost[state] = ((back - past).norm() / past.norm()).item()
        print(f"{len(past)} samples in {state} numbers: {lost[state]:.1%} of the amplitude lost")

    # The whole sentence at once, and as it comes in, twenty milliseconds at a time.
    layer, x = StateSpaceConv1d(4, state=64), voice.float().expand(1, 4, -1)
    with torch.no_grad():
        offline = layer(x)
        state, pieces = layer.initial_state(1), []
        for piece in x.split(data.SOUND_RATE // 50, -1):
            y, state = layer.chunk(piece, state)
            pieces.append(y)
        apart = ((torch.cat(pieces, -1) - offline).abs().max() / offline.abs().max()).item()
        print(f"{len(pieces)} pieces against {x.shape[-1]:,} samples at once: apart by {apart:.1e}")

        # The same layer on a recording of half the rate: one number changes.
        smooth = torch.nn.functional.avg_pool1d(x, 8, 1, 4)[..., : x.shape[-1]]
        fine, coarse = layer(smooth)[..., ::2], layer(smooth[..., ::2], rate=2.0)
        unlike = ((fine - coarse).norm() / fine.norm()).item()
        wrong = ((fine - layer(smooth[..., ::2])).norm() / fine.norm()).item()
        print(f"half the rate: apart by {unlike:.1%} with rate=2, by {wrong:.0%} without")

    assert sorted(lost.values(), reverse=True) == list(lost.values())
    assert lost[128] < 0.5 * lost[16]
    assert apart < 1e-5
    assert unlike < 0.3 * wrong


if __name__ == "__main__":
    main()
