"""A frozen part made faster for inference: normalisation folded into convolutions, nonlinearities computed inside them.

On a CPU up to half of the time of a small network goes into reading maps again for a ReLU and into maximum pooling.
oneDNN applies the nonlinearity while the map is still in the processor's cache, and the maximum of numbers that are not
negative is that of their bit patterns. Folding: Jacob et al. 2018 (arXiv:1712.05877), section 3.2. Weights are brought
into oneDNN's order once, and the zeros of TensorFlow's padding are not written.
"""

import copy
from typing import Any

import torch
from torch import fx, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from ..core import torch_private
from .response_norm import LocalResponseNorm
from .same_padding import SamePadding

RELUS = (torch.relu, nn.functional.relu)
# What oneDNN computes inside a convolution, by its own words.
INSIDE = {nn.ReLU: "relu", nn.ReLU6: "hardtanh", nn.SiLU: "swish", nn.Hardswish: "hardswish"}
RELU6_BOUNDS = (0.0, 6.0)
UNTRACEABLE = (fx.proxy.TraceError, TypeError, RuntimeError)  # the code decides by values, which tracing cannot follow
# Images that pass together, so that their maps stay in the cache; bfloat16's matrix units want more rows at a time.
AT_ONCE = {torch.float32: 4, torch.bfloat16: 8}
BITS = {torch.bfloat16: torch.int16, torch.float32: torch.int32}  # integers as wide as the numbers that can be fused


class FusedConvolution(nn.Module):
    """A convolution and what stands `after` it, one of `INSIDE` or "none", as one oneDNN call in `precision`: the
    values of both in turn."""

    def __init__(self, convolution: nn.Conv2d, after: str, precision: torch.dtype) -> None:
        super().__init__()
        weight = convolution.weight.detach().to(precision).contiguous(memory_format=torch.channels_last)
        self.weight = nn.Parameter(weight, requires_grad=False)
        bias = convolution.bias
        self.bias = None if bias is None else nn.Parameter(bias.detach().to(precision), requires_grad=False)
        self.padding, self.stride = convolution.padding, convolution.stride
        self.dilation, self.groups = convolution.dilation, convolution.groups
        self.after, self.bounds = after, RELU6_BOUNDS if after == "hardtanh" else ()
        self._packed: dict[str, torch.Tensor] = {}

    def forward(self, map_BCHW: torch.Tensor) -> torch.Tensor:
        """The map behind the convolution and its nonlinearity, in the precision of the weights."""
        return self._convolved(map_BCHW.to(self.weight.dtype), "weight", self.padding)

    def _convolved(self, map_BCHW: torch.Tensor, name: str, padding: str | tuple[int, ...]) -> torch.Tensor:
        """By the filters called `name`."""
        where = (self.stride, self.dilation, self.groups)
        weight_OIHW = self._packed.get(name, getattr(self, name))
        if weight_OIHW.dtype == torch.float32 and name not in self._packed and not isinstance(padding, str):
            weight_OIHW = torch_private.packed_weight(map_BCHW, weight_OIHW, padding, *where)
            self._packed[name] = weight_OIHW  # threads that do so at once come to the same
        return torch_private.fused_convolution(
            map_BCHW, weight_OIHW, self.bias, padding, *where, self.after, self.bounds
        )


class FusedSameConvolution(FusedConvolution):
    """A depthwise convolution behind TensorFlow's padding, which has one zero more below and at the right: the same
    zeros on all sides, and a filter that begins with a row and a column of zeros. No padded map is written."""

    def __init__(self, padding: SamePadding, convolution: nn.Conv2d, after: str, precision: torch.dtype) -> None:
        super().__init__(convolution, after, precision)
        self.same = padding
        late = nn.functional.pad(self.weight.detach(), (1, 0, 1, 0)).contiguous(memory_format=torch.channels_last)
        self.late = nn.Parameter(late, requires_grad=False)

    def forward(self, map_BCHW: torch.Tensor) -> torch.Tensor:
        """The map behind padding, convolution and nonlinearity."""
        map_BCHW = map_BCHW.to(self.weight.dtype)
        left, right, above, below = self.same.around(map_BCHW)
        if (right - left, below - above) == (1, 1):
            return self._convolved(map_BCHW, "late", (below, right))
        if (right - left, below - above) == (0, 0):
            return self._convolved(map_BCHW, "weight", (above, left))
        return self._convolved(self.same(map_BCHW), "weight", self.padding)


