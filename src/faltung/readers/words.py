"""What torch's operators are for a network: tables of words."""

# One operand, element by element.
ACTIVATIONS = frozenset(
    """relu relu6 leaky_relu prelu _prelu_kernel elu selu celu gelu silu mish hardswish hardsigmoid hardtanh sigmoid tanh softplus
    softsign log_sigmoid softshrink hardshrink tanhshrink threshold rrelu clamp clamp_min clamp_max abs exp expm1 log log1p log2
    sqrt rsqrt pow neg sin cos tan erf reciprocal sign square floor ceil round atan sinh cosh asinh exp2""".split()
)
# Two operands: sums and products.
BINARY = {
    "add": "add",
    "sub": "add",
    "rsub": "add",
    "mul": "mul",
    "div": "mul",
    "true_divide": "mul",
    "multiply": "mul",
}
MERGES = frozenset(
    """maximum minimum where lerp addcmul addcdiv fmod remainder atan2 masked_fill eq ne lt le gt ge logical_and logical_or
    glu""".split()
)
# What does not change the values when a model is evaluated.
SAME = frozenset(
    """dropout feature_dropout alpha_dropout feature_alpha_dropout contiguous clone detach alias to _to_copy
    lift_fresh_copy lift_fresh type_as requires_grad view_as_real native_dropout""".split()
)
VIEWS = dict.fromkeys(
    "view reshape flatten unflatten squeeze unsqueeze _unsafe_view view_as reshape_as _reshape_alias".split(), "reshape"
) | dict.fromkeys("permute transpose t movedim moveaxis swapaxes numpy_T mT".split(), "permute")
KINDS = {
    **dict.fromkeys(
        "select slice narrow index index_select gather split chunk split_with_sizes unbind tensor_split".split(),
        "slice",
    ),
    **dict.fromkeys("expand expand_as repeat repeat_interleave broadcast_to tile".split(), "expand"),
    **dict.fromkeys("softmax _softmax log_softmax _log_softmax".split(), "softmax"),
    **dict.fromkeys(
        """bmm matmul baddbmm einsum mm addmm linear scaled_dot_product_attention _scaled_dot_product_flash_attention
        _scaled_dot_product_flash_attention_for_cpu _scaled_dot_product_efficient_attention""".split(),
        "matmul",
    ),
    **dict.fromkeys("embedding embedding_bag".split(), "embedding"),
    **dict.fromkeys("max min std var norm argmax argmin prod cumsum any all linalg_vector_norm".split(), "unknown"),
}
