"""`any-size.onnx`: the graph takes photographs of any size and makes inputs of them as `prepare_image` does.

Pillow resizes in two passes, each rounded to whole levels, with filters that widen when they shrink. onnxruntime does
the same to uint8 with `antialias` and `exclude_outside`. OpenVINO ignores `antialias` without a
word, so the graph holds an operation that OpenVINO does not know, and is refused there.
"""

from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from ..core.types import Preprocessing
from ..data.images.preprocess import covered_box, mean_levels
from .bundle import IMAGE, own_outputs
from .onnx_file import open_session

if TYPE_CHECKING:
    import onnx

PREPARED = "prepared"  # the output that holds the pixels as the network sees them
NOT_FOR = "not for OpenVINO, which ignores the antialiasing of Resize"
DOMAIN, GUARD = "saccade", "not_for_OpenVINO"
LUMA = (19_595, 38_470, 7_471)  # of 65,536: Pillow's ITU-R 601 weights of red, green and blue
UINT8, INT32, INT64, BOOL, DOUBLE = 2, 6, 7, 9, 11  # element types of ONNX
RESIZE: dict[str, Any] = {
    "coordinate_transformation_mode": "half_pixel",
    "cubic_coeff_a": -0.5,
    "antialias": 1,
    "exclude_outside": 1,
}  # as Pillow's filters
BICUBIC = Image.Resampling.BICUBIC
MODES = {"bilinear": "linear", "bicubic": "cubic"}


def any_size_bytes(content: bytes, preprocessing: Preprocessing) -> bytes:
    """The content of the file made of that of `model.onnx`: `image` uint8 (batch, height, width, 3) RGB of any size to
    the outputs of that file, and `prepared` uint8 (batch, H, W, C)."""
    import onnx

    model = onnx.load_model_from_string(content)
    graph = model.graph
    front = _Front()
    front.write(preprocessing)
    for node in graph.node:
        node.input[:] = [PREPARED if name == IMAGE else name for name in node.input]
    behind = list(graph.node)
    del graph.node[:]
    graph.node.extend([*front.nodes, *behind])
    graph.initializer.extend(front.constants)
    del graph.input[:]
    sizes: list[str | int] = ["batch", "height", "width", 3]
    graph.input.append(onnx.helper.make_tensor_value_info(IMAGE, onnx.TensorProto.UINT8, sizes))
    channels, height_px, width_px = preprocessing.input_CHW
    sizes = ["batch", height_px, width_px, channels]
    graph.output.append(onnx.helper.make_tensor_value_info(PREPARED, onnx.TensorProto.UINT8, sizes))
    _add_guard(model)
    entry = model.metadata_props.add()
    entry.key, entry.value = "saccade.engine", NOT_FOR
    made: bytes = model.SerializeToString(deterministic=True)
    return made


def run_any_size(content: bytes, image_BHWC: np.ndarray) -> tuple[np.ndarray, ...]:
    """(prepared_BHWC uint8, logits_BK, probability_BK) of whole photographs, by onnxruntime on the processor; with
    distance_B where the graph gives it."""
    session = open_session(content)
    names = [PREPARED, *own_outputs(output.name for output in session.get_outputs())]
    return tuple(session.run(names, {IMAGE: image_BHWC}))


@lru_cache(maxsize=1)
def rows_may_come_first() -> bool:
    """Whether this Pillow makes the height smaller before the width where that is less work; those before 13 did not.
    After the first pass values are rounded, so the order shows in the result."""
    side = np.arange(64 * 64, dtype=np.uint32).reshape(64, 64) * 2_654_435_761 >> 24  # scattered levels
    picture = Image.fromarray(side.astype(np.uint8))
    columns_first = picture.resize((80, 64), BICUBIC).resize((80, 40), BICUBIC)
    return bool((np.asarray(picture.resize((80, 40), BICUBIC)) != np.asarray(columns_first)).any())


def _add_guard(model: "onnx.ModelProto") -> None:
    """A function of the graph's own that gives back what it gets. OpenVINO knows none, and says its name."""
    from onnx import helper

    opset = next(entry.version for entry in model.opset_import if not entry.domain)
    same = helper.make_node("Identity", ["pixels"], ["same"])
    function = helper.make_function(DOMAIN, GUARD, ["pixels"], ["same"], [same], [helper.make_opsetid("", opset)])
    model.functions.append(function)
    model.opset_import.append(helper.make_opsetid(DOMAIN, 1))


