"""`README.md` of a folder for the hub: the front matter that the hub reads, and the card for people.

It says what the run says: no figure is computed here. No path of the machine is in it; of the weights that training
began with, and of the images, it has the last part of their names, or their address on the hub.
"""

from collections.abc import Mapping, Sequence
from pathlib import PurePath
from typing import Any

import yaml

from ..core.addresses import hub_name, is_hub, shown
from ..core.errors import printable
from ..core.types import Preprocessing
from ..data.images.preprocess import fit_words
from ..evaluate.rates import percent
from ..runs.checkpoint import Checkpoint
from ..runs.summary import read_data_summary
from ..weights.licence import restriction
from .bundle import Bundle
from .card import (
    USAGE,
    as_markdown,
    interval_sentence,
    texts,
    title_words,
    usage_text,
    verdict_sentence,
)
from .hub import HubFolder

MOST_CLASSES = 200  # that the card lists; config.json has all of them
PARTS = ("train", "validation", "test")
JUDGED = ("held-out", "cross-validated")  # kinds of images whose figures a table of models may show
METRICS = (
    ("top1", "accuracy", "Accuracy"),
    ("map", "mean_average_precision", "Mean average precision"),
    ("mae", "mae", "Mean absolute error"),
)
HUB_LICENCES = frozenset(
    "afl-3.0 agpl-3.0 apache-2.0 apple-amlr apple-ascl artistic-2.0 bsd bsd-2-clause bsd-3-clause bsd-3-clause-clear "
    "bsl-1.0 c-uda cc cc-by-2.0 cc-by-2.5 cc-by-3.0 cc-by-4.0 cc-by-nc-2.0 cc-by-nc-3.0 cc-by-nc-4.0 cc-by-nc-nd-3.0 "
    "cc-by-nc-nd-4.0 cc-by-nc-sa-2.0 cc-by-nc-sa-3.0 cc-by-nc-sa-4.0 cc-by-nd-4.0 cc-by-sa-3.0 cc-by-sa-4.0 cc0-1.0 "
    "cdla-permissive-1.0 cdla-permissive-2.0 cdla-sharing-1.0 ecl-2.0 epl-1.0 epl-2.0 eupl-1.1 eupl-1.2 gpl gpl-2.0 "
    "gpl-3.0 isc lgpl lgpl-2.1 lgpl-3.0 mit mpl-2.0 ms-pl ncsa odbl ofl-1.1 openrail osl-3.0 other pddl postgresql "
    "unknown unlicense wtfpl zlib".split()
)
NUMBER_LOADING = """```python
import timm
from PIL import Image, ImageOps
model = timm.create_model("hf-hub:OWNER/NAME", pretrained=True).eval()  # a folder on disk: "local-dir:FOLDER"
prepare = timm.data.create_transform(**timm.data.resolve_data_config({{}}, model=model))
image = ImageOps.exif_transpose(Image.open("photo.jpg")).convert("RGB")
number = model(prepare(image)[None])  # (1, 1), in the unit of the labels
```

```python
from transformers import pipeline
measure = pipeline("image-classification", model="OWNER/NAME")  # or a folder on disk
measure("photo.jpg", function_to_apply="none")[0]["score"]  # the number; without "none" some versions squash it
```

```text
saccade transfer PHOTOS --backbone {network} --weights hub:OWNER/NAME --target number
```"""
LOADING = """```python
import timm
from PIL import Image, ImageOps
model = timm.create_model("hf-hub:OWNER/NAME", pretrained=True).eval()  # a folder on disk: "local-dir:FOLDER"
prepare = timm.data.create_transform(**timm.data.resolve_data_config({{}}, model=model))
image = ImageOps.exif_transpose(Image.open("photo.jpg")).convert("RGB")
logits = model(prepare(image)[None])
```

```python
from transformers import pipeline
classify = pipeline("image-classification", model="OWNER/NAME")  # or a folder on disk
classify("photo.jpg", top_k={top_k})
```

```text
saccade transfer PHOTOS --backbone {network} --weights hub:OWNER/NAME
```"""


