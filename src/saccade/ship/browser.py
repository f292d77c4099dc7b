"""The page of `--format browser`: `index.html` and what it loads, for a browser that opens the folder from the disk.

A page that is opened as a file may load scripts and nothing else: no module, no data, no photo whose pixels it could
read. So the network, the engine and the photos of the self-test lie in scripts, packed and as text, and its policy
allows no connection at all.
"""

import base64
import gzip
import io
import json
from collections.abc import Mapping
from dataclasses import dataclass
from html import escape
from importlib.resources import files
from string import Template
from typing import Any

import numpy as np
from PIL import Image

from ..classify.classifier import Classifier
from ..core.errors import ExportError, printable
from ..core.page_policy import digest_source
from ..core.types import Preprocessing
from ..data.images.decode import decode_image
from ..data.images.encode import file_content
from ..data.images.preprocess import covered_box, prepare_image
from ..data.limits import MAX_ASPECT, MAX_IMAGE_PIXELS
from ..evaluate.thresholds import PromisedPrecision
from .any_size import run_any_size
from .bundle import Bundle
from .card import interval_sentence, not_measured, pixel_words, texts, title_words, verdict_sentence
from .check import FLOAT32_TOLERANCE, Difference, Reference, answered, further, no_difference, require_equal
from .check_images import SIZES_HW, check_image
from .web_runtime import SCRIPT, VERSION, WASM

PART_CHARACTERS = 1 << 22  # of one text: browsers bound how long it may be
JPEG_QUALITY = 90
MAX_LEVELS, MAX_SHARE = 2, 0.1  # of 255, and of the values: how far the graph may be from Pillow: ties


@dataclass(frozen=True, kw_only=True)
class Photo:
    """A photo of the self-test: its file, the pixels that the run makes of it, and what it says of them: probabilities,
    or a number."""

    name: str
    media_type: str
    content: bytes
    prepared_HWC: np.ndarray
    said_K: np.ndarray


def compare_any_size(content: bytes, classifier: Classifier, preprocessing: Preprocessing) -> Difference:
    """How far the graph is from the run on whole generated photographs. Raises ExportError where that is too far: in
    its resize, or in what it says of the pixels that it made."""
    photos = [check_image(number) for number in range(len(SIZES_HW))]
    photos += [photos[0][:, ::-1], photos[1][:97, :61], photos[2][:40, :200], photos[0][::2, ::2]]
    found = []
    for image_HWC in photos:
        prepared_BHWC, *said = run_any_size(content, np.ascontiguousarray(image_HWC)[None])
        expected_HWC = prepare_image(np.ascontiguousarray(image_HWC), preprocessing)
        _require_pixels(prepared_BHWC[0], expected_HWC)
        found.append((prepared_BHWC[0], expected_HWC, said))
    said_N = [np.concatenate(parts) for parts in zip(*(said for *_, said in found), strict=True)]
    own = answered(classifier, preprocessing, np.stack([prepared for prepared, *_ in found]))
    require_equal(own, _difference(said_N, own), "onnxruntime", FLOAT32_TOLERANCE)
    return _difference(said_N, answered(classifier, preprocessing, np.stack([expected for _, expected, _ in found])))


def self_test_photos(classifier: Classifier, preprocessing: Preprocessing) -> list[Photo]:
    """The generated photographs as PNG and as JPEG, with what the run makes of them and says of them."""
    contents = []
    for number in range(len(SIZES_HW)):
        contents.append((f"{number + 1}, PNG", "image/png", file_content(check_image(number))))
    for number in range(len(SIZES_HW)):
        buffer = io.BytesIO()
        Image.fromarray(check_image(number)).save(buffer, "JPEG", quality=JPEG_QUALITY)
        contents.append((f"{number + 1}, JPEG", "image/jpeg", buffer.getvalue()))
    prepared_NHWC = np.stack(
        [prepare_image(decode_image(content, name).image_HWC, preprocessing) for name, _, content in contents]
    )
    probability_NK = classifier.answer({preprocessing: prepared_NHWC[:, None]}).probability_BK
    return [
        Photo(name=name, media_type=kind, content=content, prepared_HWC=prepared_HWC, said_K=probability_K)
        for (name, kind, content), prepared_HWC, probability_K in zip(contents, prepared_NHWC, probability_NK)
    ]


def page_files(
    content: bytes,
    bundle: Bundle,
    photos: list[Photo],
    promised: PromisedPrecision | None,
    runtime: Mapping[str, bytes],
) -> dict[str, bytes]:
    """The content of `index.html` and of the folder `browser`, of the graph `content` and the files of `runtime`."""
    return {
        "index.html": _html(bundle, promised),
        "browser/runtime.js": _parts("script", runtime[SCRIPT]) + _parts("wasm", runtime[WASM]),
        "browser/model.js": _parts("model", content),
        "browser/check.js": f"{_OBJECT}.check={json.dumps([_photo_json(photo) for photo in photos])};\n".encode(),
    }


_OBJECT = "(globalThis.saccade??={})"


def _parts(name: str, content: bytes) -> bytes:
    """A script that puts `content`, packed and as text, where the page finds it. The same bytes each time."""
    text = base64.b64encode(gzip.compress(content, 6, mtime=0)).decode("ascii")
    parts = [text[start : start + PART_CHARACTERS] for start in range(0, len(text), PART_CHARACTERS)]
    return f"{_OBJECT}.{name}={json.dumps(parts)};\n".encode()


