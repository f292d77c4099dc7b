"""`README.md` of an export: what it is, what it was measured on, how its pixels are made, how it is run."""

import re
from collections.abc import Mapping
from typing import Any

from ..core.errors import printable
from ..core.types import Preprocessing
from ..data.images.preprocess import covered_box, fit_words
from ..evaluate.rates import percent
from ..runs.names import UNLIKE_UNKNOWN
from .bundle import Bundle, Int8

OTHER_PLACES = "Images of other cameras, places or times than those it was judged on."
NONE_OF_THEM = "Images that show none of the classes: the graph names one all the same."
PREDICT_TELLS = " `saccade predict` tells such images; this file does not."
LIKE_TRAINING = "Images that show none of the classes and look like those of training: the graph names a class."
USAGE = {
    "onnx": """```python
import numpy, onnxruntime
session = onnxruntime.InferenceSession("model.onnx", providers=["CPUExecutionProvider"])
logits, probabilities = session.run(["logits", "probabilities"], {"image": pixels})  # pixels uint8 (batch, H, W, C)
```""",
    "browser": """Open `index.html` in a browser, from the disk or from any server of files.
Keep the folder together. It needs no network.

`any-size.onnx` is its graph, **not for OpenVINO**, which ignores antialiasing without a word.

```python
import onnxruntime
session = onnxruntime.InferenceSession("any-size.onnx", providers=["CPUExecutionProvider"])
probabilities, = session.run(["probabilities"], {"image": photos})  # uint8 (batch, height, width, 3), any size, RGB
```""",
    "triton": """`triton` is a model repository of Triton:

```sh
tritonserver --model-repository triton
```

The input `image` is prepared pixels, uint8 (batch, H, W, C). Rename the folder `classifier` to rename the model.""",
    "openvino": """```python
import openvino
model = openvino.compile_model("model.xml", "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
answer = model({"image": pixels})  # pixels uint8 (batch, H, W, C); answer["logits"], answer["probabilities"]
```

Without the hint OpenVINO computes in bfloat16 on processors that can, and answers a little otherwise.""",
}


# What Markdown or HTML would take for a mark; an underscore within a word is none.
MARKS = re.compile(r"[&<>*\[\]`~]|(?<![^\W_])_|_(?![^\W_])|\\(?=[^\w\s])")


def as_markdown(text: str) -> str:
    """A stranger's text, as the name of a class, so that a card shows it letter by letter."""
    return MARKS.sub(lambda found: f"&#{ord(found[0])};", printable(text))


def card_text(bundle: Bundle) -> str:
    """The card, in Markdown. It holds no figure that is not in the run."""
    with_page = "browser" in bundle.formats
    lines = [
        f"# {as_markdown(bundle.model)}: {len(bundle.classes)} classes",
        "",
        verdict_sentence(bundle.metrics),
        *[f"- {as_markdown(caveat)}" for caveat in texts(bundle.metrics.get("caveats"))],
        "",
        "## Classes",
        "",
        *[f"{number}. {as_markdown(name)}" for number, name in enumerate(bundle.classes)],
        "",
        "## Input",
        "",
        preprocessing_words(bundle.preprocessing),
        "",
        "The graph takes these pixels and nothing else is to be done to them: normalisation, temperature and "
        f"{'sigmoid' if bundle.task.is_several else 'softmax'} are inside."
        + (" That of `any-size.onnx` takes whole photos and makes these pixels of them." if with_page else ""),
        "",
        *_pixels_lines(bundle),
        *_unlike_lines(bundle),
        "## Use",
        "",
        "\n\n".join(USAGE[name] for name in bundle.formats),
        "",
        "`check/` holds generated images, and `saccade.json` what the run says of them.",
        "",
        *_int8_lines(bundle.int8),
        "## Not measured",
        "",
        *[f"- {text}" for text in not_measured(bundle.metrics, bundle.unlike_training is not None)],
    ]
    return "\n".join(lines) + "\n"


def _unlike_lines(bundle: Bundle) -> list[str]:
    """What the distance is, and from where on an image has no answer."""
    known = bundle.unlike_training
    if known is None:
        return []
    places = {5: "fifth"}.get(known.neighbour, f"{known.neighbour}th")
    only = " `model.xml` in 8 bits does not give it." if bundle.int8 else ""
    return [
        f"`distance`, float32 (batch), is how far an image lies, by what the head of the network sees, from the "
        f"{places} nearest of {known.num_known:,} training images whose features are in the file. Above "
        f"{known.threshold:.6g} (`unlike_training` in `saccade.json`) it is unlike anything seen in training and has "
        f"no answer, as in `saccade predict`; of images like those of training about {percent(known.share)} % are "
        f"falsely called so.{only}",
        "",
    ]


def preprocessing_words(preprocessing: Preprocessing) -> str:
    """How an image becomes the pixels that the graph takes, in sentences."""
    height_px, width_px = preprocessing.input_height_px, preprocessing.input_width_px
    shape = f"uint8 (batch, {height_px}, {width_px}, {preprocessing.num_channels})"
    return f"{shape}, {pixel_words(preprocessing)}."


