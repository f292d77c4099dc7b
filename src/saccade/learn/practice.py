"""Practice: transfer, augmentation, ensembles and ten crops."""

import base64
import importlib.util
import io
import json
from collections.abc import Callable
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from ..classify.crops import looks, prepare_looks
from ..core.errors import DataError
from ..core.types import Preprocessing
from ..data.augmentation import AUGMENTATIONS
from ..data.augmentation_policy import AugmentConfig
from ..data.augmenter import Augmenter, measure_colours
from ..data.images.decode import decode_image
from ..data.images.preprocess import place_on_input
from ..data.sources.in_memory import ArraySource
from ..evaluate.metrics import wilson_interval
from ..preview.images import preview_images
from .lesson import Cell, Command, Equation, Lesson, Matrix, Section, Table, Toy, Words
from .walk import table_of

MEASURED = "ladder.json"  # transfer.json of `saccade transfer clothing-small --backbone squeezenet1.1`
PHOTO, PHOTO_FROM = "flower.jpg", "scikit-learn's flower.jpg (vultilion on Flickr, CC BY 2.0)"
INPUT_PX, SHOWN_PX, JPEG_QUALITY = 128, 320, 85
NUM_DRAWS, SEED = 6, 0
# Each by itself, at strengths that can be seen.
STRENGTHS: dict[str, dict[str, Any]] = {
    "mirror": {"probability": 0.5},
    "crop": {"min_area": 0.25},
    "rotation": {"max_degrees": 30},
    "shear": {"max_horizontal_degrees": 25},
    "elastic": {"max_px": 12},
    "colour_shift": {"max_levels": 60},
    "pca_colour": {"deviation": 2.0},
}
TITLES = {
    "mirror": "mirroring",
    "crop": "random cropping",
    "rotation": "rotation",
    "shear": "shearing",
    "elastic": "local warping",
    "colour_shift": "colour shifting",
    "pca_colour": "PCA colour augmentation",
}


def photo() -> np.ndarray:
    """The photograph that comes with scikit-learn, uint8 RGB. Raises DataError where it is not installed with it."""
    package = importlib.util.find_spec("sklearn")
    path = Path(package.origin or "").parent / "datasets" / "images" / PHOTO if package else None
    if path is None or not path.is_file():
        raise DataError("The photograph needs scikit-learn's data files.\nInstall it: pip install scikit-learn.")
    image_HWC: np.ndarray = decode_image(path.read_bytes(), PHOTO).image_HWC
    return image_HWC


def _jpeg(image_HWC: np.ndarray) -> str:
    """The image as an address that holds it."""
    buffer = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(image_HWC)).save(buffer, "JPEG", quality=JPEG_QUALITY)
    return f"data:image/jpeg;base64,{base64.b64encode(buffer.getvalue()).decode('ascii')}"


def augmentation() -> Lesson:
    """Each augmentation by itself, as training draws it."""
    image_HWC = photo()
    entries = {TITLES[name]: _draws(image_HWC, name, strengths) for name, strengths in STRENGTHS.items()}
    rows: list[list[Cell]] = [
        [TITLES[name], _strength_words(strengths), AUGMENTATIONS.get(name).source]
        for name, strengths in STRENGTHS.items()
    ]
    return Lesson(
        name="augmentation",
        title="Augmentation: more images from the same ones",
        lead=(
            "Training sees each image a little differently every time: mirrored, cropped, turned, slanted, "
            "warped, in other "
            "colours. What it sees is drawn at random; how strongly is a hyper-parameter."
        ),
        sections=(
            Section(
                "One at a time",
                (
                    Words(f"The photograph is {PHOTO_FROM}; the draws are those of training, seed {SEED}."),
                    Toy(
                        kind="gallery",
                        title="Draw again",
                        hint="Choose what happens and move to another draw. Below the image stands what was drawn.",
                        settings={"original": _jpeg(_evaluated(image_HWC)), "entries": entries},
                    ),
                    Table(
                        caption="The augmentations",
                        headings=("what", "strength here", "from"),
                        rows=rows,
                        numeric_from=3,
                    ),
                ),
            ),
            Section(
                "PCA colours",
                (
                    Words(
                        "The shift follows the directions in which the colours of the training images differ: a "
                        "lot along "
                        "the first, little along the last. Of this photograph they are:"
                    ),
                    _principal_colours(image_HWC),
                    Command(
                        line="saccade preview photos/ --policy photo-light --out drawn.png", what="On your own photos"
                    ),
                    Command(line="saccade augmentations", what="All there are, and the policies of the literature"),
                ),
            ),
        ),
    )


def _pixels() -> Preprocessing:
    return Preprocessing(resize_px=INPUT_PX, input_height_px=INPUT_PX, input_width_px=INPUT_PX)