def _photo_json(photo: Photo) -> dict[str, Any]:
    return {
        "name": photo.name,
        "type": photo.media_type,
        "content": base64.b64encode(photo.content).decode("ascii"),
        "prepared": base64.b64encode(photo.prepared_HWC.tobytes()).decode("ascii"),
        "said": photo.said_K.tolist(),
    }


def _html(bundle: Bundle, promised: PromisedPrecision | None) -> bytes:
    """The page: names of classes and of the network are a stranger's text, and escaped."""
    folder = files(__package__).joinpath("page_files")
    html, style, script = (folder.joinpath(f"page.{end}").read_text("utf-8") for end in ("html", "css", "js"))
    policy = (
        f"default-src 'none'; script-src 'self' file: blob: 'wasm-unsafe-eval' {digest_source(script)}; "
        f"style-src {digest_source(style)}; img-src blob: data:; media-src blob: mediastream:; "
        f"base-uri 'none'; form-action 'none'"
    )
    title = title_words(bundle)
    is_number = bundle.task.is_number
    asks = f"What {bundle.task.target} has this photo?" if bundle.task.target else "What is on this photo?"
    texts = {
        "policy": policy,
        "style": style,
        "script": script,
        "title": escape(title),
        "kicker": escape(title),
        "asks": asks,
        "difference": f"largest difference of a {'probability' if not is_number else 'number, in standard deviations'}",
        "verdict": escape(verdict_sentence(bundle.metrics)),
        "facts": _facts(bundle, promised),
        "runtime": VERSION,
        "data": json.dumps(_page_data(bundle, promised)).replace("<", "\\u003c"),
    }
    return Template(html).substitute(texts).encode()


def _page_data(bundle: Bundle, promised: PromisedPrecision | None) -> dict[str, Any]:
    """What the script of the page needs to know."""
    preprocessing, task = bundle.preprocessing, bundle.task
    box = None
    if preprocessing.fit in ("crop", "cover") and preprocessing.resize_px is not None:
        side = preprocessing.resize_px
        box = covered_box(preprocessing, side) if preprocessing.fit == "cover" else (side, side)
    thresholds = [*task.thresholds] or [0.5] * len(bundle.classes)
    number = {"mean": task.mean, "deviation": task.deviation, "halfWidth": task.half_width}
    return {
        "kind": task.kind,
        "number": number if task.is_number else None,
        "classes": [printable(name) for name in bundle.classes],
        "thresholds": thresholds if task.is_several else None,
        "minConfidence": promised.min_confidence if promised and promised.min_confidence is not None else 0,
        "sureFrom": _sure_words(promised),
        "unlikeFrom": bundle.unlike_training.threshold if bundle.unlike_training else None,
        "limits": {"pixels": MAX_IMAGE_PIXELS, "aspect": MAX_ASPECT},
        "box": box,
    }


_HEADINGS = {"number": "Number", "grade": "Grades"}


def _sure_words(promised: PromisedPrecision | None) -> str:
    if promised is None or promised.min_confidence is None:
        return ""
    return f"An answer is sure from {100 * promised.min_confidence:.1f} % on."


def _facts(bundle: Bundle, promised: PromisedPrecision | None) -> str:
    """The list of what is known, as HTML."""
    known = [
        (_HEADINGS.get(bundle.task.target, "Classes"), ", ".join(printable(name) for name in bundle.classes[:200])),
        ("Photos become", f"{pixel_words(bundle.preprocessing)}."),
    ]
    if bundle.task.half_width:
        known.append(("How near it is", interval_sentence(bundle.task)))
    if len(bundle.classes) > 200:
        known[0] = (f"The first 200 of {len(bundle.classes):,} classes", known[0][1])
    if promised is not None:
        known.append(("When it is sure", promised.sentence()))
    notes = [
        *map(printable, texts(bundle.metrics.get("caveats"))),
        *(
            text.replace("`", "'")
            for text in not_measured(bundle.metrics, bundle.unlike_training is not None, bundle.task.is_number)
        ),
    ]
    terms = "".join(f"<dt>{escape(name)}</dt><dd>{escape(text)}</dd>" for name, text in known)
    return f"<dl>{terms}</dl><ul>{''.join(f'<li>{escape(note)}</li>' for note in notes)}</ul>"


def _require_pixels(found_HWC: np.ndarray, expected_HWC: np.ndarray) -> None:
    level_HWC = np.abs(found_HWC.astype(np.int16) - expected_HWC)
    if level_HWC.max() <= MAX_LEVELS and (level_HWC > 0).mean() <= MAX_SHARE:
        return
    raise ExportError(
        f"The graph resizes otherwise than the run: pixels of generated photos differ by up to {level_HWC.max()} of "
        f"255 levels, {100 * (level_HWC > 0).mean():.2g} % of them at all; allowed are {MAX_LEVELS} and "
        f"{100 * MAX_SHARE:g} %.\n"
        f"Nothing was written. Use the onnxruntime that this version was tried with (docs/export.md)."
    )


def _difference(said: list[np.ndarray], reference: Reference) -> Difference:
    return further(no_difference(reference), said, reference, slice(None))
