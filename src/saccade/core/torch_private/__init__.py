"""Every call into torch that its documentation does not promise, in one place, by the name it has for us.

torch.optim and torch.use_deterministic_algorithms call the same kernels and switches, but import torch's compiler on
the way, which takes a second or two of every start; a documented way to the others is missing. Where a release of
torch renames or drops one, this folder alone changes. The tests hold every use to what torch documents.
"""

from datetime import timedelta

import torch
from torch import distributed
from torch.nn.modules.batchnorm import _BatchNorm

TRIED_WITH = ("2.13.0",)  # releases of torch with which the whole suite has passed

BatchNorm = _BatchNorm  # the base of BatchNorm1d to 3d and SyncBatchNorm

fused_sgd_ = torch._fused_sgd_
fused_adam_ = torch._fused_adam_
fused_adamw_ = torch._fused_adamw_
foreach_add = torch._foreach_add
foreach_add_ = torch._foreach_add_
foreach_mul_ = torch._foreach_mul_
foreach_sqrt = torch._foreach_sqrt
foreach_lerp = torch._foreach_lerp
foreach_lerp_ = torch._foreach_lerp_
foreach_copy_ = torch._foreach_copy_
foreach_addcmul_ = torch._foreach_addcmul_
foreach_addcdiv_ = torch._foreach_addcdiv_

convolution_backward = torch.ops.aten.convolution_backward
upsample_bilinear_into = torch.ops.aten._upsample_bilinear2d_aa.out
upsample_bicubic_into = torch.ops.aten._upsample_bicubic2d_aa.out


def has_amx() -> bool:
    """Whether the processor has tile units for bfloat16."""
    return bool(torch.cpu._is_amx_tile_supported())


def has_avx512_bfloat16() -> bool:
    """Whether the processor has AVX-512 instructions for bfloat16."""
    return bool(torch.cpu._is_avx512_bf16_supported())


def has_fused_convolution(precision: torch.dtype) -> bool:
    """Whether this torch has the oneDNN call of a convolution with its nonlinearity, and this processor has `precision`
    for it."""
    if not hasattr(torch.ops.mkldnn, "_convolution_pointwise"):
        return False
    if not hasattr(torch.ops.mkldnn, "_reorder_convolution_weight"):
        return False
    return precision == torch.float32 or bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())


def packed_weight(
    map_BCHW: torch.Tensor,
    weight_OIHW: torch.Tensor,
    padding: tuple[int, ...],
    stride: tuple[int, ...],
    dilation: tuple[int, ...],
    groups: int,
) -> torch.Tensor:
    """The weight as `fused_convolution` reads it, which else brings it into that order at every call: an opaque tensor
    that nothing else reads. Maps of other sizes than `map_BCHW` have the same values with it."""
    packed: torch.Tensor = torch.ops.mkldnn._reorder_convolution_weight(
        weight_OIHW, list(padding), list(stride), list(dilation), groups, list(map_BCHW.shape)
    )
    return packed


def fused_convolution(
    map_BCHW: torch.Tensor,
    weight_OIHW: torch.Tensor,
    bias_O: torch.Tensor | None,
    padding: str | tuple[int, ...],
    stride: tuple[int, ...],
    dilation: tuple[int, ...],
    groups: int,
    after: str,
    bounds: tuple[float, ...] = (),
) -> torch.Tensor:
    """(B, O, H, W): a convolution and what stands `after` it, "relu", "hardtanh" between `bounds`, "swish", "hardswish"
    or "none", as one call."""
    fused: torch.Tensor = torch.ops.mkldnn._convolution_pointwise(
        map_BCHW, weight_OIHW, bias_O, padding, stride, dilation, groups, after, list(bounds), ""
    )
    return fused


def set_deterministic(is_on: bool, warn_only: bool = False) -> None:
    """What torch.use_deterministic_algorithms sets."""
    torch._C._set_deterministic_algorithms(is_on, warn_only=warn_only)


def set_group_timeout(group: distributed.ProcessGroup | None, timeout_s: float) -> None:
    """Calls of `group` that begin from here on fail after `timeout_s` seconds."""
    distributed.distributed_c10d._set_pg_timeout(timedelta(seconds=timeout_s), group)