UNLIKE_CODE = """```python
import numpy
from safetensors.numpy import load_file
known = load_file("unlike_training.safetensors")["unit_features"].astype("float32")
feature = model.forward_head(model.forward_features(prepare(image)[None]), pre_logits=True).detach().numpy()
cosine = (feature / numpy.linalg.norm(feature, axis=1, keepdims=True)) @ known.T
distance = numpy.sqrt(numpy.maximum(2 - 2 * numpy.sort(cosine, axis=1)[:, -{neighbour}], 0))
is_unlike = distance > {threshold}
```"""


def with_hub(bundle: Bundle, checkpoint: Checkpoint, hub: HubFolder) -> Bundle:
    """`bundle` with what the card needs besides: who read the folder, what training began with, how many images."""
    origin = checkpoint.manifest.origin
    base = origin.transfer
    summary = read_data_summary(checkpoint.folder.parent)
    provenance = bundle.provenance | {
        "base": {"weights": _named(base.weights), "sha256": base.weights_sha256, "licence": base.licence},
        "images": {
            "source": _named(origin.source),
            "counts": {part: list(numbers) for part, numbers in summary.counts.items()} if summary else {},
            "num_images": dict(summary.num_images) if summary else {},
        },
    }
    provenance |= {"unlike_training_untold": hub.untold} if hub.untold else {}
    differences = bundle.largest_difference | {"hub": hub.difference.logits}
    return bundle.model_copy(
        update={"provenance": provenance, "read_by": hub.read_by, "largest_difference": differences}
    )


def hub_card_text(bundle: Bundle) -> str:
    """The card, in Markdown behind its front matter. It holds no figure that is not in the run."""
    num_classes, network = len(bundle.classes), bundle.model.partition("+")[0]
    is_number = bundle.task.is_number
    loading = NUMBER_LOADING if is_number else LOADING
    lines = [
        "---",
        yaml.safe_dump(front_matter(bundle), sort_keys=False, allow_unicode=True).rstrip(),
        "---",
        "",
        f"# {_title(bundle)}",
        "",
        as_markdown(verdict_sentence(bundle.metrics)),
        "",
        _list([as_markdown(caveat) for caveat in texts(bundle.metrics.get("caveats"))]),
        *_section("Intended use", _use_words(bundle)),
        *_section("How to load it", loading.format(network=network, top_k=min(num_classes, 5))),
        *(
            text
            for name in bundle.formats
            if name in USAGE
            for text in _section(f"As {name}", usage_text(name, bundle))
        ),
        *_section("Input", pixel_words(bundle.preprocessing), _scale_words(bundle)),
        *_section("Unlike anything seen in training", *_unlike_words(bundle)),
        *_section("Images" if is_number else "Classes and images", *_image_words(bundle)),
        *_section("Where it comes from", _origin_words(bundle)),
        *_section("What was checked", _check_words(bundle)),
        *_section(
            "What was not measured",
            _list(
                [
                    "Pictures of other cameras, places or times than those it was judged on.",
                    "Pictures on which there is nothing to measure and that look like those of training: it gives a "
                    "number."
                    if is_number
                    else "Pictures that show none of the classes and look like those of training: it names one.",
                    "Files that other programs decode otherwise than Pillow does, such as CMYK or 16 bits a channel.",
                ]
            ),
        ),
    ]
    return "\n".join(lines).rstrip() + "\n"


def front_matter(bundle: Bundle) -> dict[str, Any]:
    """What the hub reads: tags, licence, base model, and the figure where images were judged."""
    base = bundle.provenance["base"]
    licence, known = str(base["licence"]).lower(), hub_name(base["weights"])
    values: dict[str, Any] = {
        "library_name": "timm",
        "pipeline_tag": "image-classification",
        "tags": ["image-classification", "timm", "transformers", "saccade"],
    }
    if licence:
        values["license"] = licence if licence in HUB_LICENCES else "other"
    elif base["weights"]:
        values["license"] = "unknown"
    if known is not None:
        values["base_model"] = known.name
    found = _judged(bundle.metrics)
    if found is not None:
        values["model-index"] = [{"name": _title(bundle), "results": [found]}]
    return values