class RectifiedMaximum(nn.Module):
    """Maximum pooling of a map without negative values: as integers, whose order is the same, bit for bit."""

    def __init__(self, pool: nn.MaxPool2d) -> None:
        super().__init__()
        self.pool = pool
        self.kernel_px, self.stride_px, self.padding_px = (
            _side(v) for v in (pool.kernel_size, pool.stride, pool.padding)
        )

    def forward(self, map_BCHW: torch.Tensor) -> torch.Tensor:
        """The pooled map; a window that is cut at the edge goes through torch."""
        height_px, width_px = (side + 2 * self.padding_px - self.kernel_px for side in map_BCHW.shape[2:])
        cuts = height_px % self.stride_px or width_px % self.stride_px
        if (self.pool.ceil_mode and cuts) or map_BCHW.dtype not in BITS:
            pooled: torch.Tensor = self.pool(map_BCHW)
            return pooled
        bits_BCHW = map_BCHW.view(BITS[map_BCHW.dtype])
        if self.padding_px:
            bits_BCHW = nn.functional.pad(bits_BCHW, (self.padding_px,) * 4)  # 0 is no more than any of them
        rows = self._largest([bits_BCHW[:, :, self._places(at, height_px)] for at in range(self.kernel_px)])
        both = self._largest([rows[..., self._places(at, width_px)] for at in range(self.kernel_px)])
        return both.view(map_BCHW.dtype)

    def _places(self, start: int, last: int) -> slice:
        return slice(start, start + last // self.stride_px * self.stride_px + 1, self.stride_px)

    @staticmethod
    def _largest(parts: list[torch.Tensor]) -> torch.Tensor:
        largest = torch.maximum(parts[0], parts[1])
        for part in parts[2:]:
            torch.maximum(largest, part, out=largest)
        return largest


class _Tracer(fx.Tracer):
    """Sees a network layer by layer; torch's own layers and those of the kinds `whole` stay whole. `failed` is the
    innermost layer whose code could not be followed."""

    def __init__(self, whole: set[type[nn.Module]]) -> None:
        super().__init__()
        self.whole = whole
        self.failed: nn.Module | None = None

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        """Whether not to look into `m`."""
        return type(m) in self.whole or super().is_leaf_module(m, module_qualified_name)

    def call_module(self, m: nn.Module, forward: Any, args: Any, kwargs: Any) -> Any:
        """Follow `m`, or remember that this cannot be done."""
        try:
            return super().call_module(m, forward, args, kwargs)
        except UNTRACEABLE:
            self.failed = self.failed or m
            raise


def _traced(network: nn.Module) -> fx.GraphModule | None:
    """`network` as a graph of layers, where those that cannot be followed stay whole; None where it is one of them."""
    whole: set[type[nn.Module]] = {LocalResponseNorm, SamePadding}
    while True:
        tracer = _Tracer(whole)
        try:
            return fx.GraphModule(network, tracer.trace(network))
        except UNTRACEABLE:
            if tracer.failed is None or type(tracer.failed) in whole:
                return None
            whole.add(type(tracer.failed))


def fuse_for_inference(modules: tuple[nn.Module, ...], precision: torch.dtype) -> nn.Module:
    """A copy of `modules`, one behind the other, in `precision`, channels-last and evaluation mode, with what can be
    fused in it fused. A layer whose code cannot be traced is copied as it is."""
    whole = copy.deepcopy(nn.Sequential(*modules)).eval()
    graph = _traced(whole)
    if graph is None:
        return _converted(whole, precision)
    _fold_normalisation(graph)
    _fuse_convolutions(graph, precision)
    _fuse_pooling(graph)
    graph.delete_all_unused_submodules()
    graph.recompile()
    return _converted(graph, precision)


def can_fuse(device: torch.device, precision: torch.dtype) -> bool:
    """Whether this processor and this torch have the fused call for numbers of `precision`."""
    if device.type != "cpu" or precision not in BITS or not torch.backends.mkldnn.is_available():
        return False
    return torch_private.has_fused_convolution(precision)


def _converted(module: nn.Module, precision: torch.dtype) -> nn.Module:
    converted: nn.Module = module.to(dtype=precision, memory_format=torch.channels_last)  # type: ignore[call-overload]
    return converted.requires_grad_(False)


def _fold_normalisation(graph: fx.GraphModule) -> None:
    """Batch normalisation behind a convolution becomes part of its weights, computed in float32."""
    modules = dict(graph.named_modules())
    for node in list(graph.graph.nodes):
        normalisation = _module(node, modules)
        before = node.args[0] if node.args else None
        convolution = _module(before, modules)
        if not isinstance(normalisation, nn.BatchNorm2d) or not isinstance(convolution, nn.Conv2d):
            continue
        if not isinstance(before, fx.Node) or normalisation.running_mean is None or len(before.users) > 1:
            continue
        _replace(graph, before.target, fuse_conv_bn_eval(convolution, normalisation))
        node.replace_all_uses_with(before)
        graph.graph.erase_node(node)
        modules = dict(graph.named_modules())


def _fuse_convolutions(graph: fx.GraphModule, precision: torch.dtype) -> None:
    modules = dict(graph.named_modules())
    for node in list(graph.graph.nodes):
        convolution = _module(node, modules)
        if not isinstance(convolution, nn.Conv2d) or not _is_plain(convolution):
            continue
        user = next(iter(node.users)) if len(node.users) == 1 else None
        after = "none" if user is None else _inside(user, modules)
        fused = FusedConvolution(convolution, after, precision)
        before, padding = node.args[0], _module(node.args[0], modules)
        if isinstance(before, fx.Node) and isinstance(padding, SamePadding) and _is_depthwise(convolution):
            if len(before.users) == 1:
                fused = FusedSameConvolution(padding, convolution, after, precision)
                before.replace_all_uses_with(before.args[0])  # type: ignore[arg-type]  # a layer's input is a node
                graph.graph.erase_node(before)
        _replace(graph, node.target, fused)
        if user is not None and after != "none":
            user.replace_all_uses_with(node)
            graph.graph.erase_node(user)


def _inside(user: fx.Node, modules: dict[str, nn.Module]) -> str:
    """What `user` of a convolution computes, in the words of `INSIDE`; "none" where it stays outside."""
    if user.op == "call_function" and user.target in RELUS:
        return "relu"
    module = _module(user, modules)
    return "none" if module is None else INSIDE.get(type(module), "none")


def _fuse_pooling(graph: fx.GraphModule) -> None:
    modules = dict(graph.named_modules())
    for node in list(graph.graph.nodes):
        pool = _module(node, modules)
        if isinstance(pool, nn.MaxPool2d) and _is_simple(pool) and _is_rectified(node.args[0], modules):
            _replace(graph, node.target, RectifiedMaximum(pool))


def _is_simple(pool: nn.MaxPool2d) -> bool:
    sides = (pool.kernel_size, pool.stride, pool.padding)
    square = all(isinstance(value, int) or len(set(value)) == 1 for value in sides)
    return square and pool.dilation in (1, (1, 1)) and not pool.return_indices and _side(pool.kernel_size) > 1


def _side(value: int | tuple[int, ...]) -> int:
    return value if isinstance(value, int) else value[0]


def _is_rectified(node: object, modules: dict[str, nn.Module]) -> bool:
    """Whether no value of what `node` gives can be negative."""
    module = _module(node, modules)
    if isinstance(module, FusedConvolution):
        return module.after in ("relu", "hardtanh")
    if isinstance(module, nn.ReLU | nn.ReLU6):
        return True
    if not isinstance(node, fx.Node):
        return False
    if isinstance(module, nn.MaxPool2d | RectifiedMaximum | LocalResponseNorm):
        return _is_rectified(node.args[0], modules)
    if node.op == "call_function" and node.target is torch.cat and isinstance(node.args[0], list | tuple):
        return all(_is_rectified(part, modules) for part in node.args[0])
    return node.op == "call_function" and node.target in RELUS


def _is_plain(convolution: nn.Conv2d) -> bool:
    """A convolution as torch computes it, with zeros around; its kernels know no other edge."""
    return type(convolution) is nn.Conv2d and convolution.padding_mode == "zeros" and convolution.padding != "same"


def _is_depthwise(convolution: nn.Conv2d) -> bool:
    return convolution.groups == convolution.in_channels == convolution.out_channels


def _module(node: object, modules: dict[str, nn.Module]) -> nn.Module | None:
    if not isinstance(node, fx.Node) or node.op != "call_module":
        return None
    return modules.get(str(node.target))


def _replace(graph: fx.GraphModule, name: object, module: nn.Module) -> None:
    parent, _, leaf = str(name).rpartition(".")
    setattr(graph.get_submodule(parent), leaf, module)