def _evaluated(image_HWC: np.ndarray) -> np.ndarray:
    evaluated_HWC: np.ndarray = prepare_looks(image_HWC, _pixels(), looks(1))[0]
    return evaluated_HWC


def _config(image_HWC: np.ndarray, name: str, strengths: dict[str, Any]) -> AugmentConfig:
    config = AugmentConfig.parse({name: strengths}, name)
    return measure_colours(config, _source(image_HWC), np.array([0]), SEED)


def _source(image_HWC: np.ndarray) -> ArraySource:
    """The photograph, and beside it its mirror image as a second class, which every source has."""
    return ArraySource([image_HWC, image_HWC[:, ::-1]], ["flower", "mirrored"], name="photograph")


def _draws(image_HWC: np.ndarray, name: str, strengths: dict[str, Any]) -> list[dict[str, str]]:
    """What the first epochs draw: the image, and what was drawn in words."""
    augmenter = Augmenter(_config(image_HWC, name, strengths), _pixels(), SEED)
    (preview,) = preview_images(_source(image_HWC), [0], augmenter, NUM_DRAWS)
    return [{"image": _jpeg(draw.image_HWC), "words": ", ".join(draw.lines) or "nothing"} for draw in preview.draws]


def _strength_words(strengths: dict[str, Any]) -> str:
    return ", ".join(f"{key} {value:g}" for key, value in strengths.items())


def _principal_colours(image_HWC: np.ndarray) -> Table:
    found = _config(image_HWC, "pca_colour", STRENGTHS["pca_colour"]).strengths_of(AUGMENTATIONS.get("pca_colour"))
    values = found.model_dump()
    rows: list[list[Cell]] = [
        [f"{number}", value, *vector]
        for number, (value, vector) in enumerate(zip(values["eigenvalues"], values["eigenvectors"]), start=1)
    ]
    return Table(caption="Principal colours", headings=("component", "variance", "red", "green", "blue"), rows=rows)


def ten_crops() -> Lesson:
    """Centre, corners and their mirrors."""
    image_HWC, pixels = photo(), _pixels()
    wanted = looks(10)
    views_VHWC = prepare_looks(image_HWC, pixels, wanted)
    (height, width), _ = place_on_input((image_HWC.shape[0], image_HWC.shape[1]), pixels, 1.0)
    shown = [
        {
            "image": _jpeg(view_HWC),
            "top": round((height - INPUT_PX) * look.down),
            "left": round((width - INPUT_PX) * look.right),
            "mirrored": look.mirror,
        }
        for look, view_HWC in zip(wanted, views_VHWC, strict=True)
    ]
    whole = Image.fromarray(image_HWC).resize((width, height), Image.Resampling.BILINEAR)
    design = table_of("alexnet-one-tower")
    rows: list[list[Cell]] = [[str(count), count * design.totals.multiply_adds] for count in (1, 2, 5, 10)]
    return Lesson(
        name="ten-crops",
        title="Ten crops: ten answers for one image",
        lead=(
            "At test time the network may look ten times: at the centre, at the four corners, and at the mirror "
            "image of each. "
            "The probabilities are averaged. It costs ten times the work."
        ),
        sections=(
            Section(
                "The ten looks",
                (
                    Words(f"The photograph is {PHOTO_FROM}."),
                    Toy(
                        kind="crops",
                        title="Move through them",
                        hint="The frame shows where the network looks, the small picture what it gets.",
                        settings={
                            "photo": _jpeg(np.asarray(whole)),
                            "height": height,
                            "width": width,
                            "side": INPUT_PX,
                            "looks": shown,
                        },
                    ),
                ),
            ),
            Section(
                "What it costs",
                (
                    Table(
                        caption="AlexNet, one image",
                        headings=("crops", "multiply-adds"),
                        rows=rows,
                    ),
                    Command(
                        line="saccade evaluate runs/photos more-photos/ --crops 10",
                        what="On your own run, compared with one crop on the same images",
                    ),
                ),
            ),
        ),
    )