def pixel_words(preprocessing: Preprocessing) -> str:
    """How a picture becomes an input, in sentences."""
    how = f"{preprocessing.interpolation} resampling, antialiased as Pillow does"
    mean, std = (", ".join(f"{value:.4g}" for value in each) for each in (preprocessing.mean, preprocessing.std))
    return (
        f"RGB, turned upright, {fit_words(preprocessing)} ({how}); then (pixel / 255 - mean) / deviation with mean "
        f"{mean} and deviation {std}. `config.json` says so to timm and transformers, which do it by themselves."
    )


def _title(bundle: Bundle) -> str:
    number = len(bundle.classes)
    if bundle.task.target:
        return title_words(bundle)
    return f"{printable(bundle.model)}: {number:,} class{'' if number == 1 else 'es'}"


def _judged(metrics: Mapping[str, Any]) -> dict[str, Any] | None:
    """The figure as the hub's model index has it; None where no image was held out."""
    number = metrics.get("num_samples")
    if metrics.get("kind") not in JUDGED or not isinstance(number, int) or not number:
        return None
    for name, kind, words in METRICS:
        value = metrics.get(name)
        if isinstance(value, float):
            return {
                "task": {"type": "image-classification", "name": "Image classification"},
                "dataset": {"type": "imagefolder", "name": f"{number:,} {metrics['kind']} images"},
                "metrics": [{"type": kind, "value": value, "name": words}],
            }
    return None


def _use_words(bundle: Bundle) -> str:
    if bundle.task.is_several:
        said = bundle.task.thresholds or (0.5,) * len(bundle.classes)
        where = ", ".join(
            f"{as_markdown(name)} {threshold:.3g}" for name, threshold in list(zip(bundle.classes, said))[:MOST_CLASSES]
        )
        return (
            "To say which of these classes a picture shows, where pictures are like those it was trained and judged "
            f"on. A picture may have several of them, or none. A class is said from this probability on: {where}."
        )
    if bundle.task.is_number:
        near = f" {interval_sentence(bundle.task)}" if bundle.task.half_width else ""
        return (
            f"To say {as_markdown(bundle.classes[0])}, a number, of pictures like those it was trained and judged on. "
            f"It gives one for every picture.{near} Judge it on pictures of your own before you rely on it: saccade "
            f"evaluate."
        )
    if bundle.task.is_grade:
        return (
            "To grade pictures like those it was trained and judged on. timm and transformers give the most probable "
            "grade; `saccade predict` says the median of the probabilities, the least grade at which their running sum "
            "reaches one half. Judge it on pictures of your own before you rely on it: saccade evaluate."
        )
    return (
        "To tell these classes apart in pictures like those it was trained and judged on. It names one of them for "
        "every picture. Judge it on pictures of your own before you rely on it: saccade evaluate."
    )


def _scale_words(bundle: Bundle) -> str:
    if bundle.task.is_several:
        scale = "Calibration is folded into the last layer. " if bundle.task.slopes else ""
        return f"{scale}The sigmoid of a logit is the probability that `saccade predict` gives."
    if bundle.task.is_number:
        return (
            f"The mean and the standard deviation of the training images' numbers, {bundle.task.mean!r} and "
            f"{bundle.task.deviation!r}, are folded into the last layer: its output is the number of `saccade "
            f"predict`, in float32. `config.json` calls it a regression."
        )
    if bundle.temperature == 1:
        return "The softmax of the logits gives the probabilities of `saccade predict`."
    return (
        f"The run's temperature, {bundle.temperature:.4g}, is folded into the last layer: its weights and biases are "
        "divided by it. The softmax of the logits gives the probabilities of `saccade predict`."
    )