def pixel_words(preprocessing: Preprocessing) -> str:
    """The same without the form of the array."""
    colour = "RGB" if preprocessing.channels == "rgb" else "one channel of grey (ITU-R 601 luma)"
    how = f"{preprocessing.interpolation} resampling, antialiased as Pillow does"
    return f"{colour}, turned upright, {fit_words(preprocessing)} ({how})"


def pixels_code(preprocessing: Preprocessing) -> str:
    """Lines of Python that make `pixels` of photo.jpg by Pillow, as `prepare_image` does of a photo in colours or grey.

    Nothing for fit pad and for JPEG files that are decoded at a fraction of their size."""
    if preprocessing.fit == "pad" or preprocessing.fast_decode:
        return ""
    input_WH = (preprocessing.input_width_px, preprocessing.input_height_px)
    filter_ = f"Image.Resampling.{preprocessing.interpolation.upper()}"
    to_grey = '.convert("L")' if preprocessing.channels == "grey" else ""
    lines = [
        "import numpy",
        "from PIL import Image, ImageOps",
        f'photo = ImageOps.exif_transpose(Image.open("photo.jpg")).convert("RGB"){to_grey}',
    ]
    if preprocessing.resize_px is None:
        lines.append(f"photo = photo.resize({input_WH}, {filter_})")
    else:
        lines += [
            *_resized_lines(preprocessing, preprocessing.resize_px, filter_),
            f"left, top = round((photo.width - {input_WH[0]}) / 2), round((photo.height - {input_WH[1]}) / 2)",
            f"photo = photo.crop((left, top, left + {input_WH[0]}, top + {input_WH[1]}))",
        ]
    shape = (1, *input_WH[::-1], preprocessing.num_channels)
    return "\n".join([*lines, f"pixels = numpy.asarray(photo).reshape{shape}"])


def _resized_lines(preprocessing: Preprocessing, resize_px: int, filter_: str) -> list[str]:
    if preprocessing.fit != "cover":
        return [
            "short = min(photo.size)",
            f"photo = photo.resize([{resize_px} * side // short for side in photo.size], {filter_})",
        ]
    height_px, width_px = covered_box(preprocessing, resize_px)
    return [
        f"by_height = {height_px} * photo.width >= {width_px} * photo.height",
        f"over, under = ({height_px}, photo.height) if by_height else ({width_px}, photo.width)",
        f"photo = photo.resize([over * side // under for side in photo.size], {filter_})",
    ]


def _pixels_lines(bundle: Bundle) -> list[str]:
    """How the pixels are made, as code; nothing where no file takes them."""
    code = pixels_code(bundle.preprocessing)
    if not code or not set(bundle.formats) & {"onnx", "openvino", "triton"}:
        return []
    return [
        "In Python, with sides rounded as `saccade predict` rounds them. Files with transparency, 16 bits or a colour "
        "profile need more than this.",
        "",
        f"```python\n{code}\n```",
        "",
    ]


def not_measured(metrics: Mapping[str, Any], tells_unlike: bool = False) -> list[str]:
    """What the verdict does not say. `tells_unlike`: the graph says which images are unlike those of training; else
    `predict` does, where the run had enough to learn it from."""
    if tells_unlike:
        return [OTHER_PLACES, LIKE_TRAINING]
    return [OTHER_PLACES, NONE_OF_THEM + ("" if metrics.get(UNLIKE_UNKNOWN) else PREDICT_TELLS)]


def verdict_sentence(metrics: Mapping[str, Any]) -> str:
    """The verdict of the run in a sentence."""
    kind, number = metrics.get("kind") or "", metrics.get("num_samples")
    images = f"{number:,} {kind} images".replace("  ", " ") if isinstance(number, int) else "images"
    for name, what in (("top1", "correct"), ("map", "mean average precision")):
        rates = [metrics.get(name + end) for end in ("", "_low", "_high")]
        if all(isinstance(value, float) for value in rates):
            value, low, high = (percent(float(rate)) for rate in rates if rate is not None)
            return f"{value} % of {images} {what} (95 % interval {low} to {high})."
    return "Nothing is known of its accuracy."


def _int8_lines(figures: Int8 | None) -> list[str]:
    """What 8 bits cost, as a section."""
    if figures is None:
        return []
    rows = [
        ("float32", figures.float32_top1, figures.float32_low, figures.float32_high, figures.float32_ece),
        ("int8", figures.int8_top1, figures.int8_low, figures.int8_high, figures.int8_ece),
    ]
    return [
        "## 8 bits",
        "",
        f"`model.xml` computes in whole numbers of 8 bits, whose ranges {figures.num_calibration:,} training images "
        f"set. On the {figures.num_validation:,} validation images:",
        "",
        "| | correct, % (95 % interval) | calibration error, % |",
        "|---|---|---|",
        *[
            f"| {name} | {percent(top1)} ({percent(low)} to {percent(high)}) | {percent(ece)} |"
            for name, top1, low, high, ece in rows
        ],
        "",
        f"Difference {100 * figures.difference:+.1f} points (95 % interval {100 * figures.difference_low:+.1f} to "
        f"{100 * figures.difference_high:+.1f}); both say the same class to {percent(figures.same_answers)} % of them. "
        f"The temperature of int8 is {figures.temperature:.3f}.",
        "",
    ]


def texts(value: Any) -> list[str]:
    """The texts in a list; none where it is something else."""
    return [text for text in value if isinstance(text, str)] if isinstance(value, list) else []
