"""The network that a line of notation describes, sized layer by layer as it is built.

The parts: `stem` is the first layer with its pooling; a stage ends behind every pooling and in front of every other
layer with a stride; `neck` is the first gap, flatten or (unwritten) flatten in front of a dense layer; `head` is the
rest, and ends with a dense layer to the classes.
"""

from collections import OrderedDict
from dataclasses import dataclass
from math import prod
from typing import NoReturn

from torch import nn

from ..conv.geometry import Window, same_padding
from ..kernels.response_norm import LocalResponseNorm
from .architecture import ImageClassifier, ModelSpec
from .layers import Concatenation, Flatten, GlobalAveragePool, Residual
from .notation import Layer, fail, parse

Shape = tuple[int, ...]  # (C, H, W) of a map or (D,) of a feature
MODULES: dict[str, type[nn.Module]] = {
    "relu": nn.ReLU,
    "tanh": nn.Tanh,
    "sigmoid": nn.Sigmoid,
    "relu6": nn.ReLU6,
    "leaky": nn.LeakyReLU,
    "elu": nn.ELU,
    "gelu": nn.GELU,
    "silu": nn.SiLU,
    "hardswish": nn.Hardswish,
}
POOLS = ("pool", "avgpool")
TO_FEATURE = ("gap", "flatten", "fc", "softmax")


class NotationNetwork(ImageClassifier):
    """A network written as one line; see the module for where its parts begin."""

    def __init__(self, text: str, spec: ModelSpec) -> None:
        super().__init__()
        layers = parse(text)
        if layers[-1].kind != "softmax":
            layers += (Layer(kind="softmax", start=layers[-1].start, end=layers[-1].end),)
        builder = _Builder(text, spec.num_classes)
        built = builder.sequence(layers, spec.input_CHW, within="")
        split = next(number for number, layer in enumerate(layers) if layer.kind in TO_FEATURE)
        has_neck = layers[split].kind in ("gap", "flatten")
        groups = _stages(built[:split])
        self.stem = _sequential(groups[0])
        self.stages = nn.Sequential()
        for number, group in enumerate(groups[1:], start=1):
            self.stages.add_module(f"stage{number}", _sequential(group))
        self.neck = built[split].module if has_neck else Flatten()
        self.head = _sequential(built[split + has_neck :])
        _initialise(self)


@dataclass(frozen=True, kw_only=True)
class Built:
    """A layer with its name (conv1, pool2, ...), its module and the shape it leaves."""

    layer: Layer
    name: str
    module: nn.Module
    shape: Shape