def _unlike_words(bundle: Bundle) -> list[str]:
    """How a picture is told that is unlike those of training, as code; or why it is not."""
    known = bundle.unlike_training
    says, say = ("gives a number", "give a number") if bundle.task.is_number else ("names a class", "name a class")
    if known is None or "hub" not in known.largest_difference:
        why = str(bundle.provenance.get("unlike_training_untold") or "nothing is kept for it")
        return [
            f"This folder does not tell such pictures ({as_markdown(why)}): the network {says} for them, too. "
            f"`saccade predict` tells them, where the run knows."
        ]
    return [
        f"timm and transformers {say} for every picture. `unlike_training.safetensors` has what the last layer sees of "
        f"{known.num_known:,} training pictures, by which `saccade predict` tells those that are unlike anything seen "
        f"in training; of pictures like those of training about {percent(known.share)} % are falsely called so. With "
        f"the first block of code above:",
        UNLIKE_CODE.format(threshold=repr(known.threshold), neighbour=known.neighbour),
        f"{bundle.read_by} gave squared distances of generated pictures within "
        f"{known.largest_difference['hub']:.1g} of the run's. transformers does not give what the last layer sees.",
    ]


def _image_words(bundle: Bundle) -> list[str]:
    """How many images, then a table of them by class and part, where there are not too many classes."""
    images = bundle.provenance["images"]
    counts = {part: images["counts"][part] for part in PARTS if part in images["counts"]}
    totals = images["num_images"] or {part: sum(numbers) for part, numbers in counts.items()}
    said = [f"{totals[part]:,} {part}" for part in PARTS if part in totals]
    source = f" of {as_markdown(images['source'])}" if images["source"] else ""
    first = f"Images{source}: {', '.join(said)}." if said else "How many images it was trained on is not known."
    if bundle.task.is_number:
        return [first]
    if len(bundle.classes) > MOST_CLASSES:
        return [first, f"`config.json` lists the {len(bundle.classes):,} classes."]
    rows = ["| class |" + "".join(f" {part} |" for part in counts), "|---|" + "---|" * len(counts)]
    for number, name in enumerate(bundle.classes):
        cells = "".join(f" {numbers[number]:,} |" for numbers in counts.values())
        rows.append(f"| {as_markdown(name).replace('|', '&#124;')} |{cells}")
    return [first, "\n".join(rows)]


def _origin_words(bundle: Bundle) -> str:
    found, base = bundle.provenance, bundle.provenance["base"]
    lines = [
        f"Trained with Saccade {printable(str(found['saccade']))}, seed {found['seed']}; SHA-256 of the run's weights: "
        f"`{found['weights_sha256']}`."
    ]
    if not base["weights"]:
        return _list([*lines, "Training began with a fresh network. No licence was chosen for its weights."])
    digest = f", SHA-256 `{base['sha256']}`" if base["sha256"] else ""
    lines.append(f"Training began with the weights {as_markdown(base['weights'])}{digest}.")
    limits = restriction(base["licence"])
    lines.append(
        f"Their licence: {as_markdown(base['licence'])}{f', {limits}' if limits else ''}. It may bind what is made of "
        "them, too."
        if base["licence"]
        else "Their licence is not known: ask where they came from before you pass this on."
    )
    return _list(lines)


def _check_words(bundle: Bundle) -> str:
    largest = bundle.largest_difference["hub"]
    how = "are the run's bit for bit" if largest == 0 else f"are within {largest:.1g} of the run's"
    what = (
        "numbers said of generated pictures, over their deviation,"
        if bundle.task.is_number
        else ("logits of generated pictures")
    )
    return (
        f"Before it was kept, {bundle.read_by} loaded this folder again: the {what} {how}. "
        "`check/` holds such pictures, `saccade.json` what the run says of them, and the SHA-256 of every file."
    )


def _named(source: str) -> str:
    """The address on the hub, else the last part of a path or an address."""
    return shown(source) if is_hub(source) else PurePath(shown(source).rstrip("/")).name


def _section(heading: str, *blocks: str) -> list[str]:
    """A heading and what stands under it, an empty line between each."""
    return ["", f"## {heading}", *(line for block in blocks for line in ("", block))]


def _list(items: Sequence[str]) -> str:
    return "\n".join(f"- {item}" for item in items)
