"""What an operation costs and what kind it is. A multiply-add counts once; biases and elementwise work do not count.

That is how papers and public code count (He et al. 2015, Table 1: 3.6e9 "FLOPs (multiply-adds)" for ResNet-34).
"""

import re
from math import prod

from torch import nn

from .trace import Operation

MATRIX = {"mm": 0, "addmm": 1, "bmm": 0, "baddbmm": 1, "mv": 0, "addmv": 1, "dot": 0, "vdot": 0}  # first factor's place
RECURRENT = (nn.RNNBase, nn.RNNCellBase)  # one row each, however many products their steps are
# Operations with products inside whose number is not worked out here; so are all that are not torch's own.
NOT_COUNTED = (
    *("linalg_", "_linalg_", "fft_", "_fft_", "cdist", "_cdist", "_pdist", "_embedding_bag", "cholesky", "inverse"),
    *("lu_", "matrix_exp", "triangular_solve", "_sparse", "_int_mm", "_scaled_mm", "_weight_int", "quantized_"),
)
VIEWS = (
    *(
        "view",
        "_unsafe_view",
        "reshape",
        "_reshape_alias",
        "permute",
        "transpose",
        "t",
        "expand",
        "squeeze",
        "unsqueeze",
    ),
    *("detach", "alias", "slice", "select", "split", "split_with_sizes", "unbind", "as_strided", "narrow", "chunk"),
    *(
        "index",
        "index_select",
        "clone",
        "contiguous",
        "_to_copy",
        "lift_fresh",
        "lift_fresh_copy",
        "unsqueeze_",
        "squeeze_",
        "t_",
        "expand_as",
    ),
)
MAKERS = ("empty", "zeros", "ones", "full", "arange", "empty_like", "zeros_like", "ones_like", "new_empty", "new_zeros")
NORMS = ("native_batch_norm", "_native_batch_norm_legit_no_training", "native_layer_norm", "native_group_norm")
ACTIVATIONS = (
    *("relu", "relu_", "hardtanh", "hardtanh_", "tanh", "tanh_", "sigmoid", "sigmoid_", "leaky_relu", "leaky_relu_"),
    *("elu", "elu_", "gelu", "silu", "silu_", "hardswish", "hardswish_", "hardsigmoid", "hardsigmoid_", "mish"),
    *("_prelu_kernel", "softplus", "_softmax", "_log_softmax", "clamp", "clamp_", "clamp_min", "clamp_min_"),
)
ELEMENTWISE = (
    *("add", "sub", "mul", "div", "pow", "neg", "abs", "exp", "log", "sqrt", "rsqrt", "reciprocal", "square", "erf"),
    *("sin", "cos", "maximum", "minimum", "where", "gt", "lt", "rsub"),
)
KINDS = {
    "convolution": "conv",
    "max_pool2d_with_indices": "max pool",
    "avg_pool2d": "avg pool",
    "_adaptive_avg_pool2d": "avg pool",
    "adaptive_max_pool2d": "max pool",
    "mean": "mean",
    "addmm": "dense",
    "mm": "dense",
    "bmm": "matrix product",
    "baddbmm": "matrix product",
    "add": "add",
    "add_": "add",
    "mul": "multiply",
    "mul_": "multiply",
    "cat": "concat",
    "_softmax": "softmax",
    "_log_softmax": "log softmax",
    "constant_pad_nd": "pad",
    "embedding": "embedding",
    "_trilinear": "bilinear",
}


RECURRENT_KINDS: dict[type[nn.Module], str] = {
    nn.LSTM: "lstm",
    nn.GRU: "gru",
    nn.RNN: "rnn",
    nn.LSTMCell: "lstm cell",
    nn.GRUCell: "gru cell",
    nn.RNNCell: "rnn cell",
}


def multiply_adds(operation: Operation) -> int:
    """Multiplications that are followed by an addition, for the images the trace ran on."""
    name, arguments = operation.name, operation.arguments
    if name == "convolution":
        image, weight, transposed = arguments[0], arguments[1], arguments[6]
        positions = image if transposed else operation.made[0]
        return int(positions.shape[0] * prod(positions.shape[2:]) * weight.numel())
    if name in MATRIX:
        factor = arguments[MATRIX[name]]
        made = operation.made[0]
        return int(made.numel() * factor.shape[-1])
    if name == "mkldnn_rnn_layer":  # one direction of one layer of an LSTM, all T steps: T * 4 H (D + H)
        steps_TBD, input_weight, hidden_weight = arguments[:3]
        return int(prod(steps_TBD.shape[:-1]) * (input_weight.numel() + hidden_weight.numel()))
    if name == "_trilinear":  # nn.Bilinear: each weight once for each pair of vectors
        return int(operation.made[0].numel() * arguments[1].shape[1] * arguments[1].shape[2])
    if name == "addbmm":
        return int(arguments[1].numel() * arguments[2].shape[-1])
    if "attention" in name:
        query, key, value = operation.given[:3]
        pairs = prod(query.shape[:-1]) * key.shape[-2]
        return int(pairs * (query.shape[-1] + value.shape[-1]))
    return 0


def is_not_counted(operation: Operation) -> bool:
    """Whether it may multiply and add, and `multiply_adds` does not know how often."""
    return bool(operation.made) and ("::" in operation.name or operation.name.startswith(NOT_COUNTED))


def is_free(operation: Operation) -> bool:
    """Whether it only looks at memory in another way, or makes an empty tensor."""
    return operation.name in VIEWS or operation.name in MAKERS


def is_activation(operation: Operation) -> bool:
    """Whether it works on each number by itself, as nonlinearities do, with constants at most beside it."""
    return operation.name in ACTIVATIONS or operation.name.rstrip("_") in ELEMENTWISE


def is_norm(operation: Operation) -> bool:
    """Whether it is a normalisation."""
    return operation.name in NORMS or operation.name.startswith(("cudnn_batch_norm", "native_batch_norm"))


def kind_of(operations: list[Operation], module: nn.Module, is_leaf: bool) -> str:
    """The field's word for a row: by its costliest operation, else by the module, else by the operation's own name."""
    recurrent = next((kind for kind in RECURRENT_KINDS if isinstance(module, kind)), None)
    if is_leaf and recurrent is not None:
        return RECURRENT_KINDS[recurrent]
    costly = max(operations, key=multiply_adds)
    if multiply_adds(costly):
        if costly.name == "convolution" and costly.arguments[6]:
            return "transposed conv"
        if costly.name == "convolution" and 1 < costly.arguments[8] == costly.arguments[1].shape[0]:
            return "depthwise conv"
        return KINDS.get(costly.name, "attention" if "attention" in costly.name else costly.name)
    named = next((KINDS[operation.name] for operation in operations if operation.name in KINDS), "")
    if any(is_norm(operation) for operation in operations):
        return "norm"
    if is_leaf and type(module).__name__ in ("LocalResponseNorm", "CrossMapLRN2d"):
        return "norm"
    if named in ("max pool", "avg pool") or not is_leaf:
        return named or operations[-1].name.strip("_").replace("_", " ")
    if named == "mean" and len(operations) == 1:
        return "avg pool"
    kind = type(module)
    words = (
        kind.__name__ if kind.__module__.startswith("torch.") else re.sub(r"(?<=[a-z0-9])(?=[A-Z])", " ", kind.__name__)
    )
    return words.lower()