class _Builder:
    """Makes modules and follows the shape; errors point into the line."""

    def __init__(self, text: str, num_classes: int) -> None:
        self.text = text
        self.num_classes = num_classes

    def sequence(self, layers: tuple[Layer, ...], shape: Shape, within: str) -> list[Built]:
        """Every layer of a line. `within` is the group that holds it, empty for the line itself."""
        counts: dict[str, int] = {}
        built = []
        for layer in layers:
            counts[layer.kind] = counts.get(layer.kind, 0) + 1
            if within and layer.kind in ("gap", "flatten", "softmax"):
                self._fail(layer, f"{layer.kind} cannot stand inside {within}( ): it would end the map.")
            module, shape = self._build(layer, shape, within)
            name = layer.kind if layer.kind == "softmax" else f"{layer.kind}{counts[layer.kind]}"
            built.append(Built(layer=layer, name=name, module=module, shape=shape))
        return built

    def _build(self, layer: Layer, shape: Shape, within: str) -> tuple[nn.Module, Shape]:
        kind = layer.kind
        if kind in ("conv", "pool", "avgpool", "lrn", "gap", "cat") and len(shape) == 1:
            self._fail(layer, f"{kind} needs a map, but {shape[0]:,} numbers come in: write it in front of fc and gap.")
        if kind == "fc" and within and len(shape) == 3:
            self._fail(layer, f"fc cannot stand inside {within}( ) on a map; conv {int(layer.number)} f1 can.")
        match kind:
            case "conv":
                return self._convolution(layer, shape)
            case "pool" | "avgpool":
                return self._pooling(layer, shape)
            case "fc" | "softmax":
                return self._dense(layer, shape)
            case "res":
                return self._residual(layer, shape)
            case "cat":
                return self._concatenation(layer, shape)
            case "gap":
                return GlobalAveragePool(), shape[:1]
            case "flatten":
                return Flatten(), (prod(shape),)
            case "bn":
                return (nn.BatchNorm2d if len(shape) == 3 else nn.BatchNorm1d)(shape[0]), shape
            case "lrn":
                return LocalResponseNorm(), shape
            case "dropout":
                return nn.Dropout(layer.number), shape
            case "identity":
                return nn.Identity(), shape
        return MODULES[kind](), shape

    def _convolution(self, layer: Layer, shape: Shape) -> tuple[nn.Module, Shape]:
        channels, width = shape[0], int(layer.number)
        if channels % layer.groups or width % layer.groups:
            self._fail(layer, f"g{layer.groups} must divide the channels, {channels} coming in and {width} going out.")
        padding, pads = self._padding(layer)
        sizes = self._sizes(layer, shape, pads)
        bias = layer.bias and not layer.norm  # the shift of the normalisation is the bias
        convolution = nn.Conv2d(
            channels,
            width,
            layer.kernel,
            layer.stride,
            0 if padding else pads[0],
            dilation=layer.dilation,
            groups=layer.groups,
            bias=bias,
        )
        parts: OrderedDict[str, nn.Module] = OrderedDict()
        if padding:
            parts["padding"] = nn.ZeroPad2d((*pads, *pads))
        parts["convolution"] = convolution
        if layer.norm:
            parts["norm"] = nn.BatchNorm2d(width)
        return nn.Sequential(_with_activation(parts, layer)), (width, *sizes)

    def _pooling(self, layer: Layer, shape: Shape) -> tuple[nn.Module, Shape]:
        if 2 * layer.padding > layer.kernel:
            self._fail(layer, f"The padding of a pooling is at most half of f{layer.kernel}, got p{layer.padding}.")
        uneven, pads = self._padding(layer)
        sizes = self._sizes(layer, shape, pads)
        inner = 0 if uneven else pads[0]
        if layer.kind == "avgpool":
            pool: nn.Module = nn.AvgPool2d(layer.kernel, layer.stride, inner)
        else:
            pool = nn.MaxPool2d(layer.kernel, layer.stride, inner)
        if uneven:
            outside = 0.0 if layer.kind == "avgpool" else float("-inf")
            pool = nn.Sequential(OrderedDict(padding=nn.ConstantPad2d((*pads, *pads), outside), pool=pool))
        return pool, (shape[0], *sizes)

    def _padding(self, layer: Layer) -> tuple[bool, tuple[int, int]]:
        """Whether the padding needs a layer of its own (before and after differ), and (before, after)."""
        pads = same_padding(layer.kernel, layer.dilation) if layer.same else (layer.padding, layer.padding)
        return pads[0] != pads[1], pads

    def _sizes(self, layer: Layer, shape: Shape, pads: tuple[int, int]) -> tuple[int, int]:
        window = Window(layer.kernel, layer.stride, pads, layer.dilation)
        rows, columns = window.output_size(shape[1]), window.output_size(shape[2])
        if min(rows, columns) < 1:
            formula = window.formula(shape[1] if rows < 1 else shape[2])
            what = f"{layer.kind} f{layer.kernel} s{layer.stride} on {shape[1]}x{shape[2]}: {formula}"
            self._fail(layer, what, "Nothing is left here: use a larger input, a smaller f, same, or leave it out.")
        return rows, columns

    def _dense(self, layer: Layer, shape: Shape) -> tuple[nn.Module, Shape]:
        if layer.kind == "softmax":
            return nn.Linear(prod(shape), self.num_classes), (self.num_classes,)
        width = int(layer.number)
        dense = nn.Linear(prod(shape), width, bias=layer.bias and not layer.norm)
        parts: OrderedDict[str, nn.Module] = OrderedDict(dense=dense)
        if layer.norm:
            parts["norm"] = nn.BatchNorm1d(width)
        return nn.Sequential(_with_activation(parts, layer)), (width,)

    def _residual(self, layer: Layer, shape: Shape) -> tuple[nn.Module, Shape]:
        branch = self.sequence(layer.branches[0], shape, within="res")
        left = branch[-1].shape
        shortcut: nn.Module = nn.Identity()
        if len(shape) == 1 and left != shape:
            shortcut = nn.Linear(shape[0], left[0], bias=False)
        elif left != shape:
            shortcut = self._projection(layer, shape, left)
        activation = MODULES[layer.activation]() if layer.activation != "linear" else nn.Identity()
        return Residual(_sequential(branch), shortcut, activation), left

    def _projection(self, layer: Layer, shape: Shape, left: Shape) -> nn.Module:
        """A 1x1 convolution with the stride of the branch, normalised where the branch ends normalised."""
        stride = _total_stride(layer.branches[0])
        window = Window(1, stride)
        if (window.output_size(shape[1]), window.output_size(shape[2])) != left[1:]:
            self._fail(
                layer,
                f"The branch leaves {left[1]}x{left[2]}, a shortcut with its stride {stride} leaves "
                f"{window.output_size(shape[1])}x{window.output_size(shape[2])} of {shape[1]}x{shape[2]}.",
                "Give the layers in res( ) the option same.",
            )
        last = layer.branches[0][-1]
        parts: OrderedDict[str, nn.Module] = OrderedDict(
            convolution=nn.Conv2d(shape[0], left[0], 1, stride, bias=False)
        )
        if last.norm or last.kind == "bn":
            parts["norm"] = nn.BatchNorm2d(left[0])
        return nn.Sequential(parts)

    def _concatenation(self, layer: Layer, shape: Shape) -> tuple[nn.Module, Shape]:
        branches = [self.sequence(branch, shape, within="cat") for branch in layer.branches]
        rows, columns = branches[0][-1].shape[1:]
        for branch in branches[1:]:
            if branch[-1].shape[1:] != (rows, columns):
                other = "x".join(map(str, branch[-1].shape[1:]))
                self._fail(
                    branch[-1].layer,
                    f"This branch leaves {other}, the first one {rows}x{columns}: they cannot be concatenated.",
                    "Give the layers in cat( ) the option same, and all branches the same stride.",
                )
        channels = sum(branch[-1].shape[0] for branch in branches)
        return Concatenation([_sequential(branch) for branch in branches]), (channels, rows, columns)

    def _fail(self, layer: Layer, what: str, hint: str = "") -> NoReturn:
        fail(self.text, layer.start, layer.end, what, hint)