def ensembles() -> Lesson:
    """Average the answers, never the weights."""
    first, second = np.array([[2.0, -1], [-1, 2]]), np.array([[1.0, 0], [0, 1]])
    swap = np.array([[0.0, 1], [1, 0]])
    image = np.array([[3.0], [1.0]])
    networks = ((first, second), (swap @ first, second @ swap))
    mean = tuple((one + other) / 2 for one, other in zip(*networks, strict=True))
    answers = [_answer(network, image) for network in (*networks, mean)]
    costs = table_of("resnet20").totals
    return Lesson(
        name="ensembles",
        title="Ensembles: average the answers, never the weights",
        lead=(
            "Three to fifteen networks, trained from different random numbers, err in different places; the mean "
            "of their "
            "probabilities errs less. It costs as many times the memory and the work, so it is for benchmarks."
        ),
        sections=(
            Section(
                "Three answers, one mean",
                (
                    Toy(
                        kind="votes",
                        title="Move what each network says",
                        hint=(
                            "One network that is sure can outweigh two that are not. That is why probabilities "
                            "are averaged."
                        ),
                        settings={"members": 3, "start": [80, 45, 40]},
                    ),
                ),
            ),
            Section(
                "Why not the weights",
                (
                    Words(
                        "Two networks with the same hidden units in another order give the same answer. Their "
                        "mean answer is "
                        "right; a network of their mean weights is another network."
                    ),
                    Equation(
                        (
                            Matrix(name="first", value_HW=answers[0]),
                            Matrix(name="second", value_HW=answers[1]),
                            "→",
                            Matrix(name="mean of the answers", value_HW=(answers[0] + answers[1]) / 2),
                            Matrix(name="answer of the mean weights", value_HW=answers[2]),
                        )
                    ),
                ),
            ),
            Section(
                "What it costs",
                (
                    Table(
                        caption="ResNet-20, so many members",
                        headings=("members", "parameters", "multiply-adds an image"),
                        rows=[
                            [str(count), count * costs.parameters, count * costs.multiply_adds]
                            for count in (1, 3, 5, 15)
                        ],
                    ),
                    Command(
                        line="saccade train photos/ --ensemble 5 --out runs/five",
                        what="Five of them, judged together and beside the best of them",
                    ),
                    Command(
                        line="saccade train photos/ --teacher runs/five",
                        what="One network that learns what the five say, at the cost of one",
                    ),
                ),
            ),
        ),
    )


def _answer(network: tuple[np.ndarray, ...], image: np.ndarray) -> np.ndarray:
    """Two layers with ReLU between them."""
    first, second = network
    answer: np.ndarray = second @ np.maximum(first @ image, 0)
    return answer


def transfer() -> Lesson:
    """The ladder of a real transfer, and which way for how much data."""
    measured: dict[str, Any] = json.loads(files(__package__).joinpath("measured", MEASURED).read_text(encoding="utf-8"))
    rungs = [_rung(rung) for rung in measured["rungs"]]
    return Lesson(
        name="transfer",
        title="Transfer: take what another network has learned",
        lead=(
            "Early layers find edges and textures, which serve any photographs. Take public weights, replace the "
            "softmax by your "
            "own, and train as much of the rest as your images can pay for."
        ),
        sections=(
            Section(
                "How much to freeze",
                (
                    Words(
                        f"Measured: {measured['num_train']:,} {measured['set']}, {measured['backbone']}, seed "
                        f"{measured['seed']}; "
                        f"{measured['device']}, {measured['date']}. Correct on training images left out of the "
                        f"fit, with 95 % intervals."
                    ),
                    Toy(
                        kind="ladder",
                        title="Move the freeze depth",
                        hint="What is left of the cut stays as it was published; what is right of it is trained.",
                        settings={"rungs": rungs, "parts": measured["parts"], "chosen": measured["frozen"]},
                    ),
                    Table(
                        caption="The ladder",
                        headings=("frozen up to", "trained parameters", "correct, %", "95 % interval", "seconds"),
                        rows=[
                            [
                                rung["depth"],
                                rung["parameters"],
                                f"{rung['accuracy']:.1f}",
                                f"{rung['low']:.1f} to {rung['high']:.1f}",
                                f"{rung['seconds']:.1f}",
                            ]
                            for rung in rungs
                        ],
                    ),
                ),
            ),
            Section(
                "The more data, the fewer frozen layers",
                (
                    Table(
                        caption="Which way",
                        headings=("images", "what to do"),
                        rows=[
                            ["few", "freeze everything, compute the features once, keep them, train a softmax on them"],
                            ["more", "freeze fewer of the early layers, train the later ones"],
                            ["many", "all weights are only where training begins"],
                        ],
                        numeric_from=2,
                    ),
                    Command(
                        line="saccade transfer photos/", what="On your own photos; the depth is chosen by evidence"
                    ),
                    Command(line="saccade transfer photos/ --freeze all", what="The quick way: only a new last layer"),
                ),
            ),
        ),
    )


def _rung(rung: dict[str, Any]) -> dict[str, Any]:
    low, high = wilson_interval(rung["num_correct"], rung["num_judged"])
    return {
        "depth": rung["depth"],
        "accuracy": 100 * rung["num_correct"] / rung["num_judged"],
        "low": 100 * low,
        "high": 100 * high,
        "judged": rung["num_judged"],
        "parameters": rung["num_parameters"],
        "seconds": rung["seconds"],
    }


LESSONS: dict[str, Callable[[], Lesson]] = {
    "transfer": transfer,
    "augmentation": augmentation,
    "ensembles": ensembles,
    "ten-crops": ten_crops,
}
