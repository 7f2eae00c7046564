"""torch's own sample and error inputs for its convolutions, put to ours.

The reference is torch's operator in float64 or complex128 on the same values, so that ours is measured and not torch's rounding.
"""

import pytest
import torch
from torch.testing._internal.common_methods_invocations import op_db

from faltung.errors import FaltungError
from faltung.nn import functional

pytestmark = pytest.mark.filterwarnings(
    "ignore:Using padding='same' with even kernel lengths:UserWarning"
)  # torch on itself

OPERATORS = {
    op.name.removeprefix("nn.functional."): op
    for op in op_db
    if op.name.removeprefix("nn.functional.") in {f"conv{t}{d}d" for t in ("", "_transpose") for d in (1, 2, 3)}
}
DTYPES = {
    torch.float64: 1e-12,
    torch.float32: 2e-5,
    torch.bfloat16: 2e-2,
    torch.float16: 2e-3,
    torch.complex64: 2e-5,
    torch.complex128: 1e-12,
    torch.int64: 0.0,
}


def ours(name):
    return functional.conv_transpose if "transpose" in name else functional.conv


def lifted(value):
    if not isinstance(value, torch.Tensor) or value.dtype == torch.int64:
        return value
    return value.detach().to(torch.complex128 if value.is_complex() else torch.float64)


def close(got, expected, tolerance):
    scale = max(1.0, float(expected.abs().max())) if expected.numel() else 1.0
    assert got.shape == expected.shape
    torch.testing.assert_close(got.to(expected.dtype), expected, rtol=0, atol=tolerance * scale)


def test_all_six_operators_are_found():
    assert len(OPERATORS) == 6


@pytest.mark.parametrize("dtype", DTYPES, ids=lambda dtype: str(dtype).removeprefix("torch."))
@pytest.mark.parametrize("name", sorted(OPERATORS))
def test_sample_inputs(name, dtype):
    op, samples = OPERATORS[name], 0
    differentiable = dtype in (torch.float64, torch.complex128)
    for sample in op.sample_inputs("cpu", dtype, requires_grad=differentiable):
        got = ours(name)(sample.input, *sample.args, **sample.kwargs)
        expected = op.op(
            lifted(sample.input), *map(lifted, sample.args), **{k: lifted(v) for k, v in sample.kwargs.items()}
        )
        assert got.dtype == dtype, sample
        close(got.detach(), expected, DTYPES[dtype])
        if differentiable:
            operands = [a for a in (sample.input, *sample.args) if isinstance(a, torch.Tensor)]
            theirs = op.op(sample.input, *sample.args, **sample.kwargs)
            cotangent = torch.randn_like(theirs)
            for mine, other in zip(
                torch.autograd.grad(got, operands, cotangent),
                torch.autograd.grad(theirs, operands, cotangent),
                strict=True,
            ):
                close(mine, other, DTYPES[dtype])
        samples += 1
    assert samples >= 8


@pytest.mark.parametrize("name", [name for name, op in sorted(OPERATORS.items()) if op.error_inputs_func is not None])
def test_error_inputs(name):
    seen = 0
    for wrong in OPERATORS[name].error_inputs("cpu"):
        sample = wrong.sample_input
        with pytest.raises(FaltungError, match=r"expected .*, but got .*; ") as caught:
            ours(name)(sample.input, *sample.args, **sample.kwargs)
        assert isinstance(caught.value, (ValueError, TypeError))
        seen += 1
    assert seen >= 5