def _stages(built: list[Built]) -> list[list[Built]]:
    """The layers on maps as stem, stage1, stage2, ...; see the module for the rule. The stem may be empty."""
    groups = [built[:1]]
    for previous, item in zip(built, built[1:], strict=False):
        is_pool = item.layer.kind in POOLS
        shrinks = not is_pool and _total_stride((item.layer,)) > 1
        ends_stem = len(groups) == 1 and item.layer.kind not in (*POOLS, "lrn", "bn", *MODULES)
        if previous.layer.kind in POOLS or shrinks or ends_stem:
            groups.append([])
        groups[-1].append(item)
    return groups


def _total_stride(layers: tuple[Layer, ...]) -> int:
    """The strides of `layers` multiplied, those inside groups along the first branch."""
    total = 1
    for layer in layers:
        total *= _total_stride(layer.branches[0]) if layer.branches else layer.stride
    return total


def _with_activation(parts: OrderedDict[str, nn.Module], layer: Layer) -> OrderedDict[str, nn.Module]:
    if layer.activation != "linear":
        parts[layer.activation] = MODULES[layer.activation]()
    return parts


def _sequential(built: list[Built]) -> nn.Sequential:
    return nn.Sequential(OrderedDict((item.name, item.module) for item in built))


def _initialise(network: NotationNetwork) -> None:
    """He et al. 2015 (arXiv:1502.01852), by fan-in; the last layer 0.01, so that training starts undecided."""
    last = list(network.head.children())[-1]
    for module in network.modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
            if module.bias is not None:
                nn.init.zeros_(module.bias)
    if isinstance(last, nn.Linear):
        nn.init.normal_(last.weight, std=0.01)
