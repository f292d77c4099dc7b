"""`README.md` of an export: what it is, what it was measured on, how its pixels are made, how it is run."""

import re
from collections.abc import Mapping
from typing import Any

from ..core.display import figure
from ..core.errors import printable
from ..core.task import Task
from ..core.types import Preprocessing
from ..data.images.bands import channel_words
from ..data.images.preprocess import covered_box, fit_words
from ..evaluate.rates import percent
from ..runs.names import UNLIKE_UNKNOWN
from .bundle import NUMBER, PROBABILITIES, Bundle, Int8, Int8Number, UnlikeTraining

OTHER_PLACES = "Images of other cameras, places or times than those it was judged on."
NONE_OF_THEM = "Images that show none of the classes: the graph names one all the same."
PREDICT_TELLS = " `saccade predict` tells such images; this file does not."
LIKE_TRAINING = "Images that show none of the classes and look like those of training: the graph names a class."
NUMBER_OF_ANY = "Images unlike those it was trained on: the graph gives a number all the same."
NUMBER_OF_LIKE = (
    "Images on which there is nothing to measure and that look like those of training: the graph gives a number."
)
USAGE = {
    "onnx": """```python
import numpy, onnxruntime
session = onnxruntime.InferenceSession("model.onnx", providers=["CPUExecutionProvider"])
logits, $answer = session.run(["logits", "$answer"], {"image": pixels})  # pixels $type (batch, H, W, C)
```""",
    "browser": """Open `index.html` in a browser, from the disk or from any server of files.
Keep the folder together. It needs no network.

`any-size.onnx` is its graph, **not for OpenVINO**, which ignores antialiasing without a word.

```python
import onnxruntime
session = onnxruntime.InferenceSession("any-size.onnx", providers=["CPUExecutionProvider"])
$answer, = session.run(["$answer"], {"image": photos})  # uint8 (batch, height, width, 3), any size, RGB
```""",
    "triton": """`triton` is a model repository of Triton:

```sh
tritonserver --model-repository triton
```

The input `image` is prepared pixels, $type (batch, H, W, C). Rename the folder `classifier` to rename the model.""",
    "openvino": """```python
import openvino
model = openvino.compile_model("model.xml", "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
answer = model({"image": pixels})  # pixels $type (batch, H, W, C); answer["logits"], answer["$answer"]
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
    with_page, task = "browser" in bundle.formats, bundle.task
    lines = [
        f"# {as_markdown(title_words(bundle))}",
        "",
        as_markdown(verdict_sentence(bundle.metrics)),
        *[f"- {as_markdown(caveat)}" for caveat in texts(bundle.metrics.get("caveats"))],
        "",
        *_answer_lines(bundle),
        "## Input",
        "",
        preprocessing_words(bundle.preprocessing),
        "",
        f"The graph takes these pixels and nothing else is to be done to them: {_INSIDE[task.kind]} are inside."
        + (" That of `any-size.onnx` takes whole photos and makes these pixels of them." if with_page else ""),
        "",
        *_pixels_lines(bundle),
        *_unlike_lines(bundle),
        "## Use",
        "",
        "\n\n".join(usage_text(name, bundle) for name in bundle.formats),
        "",
        "`check/` holds generated images, and `saccade.json` what the run says of them.",
        "",
        *_int8_lines(bundle.int8),
        "## Not measured",
        "",
        *[f"- {text}" for text in not_measured(bundle.metrics, _tells_unlike(bundle), task.is_number)],
    ]
    return "\n".join(lines) + "\n"


_INSIDE = {
    "one label": "normalisation, temperature and softmax",
    "several labels": "normalisation, temperature and sigmoid",
    "grade": "normalisation and softmax",
    "number": "normalisation, and what makes a number of the logit,",
}


def title_words(bundle: Bundle) -> str:
    """The network and what it answers."""
    num = len(bundle.classes)
    answers = {"number": f"'{printable(bundle.classes[0])}', a number", "grade": f"{num} grades"}
    return f"{printable(bundle.model)}: {answers.get(bundle.task.target, f'{num} classes')}"


def usage_text(name: str, bundle: Bundle) -> str:
    """How the format `name` is run."""
    type_name = "uint16" if bundle.preprocessing.depth_bits == 16 else "uint8"
    answer = NUMBER if bundle.task.is_number else PROBABILITIES
    return USAGE[name].replace("$answer", answer).replace("$type", type_name)


def interval_sentence(task: Task) -> str:
    """How near a number is to the truth, and how that is known."""
    return (
        f"Nine of ten truths are expected within {figure(task.half_width)} of the answer, to both sides, on images "
        f"like the {task.half_width_images:,} validation images that say so (split conformal prediction)."
    )


def _answer_lines(bundle: Bundle) -> list[str]:
    """What the numbers of an answer stand for, as a section."""
    names = [f"{number}. {as_markdown(name)}" for number, name in enumerate(bundle.classes)]
    task = bundle.task
    if task.is_grade:
        return [
            "## Grades",
            "",
            "In their order, the least first. The answer is the median of the probabilities, not the most probable:",
            "",
            "```python",
            "# its place in this list",
            'grade = (probabilities.cumsum(axis=1, dtype="float64") >= 0.5 - 1e-12).argmax(axis=1)',
            "```",
            "",
            *names,
            "",
        ]
    if not task.is_number:
        return ["## Classes", "", *names, ""]
    known = [interval_sentence(task)] if task.half_width else ["How near an answer is to the truth is not known."]
    return [
        "## Number",
        "",
        f"`number`, float32 (batch, 1), is {as_markdown(bundle.classes[0])}, in the unit of the labels it was trained "
        f"on. In float64 it is `logits * {task.deviation!r} + {task.mean!r}`, as `saccade predict` says it.",
        *known,
        "",
    ]


def _unlike_lines(bundle: Bundle) -> list[str]:
    """What the distance is, and from where on an image has no answer."""
    known, figures = bundle.unlike_training, bundle.int8
    lines = [_distance_words(known, "`unlike_training` in `saccade.json`")] if known else []
    if figures and figures.unlike_training:
        of_8_bits = _distance_words(figures.unlike_training, "`int8`, `unlike_training` in `saccade.json`")
        lines.append(f"Of `model.xml`, by the features that 8 bits give: {of_8_bits}" if known else of_8_bits)
    elif figures and known:
        lines.append("`model.xml` in 8 bits does not give it: the run has too few validation images.")
    return [*lines, ""] if lines else []


def _distance_words(known: UnlikeTraining, where: str) -> str:
    places = {5: "fifth"}.get(known.neighbour, f"{known.neighbour}th")
    return (
        f"`distance`, float32 (batch), is how far an image lies, by what the head of the network sees, from the "
        f"{places} nearest of {known.num_known:,} training images whose features are in the file. Above "
        f"{known.threshold:.6g} ({where}) it is unlike anything seen in training and has no answer, as in `saccade "
        f"predict`; of images like those of training about {percent(known.share)} % are falsely called so."
    )


def preprocessing_words(preprocessing: Preprocessing) -> str:
    """How an image becomes the pixels that the graph takes, in sentences."""
    height_px, width_px = preprocessing.input_height_px, preprocessing.input_width_px
    shape = f"{preprocessing.pixel_type.__name__} (batch, {height_px}, {width_px}, {preprocessing.num_channels})"
    return f"{shape}, {pixel_words(preprocessing)}."


def pixel_words(preprocessing: Preprocessing) -> str:
    """The same without the form of the array."""
    if preprocessing.has_bands:
        how = _band_resampling(preprocessing)
        return f"{_band_words(preprocessing)}, turned upright, {fit_words(preprocessing)} ({how})"
    colour = "RGB" if preprocessing.channels == "rgb" else "one channel of grey (ITU-R 601 luma)"
    how = f"{preprocessing.interpolation} resampling, antialiased as Pillow does"
    return f"{colour}, turned upright, {fit_words(preprocessing)} ({how})"


def _band_words(preprocessing: Preprocessing) -> str:
    """Which channels, and what their values become."""
    own = f"{channel_words(preprocessing.num_channels)} in the order of the file"
    white = preprocessing.white_16_bit
    if preprocessing.depth_bits == 16:
        return f"{own}, files of 16 bits as they are but cut at {white:,}, those of 8 bits times {white:,} / 255"
    return f"{own}, files of 8 bits as they are, those of 16 bits times 255 / {white:,}"


def _band_resampling(preprocessing: Preprocessing) -> str:
    deep = " of 32-bit floating point, rounded" if preprocessing.depth_bits == 16 else ""
    return f"each channel by itself, {preprocessing.interpolation} resampling, antialiased as Pillow does{deep}"


def pixels_code(preprocessing: Preprocessing) -> str:
    """Lines of Python that make `pixels` of photo.jpg by Pillow, as `prepare_image` does of a photo in colours or grey.

    Nothing for fit pad, for bands and for JPEG files that are decoded at a fraction of their size."""
    if preprocessing.fit == "pad" or preprocessing.fast_decode or preprocessing.has_bands:
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


def not_measured(metrics: Mapping[str, Any], tells_unlike: bool = False, is_number: bool = False) -> list[str]:
    """What the verdict does not say. `tells_unlike`: the graph says which images are unlike those of training; else
    `predict` does, where the run had enough to learn it from."""
    if tells_unlike:
        return [OTHER_PLACES, NUMBER_OF_LIKE if is_number else LIKE_TRAINING]
    none = NUMBER_OF_ANY if is_number else NONE_OF_THEM
    return [OTHER_PLACES, none + ("" if metrics.get(UNLIKE_UNKNOWN) else PREDICT_TELLS)]


def verdict_sentence(metrics: Mapping[str, Any]) -> str:
    """The verdict of the run in a sentence."""
    kind, number = metrics.get("kind") or "", metrics.get("num_samples")
    images = f"{number:,} {kind} images".replace("  ", " ") if isinstance(number, int) else "images"
    if number_words := _number_verdict(metrics, images):
        return number_words
    for name, what in (("top1", "correct"), ("map", "mean average precision")):
        rates = [metrics.get(name + end) for end in ("", "_low", "_high")]
        if all(isinstance(value, float) for value in rates):
            value, low, high = (percent(float(rate)) for rate in rates if rate is not None)
            return f"{value} % of {images} {what} (95 % interval {low} to {high}).{_grade_verdict(metrics)}"
    return "Nothing is known of its accuracy."


def _number_verdict(metrics: Mapping[str, Any], images: str) -> str:
    """The verdict on numbers, in their unit; "" of anything else."""
    found = [metrics.get(name) for name in ("mae", "mae_low", "mae_high", "median", "baseline_mae")]
    if metrics.get("task") != "number" or not all(isinstance(value, float) for value in found):
        return ""
    error, low, high, median, baseline = (figure(float(value)) for value in found if value is not None)
    return (
        f"Mean absolute error {error} of '{printable(str(metrics.get('number')))}' on {images} (95 % interval {low} to "
        f"{high}); always saying the median, {median}: {baseline}."
    )


def _grade_verdict(metrics: Mapping[str, Any]) -> str:
    """How far grades are off, behind the verdict; "" of anything else."""
    found = [metrics.get(name) for name in ("mae", "mae_low", "mae_high", "baseline_mae")]
    if metrics.get("task") != "grade" or not all(isinstance(value, float) for value in found):
        return ""
    error, low, high, baseline = (f"{float(value):.3f}" for value in found if value is not None)
    return (
        f" Off by {error} grades on average (95 % interval {low} to {high}); always saying "
        f"'{printable(str(metrics.get('median_grade')))}', the median: {baseline}."
    )


def _int8_lines(figures: Int8 | Int8Number | None) -> list[str]:
    """What 8 bits cost, as a section."""
    if figures is None:
        return []
    lines = [
        "## 8 bits",
        "",
        f"`model.xml` computes in whole numbers of 8 bits, whose ranges {figures.num_calibration:,} training images "
        f"set. On the {figures.num_validation:,} validation images:",
        "",
        *(_int8_number_lines(figures) if isinstance(figures, Int8Number) else _int8_class_lines(figures)),
        "",
    ]
    known = figures.unlike_training
    if known and known.same_verdicts is not None:
        same = f"Float32 and 8 bits call the same images unlike training, or like it: {percent(known.same_verdicts)} %."
        lines += [f"{same} The distance from which on is set anew, by what 8 bits give for these images.", ""]
    return lines


def _int8_class_lines(figures: Int8) -> list[str]:
    rows = [
        ("float32", figures.float32_top1, figures.float32_low, figures.float32_high, figures.float32_ece),
        ("int8", figures.int8_top1, figures.int8_low, figures.int8_high, figures.int8_ece),
    ]
    lines = [
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
    ]
    if figures.float32_mae is not None and figures.int8_mae is not None:
        lines.append(f"Off by {figures.float32_mae:.3f} (float32) and {figures.int8_mae:.3f} (int8) grades on average.")
    return lines


def _int8_number_lines(figures: Int8Number) -> list[str]:
    near = f" Nine of ten truths are expected within {figure(figures.half_width)} of what int8 says."
    return [
        "| | mean absolute error |",
        "|---|---|",
        f"| float32 | {figure(figures.float32_mae)} |",
        f"| int8 | {figure(figures.int8_mae)} |",
        "",
        f"Difference {figures.difference:+.3g} (95 % interval {figures.difference_low:+.3g} to "
        f"{figures.difference_high:+.3g}); both are {figure(figures.largest_change)} apart at most."
        + (near if figures.half_width else ""),
    ]


def _tells_unlike(bundle: Bundle) -> bool:
    """Whether every graph of the export tells images that are unlike those of training."""
    told = bundle.int8.unlike_training if bundle.int8 else bundle.unlike_training
    return told is not None and (bundle.unlike_training is not None or set(bundle.formats) <= {"openvino"})


def texts(value: Any) -> list[str]:
    """The texts in a list; none where it is something else."""
    return [text for text in value if isinstance(text, str)] if isinstance(value, list) else []