class _Front:
    """The operations in front of the network. Sizes are int64 tensors of one element."""

    def __init__(self) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.constants: list[onnx.TensorProto] = []

    def write(self, preprocessing: Preprocessing) -> None:
        """From IMAGE to PREPARED."""
        pixels = self.do("Transpose", [IMAGE], {"perm": (0, 3, 1, 2)})
        if preprocessing.channels == "grey":
            pixels = self.grey(pixels)
        height, width = self.resized_size(preprocessing)
        if preprocessing.interpolation == "nearest":
            pixels = self.nearest(self.nearest(pixels, width, 3), height, 2)
        else:
            pixels = self.resize(pixels, height, width, MODES[preprocessing.interpolation])
        if preprocessing.fit == "pad":
            pixels = self.pad(pixels, height, width, preprocessing)
        elif preprocessing.resize_px is not None:
            pixels = self.cut(pixels, height, width, preprocessing)
        pixels = self.do("Transpose", [pixels], {"perm": (0, 2, 3, 1)})
        self.do(GUARD, [pixels], domain=DOMAIN, output=PREPARED)

    def grey(self, pixels: str) -> str:
        """(B, 3, H, W) to (B, 1, H, W): (red 19595 + green 38470 + blue 7471 + 32768) / 65536 in whole numbers."""
        total = self.constant(np.array(32_768, np.int32))
        for channel, weight in enumerate(LUMA):
            one = self.do("Gather", [pixels, self.number(channel)], {"axis": 1})
            wide = self.do("Cast", [one], {"to": INT32})
            total = self.do("Add", [total, self.do("Mul", [wide, self.constant(np.array(weight, np.int32))])])
        return self.do("Cast", [self.do("Div", [total, self.constant(np.array(65_536, np.int32))])], {"to": UINT8})

    def resized_size(self, preprocessing: Preprocessing) -> tuple[str, str]:
        """Height and width after resizing, as `place_on_input` gives them."""
        input_HW = preprocessing.input_height_px, preprocessing.input_width_px
        height = self.do("Shape", [IMAGE], {"start": 1, "end": 2})
        width = self.do("Shape", [IMAGE], {"start": 2, "end": 3})
        if preprocessing.fit == "pad":
            return self.inside(height, width, input_HW)
        if preprocessing.resize_px is None:
            return self.number(input_HW[0]), self.number(input_HW[1])
        box_height = box_width = preprocessing.resize_px
        if preprocessing.fit == "cover":
            box_height, box_width = covered_box(preprocessing, preprocessing.resize_px)
        is_wide = self.do("GreaterOrEqual", [self.times(width, box_height), self.times(height, box_width)])
        of_height = self.do("Div", [self.times(height, box_width), width])
        of_width = self.do("Div", [self.times(width, box_height), height])
        return (
            self.do("Where", [is_wide, self.number(box_height), of_height]),
            self.do("Where", [is_wide, of_width, self.number(box_width)]),
        )

    def inside(self, height: str, width: str, input_HW: tuple[int, int]) -> tuple[str, str]:
        """The largest size of the picture's shape that lies in the input, the other side rounded, at least 1."""
        input_height, input_width = input_HW
        is_wide = self.do("LessOrEqual", [self.times(height, input_width), self.times(width, input_height)])
        of_height = self.rounded_share(self.times(height, 2 * input_width), width)
        of_width = self.rounded_share(self.times(width, 2 * input_height), height)
        return (
            self.do("Where", [is_wide, of_height, self.number(input_height)]),
            self.do("Where", [is_wide, self.number(input_width), of_width]),
        )

    def rounded_share(self, doubled: str, side: str) -> str:
        """max(1, (doubled + side) // (2 side))."""
        share = self.do("Div", [self.do("Add", [doubled, side]), self.times(side, 2)])
        return self.do("Max", [self.number(1), share])

    def resize(self, pixels: str, height: str, width: str, mode: str) -> str:
        """Both passes of Pillow's filter, in uint8: the width first, but for pictures that lose more than twice as many
        rows as columns."""
        old_height, old_width = (self.do("Shape", [pixels], {"start": axis, "end": axis + 1}) for axis in (2, 3))
        middle = old_height, width
        if rows_may_come_first():
            rows, columns = (self.do("Sub", pair) for pair in ([old_height, height], [old_width, width]))
            is_more = self.do("Greater", [rows, self.times(columns, 2)])
            is_rows = self.do("And", [is_more, self.do("Greater", [rows, self.number(0)])])
            middle = (
                self.do("Where", [is_rows, height, old_height]),
                self.do("Where", [is_rows, old_width, width]),
            )
        for size in (middle, (height, width)):
            sizes = self.do("Concat", [self.do("Shape", [pixels], {"start": 0, "end": 2}), *size], {"axis": 0})
            pixels = self.do("Resize", [pixels, "", "", sizes], {**RESIZE, "mode": mode})
        return pixels

    def nearest(self, pixels: str, side: str, axis: int) -> str:
        """Pillow's nearest pixel along `axis`: its places are a running sum of float64, of which the whole part."""
        old = self.do("Shape", [pixels], {"start": axis, "end": axis + 1})
        step = self.do("Div", [self.do("Cast", [old], {"to": DOUBLE}), self.do("Cast", [side], {"to": DOUBLE})])
        half = self.do("Mul", [step, self.constant(np.array([0.5]))])
        others = self.do("Expand", [step, self.do("Sub", [side, self.number(1)])])
        place = self.do("CumSum", [self.do("Concat", [half, others], {"axis": 0}), self.constant(np.array(0))])
        index = self.do("Min", [self.do("Cast", [place], {"to": INT64}), self.do("Sub", [old, self.number(1)])])
        return self.do("Gather", [pixels, index], {"axis": axis})

    def pad(self, pixels: str, height: str, width: str, preprocessing: Preprocessing) -> str:
        """The picture in the middle of an input of the mean colour."""
        num_channels, *input_HW = preprocessing.input_CHW
        spare = [self.do("Sub", [self.number(side), own]) for side, own in zip(input_HW, (height, width))]
        before = [self.do("Div", [free, self.number(2)]) for free in spare]
        after = [self.do("Sub", [free, first]) for free, first in zip(spare, before)]
        nothing = self.constant(np.array([0, 0], np.int64))
        pads = self.do("Concat", [nothing, *before, nothing, *after], {"axis": 0})
        one = self.constant(np.array(1, np.uint8))
        whole = self.do("Concat", [self.number(1), self.number(1), height, width], {"axis": 0})
        mask = self.do("Cast", [self.do("Pad", [self.do("Expand", [one, whole]), pads])], {"to": BOOL})
        mean_1C11 = self.constant(mean_levels(preprocessing).reshape(1, num_channels, 1, 1))
        return self.do("Where", [mask, self.do("Pad", [pixels, pads]), mean_1C11])

    def cut(self, pixels: str, height: str, width: str, preprocessing: Preprocessing) -> str:
        """The input in the middle; where it cannot lie in the middle, half a pixel is rounded to an even number."""
        input_HW = preprocessing.input_height_px, preprocessing.input_width_px
        first = []
        for side, own in zip(input_HW, (height, width)):
            spare = self.do("Sub", [own, self.number(side)])
            half = self.do("Div", [spare, self.number(2)])
            is_odd, half_is_odd = (self.do("Mod", [value, self.number(2)]) for value in (spare, half))
            first.append(self.do("Add", [half, self.do("Mul", [is_odd, half_is_odd])]))
        starts = self.do("Concat", first, {"axis": 0})
        ends = self.do("Add", [starts, self.constant(np.array(input_HW, np.int64))])
        return self.do("Slice", [pixels, starts, ends, self.constant(np.array([2, 3], np.int64))])

    def times(self, value: str, factor: int) -> str:
        """`value` times a number."""
        return self.do("Mul", [value, self.number(factor)])

    def number(self, value: int) -> str:
        """A size that is known."""
        return self.constant(np.array([value], np.int64))

    def constant(self, values: np.ndarray) -> str:
        """The name of a tensor of `values`."""
        from onnx import numpy_helper

        name = f"front_{len(self.nodes)}_{len(self.constants)}"
        self.constants.append(numpy_helper.from_array(values, name))
        return name

    def do(
        self,
        operation: str,
        inputs: Sequence[str],
        attributes: Mapping[str, Any] | None = None,
        domain: str = "",
        output: str = "",
    ) -> str:
        """The name of what `operation` makes of `inputs`."""
        from onnx import helper

        number = len(self.nodes)
        name = output or f"front_{number}"
        node = helper.make_node(
            operation, inputs, [name], f"front_{operation}_{number}", domain=domain, **(attributes or {})
        )
        self.nodes.append(node)
        return name
