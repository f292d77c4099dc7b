"""`README.md` of an export: what it is, what it was measured on, how its pixels are made, how it is run."""

from collections.abc import Mapping
from typing import Any

from ..core.errors import printable
from ..core.types import Preprocessing
from ..data.images.preprocess import fit_words
from ..evaluate.rates import percent
from .bundle import Bundle, Int8

OTHER_CAMERAS = "Images of other cameras, places or times than those it was judged on."
UNTOLD = (
    "Images that show none of the classes: the graph names one all the same. "
    "`saccade predict` tells such images; this file does not."
)
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


def card_text(bundle: Bundle) -> str:
    """The card, in Markdown. It holds no figure that is not in the run."""
    with_page = "browser" in bundle.formats
    lines = [
        f"# {printable(bundle.model)}: {len(bundle.classes)} classes",
        "",
        verdict_sentence(bundle.metrics),
        *[f"- {printable(caveat)}" for caveat in texts(bundle.metrics.get("caveats"))],
        "",
        "## Classes",
        "",
        *[f"{number}. {printable(name)}" for number, name in enumerate(bundle.classes)],
        "",
        "## Input",
        "",
        preprocessing_words(bundle.preprocessing),
        "",
        "The graph takes these pixels and nothing else is to be done to them: normalisation, temperature and "
        f"{'sigmoid' if bundle.task.is_several else 'softmax'} are inside."
        + (" That of `any-size.onnx` takes whole photos and makes these pixels of them." if with_page else ""),
        "",
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
        *[f"- {text}" for text in not_measured(bundle)],
    ]
    return "\n".join(lines) + "\n"


def not_measured(bundle: Bundle) -> tuple[str, ...]:
    """What no figure of the run covers, in sentences."""
    return OTHER_CAMERAS, LIKE_TRAINING if bundle.unlike_training else UNTOLD


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
