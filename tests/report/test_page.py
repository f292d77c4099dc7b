"""The report as a file: self-contained, safe, small, true. What a browser makes of it is in test_browser.py."""

import base64
import gzip
import hashlib
import json
import re
import shutil
from collections.abc import Callable
from html.parser import HTMLParser
from importlib.resources import files
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file
from sklearn.metrics import average_precision_score, cohen_kappa_score, roc_auc_score

from saccade.core.errors import CheckpointError
from saccade.data import source as base
from saccade.evaluate.label_errors import suspect_labels
from saccade.evaluate.metrics import compute_metrics
from saccade.evaluate.novelty import unlike_sentence
from saccade.evaluate.scores import probabilities_from_logits
from saccade.evaluate.thresholds import choose_threshold
from saccade.evaluate.verdict import percent
from saccade.report import record
from saccade.report.page import write_report
from saccade.report.sections.transfer import taken
from saccade.runs.checkpoint import find_checkpoint, update_manifest
from saccade.runs.evaluation_files import JudgedOutputs, JudgedPictures, write_verdict
from saccade.runs.names import NOVELTY, VALIDATION
from saccade.runs.novelty_file import KnownFeatures, novelty_bytes
from saccade.runs.start_point import Rung, StartPoint
from saccade.runs.validation_file import ValidationOutputs, validation_bytes


class Page(HTMLParser):
    """Every element of a page with its attributes, and all of its text."""

    def __init__(self, text: str):
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        if not self.elements or self.elements[-1][0] != "style":
            self.words.append(data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.words).split())


@pytest.fixture(scope="module")
def text(made_run) -> str:
    return write_report(made_run.path).read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def page(text: str) -> Page:
    return Page(text)


def test_the_verdict_comes_first_with_its_interval(page: Page, made_run):
    right = made_run.label_N == made_run.said_N
    metrics = compute_metrics(np.eye(10)[made_run.said_N], made_run.label_N, made_run.classes)
    assert f"{percent(right.mean())} % of 200 held-out images correct" in page.text[:400]
    assert f"95 % interval {percent(metrics.top1_low)} to {percent(metrics.top1_high)}." in page.text
    assert "Always guessing the largest class" in page.text


def test_every_part_is_there_in_order(page: Page):
    places = [attributes.get("id") for tag, attributes in page.elements if tag == "section"]
    wanted = ["curves", "confusion", "mistakes", "classes", "confidence", "network", "data", "reproduce"]
    assert [place for place in places if place in wanted] == wanted
    assert sum(tag == "h1" for tag, _ in page.elements) == 1


def test_a_transfer_shows_what_was_measured_and_why_it_froze_so_deep(make_run: Callable, tmp_path: Path):
    made = make_run(tmp_path, ["a", "b"], 20)
    (made.path / "metrics.jsonl").write_text("")
    rung = {"depth": "all", "trained": "linear", "num_images": 900, "num_judged": 400, "num_correct": 300}
    rung |= {"low": 0.705, "high": 0.79, "num_parameters": 1026, "seconds": 2.0, "p_better": 1.0}
    tail = rung | {"depth": "stage2", "trained": "tail", "num_correct": 330, "low": 0.78, "high": 0.86}
    values = {"frozen": "all", "sentence": "Frozen <b> as the evidence says.", "held_out_accuracy": 0.5}
    values |= {
        "validation_accuracy": 0.25,
        "features_s": 1.25,
        "heads_s": 2.0,
        "depth_s": 0.5,
        "num_computed": 40,
        "num_found": 1200,
    }
    values |= {"penalty": 0.1, "data_digest": "0" * 64}
    fewer = tail | {"num_images": 90, "num_correct": 310, "num_parameters": 7}  # not compared: no p-value
    rungs = [rung, fewer, tail | {"p_better": 0.4}]
    (made.path / "transfer.json").write_text(json.dumps(values | {"rungs": rungs}))
    page = Page(write_report(made.path).read_text(encoding="utf-8"))
    assert [a["id"] for tag, a in page.elements if tag == "section" and a.get("id")][:3] == [
        "next",
        "transfer",
        "confusion",
    ]
    assert ("a", {"href": "#transfer"}) in page.elements
    assert "Frozen <b> as the evidence says." in page.text
    assert (
        "right on 50.0 % of the training images, each left out in turn, 25.0 % of the validation images." in page.text
    )
    assert (
        "Features took 1.2 s (40 images computed, 1,200 read from the cache), choosing the depth 0.5 s, "
        "the last layer 1.5 s."
    ) in page.text
    assert "all a new last layer yes 900 75.0 70.5 to 79.0 - 1,026" in page.text
    said = "stage2 everything after that part no: not better beyond chance 900 82.5 78.0 to 86.0 0.400 1,026"
    assert f"{said} stage2 everything after that part only to compare 90 77.5 78.0 to 86.0 - 7" in page.text
    assert ("a", {"href": "#curves"}) not in page.elements  # nothing but the last layer was fitted: no epochs
    assert "No epoch was better" not in page.text


def test_every_depth_says_whether_it_was_taken_and_why_not():
    def measured(depth: str, trained: str, p_better: float = 1.0, num_images: int = 900) -> Rung:
        figures = {"num_judged": 400, "num_correct": 300, "low": 0.7, "high": 0.8, "num_parameters": 9, "seconds": 1.0}
        return Rung(depth=depth, trained=trained, num_images=num_images, p_better=p_better, **figures)

    def told(frozen: str, sentence: str, *tails: Rung) -> list[str]:
        rungs = (measured("all", "linear"), *tails)
        start = StartPoint(
            frozen=frozen,
            sentence=sentence,
            rungs=rungs,
            held_out_accuracy=0.5,
            penalty=1.0,
            features_s=1.0,
            heads_s=1.0,
            num_computed=1,
            num_found=0,
            data_digest="0",
        )
        return [taken(rung, start) for rung in rungs]

    better, worse = measured("stage2", "tail", 0.001), measured("stage1", "tail", 0.4)
    by_chance = "no: not better beyond chance"
    assert told("stage2", "", better, worse) == ["no: stage2 is better", "yes", by_chance]
    assert told("stage1", "", better, measured("stage1", "tail", 0.01)) == 2 * ["no: stage1 is better"] + ["yes"]
    assert told("all", "", worse) == ["yes", by_chance]
    assert told("stage1", "", measured("stage2", "tail", 0.6), worse) == [
        "if no epoch is better",
        "no: promises less than the trial",
        "on trial",
    ]
    no_time = "--minutes 1 leaves no time to fine-tune."
    assert told("all", no_time, better, worse) == ["yes", "no: no time was left", by_chance]


def test_a_trial_that_was_not_kept_is_told(make_run: Callable, tmp_path: Path):
    made = make_run(tmp_path, ["a", "b"], 20)  # its checkpoint is of no epoch, and six are in its log
    values = {
        "frozen": "stage2",
        "sentence": "Frozen up to stage2 as a trial.",
        "held_out_accuracy": 0.5,
        "penalty": 1.0,
    }
    values |= {"features_s": 1.0, "heads_s": 2.0, "num_computed": 40, "num_found": 0, "data_digest": "0" * 64}
    (made.path / "transfer.json").write_text(json.dumps(values))
    page = Page(write_report(made.path).read_text(encoding="utf-8"))
    assert "Frozen up to stage2 as a trial. No epoch was better than the fitted layer, which is kept." in page.text


def test_nothing_comes_from_outside_and_nothing_runs_but_the_one_script(page: Page, text: str):
    """Which is the package's own files, letter by letter: nothing of a run gets into it."""
    assert not [tag for tag, _ in page.elements if tag in ("iframe", "object", "link", "form", "base")]
    assert [attributes for tag, attributes in page.elements if tag == "script"] == [{}]
    script = re.search(r"<script>(.*?)</script>", text, re.S).group(1)
    own = [(files("saccade.report") / name).read_text(encoding="utf-8") for name in ("tables.js", "page.js")]
    assert script == "".join(own)
    for name in ("innerHTML", "outerHTML", "insertAdjacentHTML", "eval(", "fetch(", "XMLHttpRequest", "import("):
        assert name not in script, "text of strangers stays text, and nothing is asked for"
    for _, attributes in page.elements:
        for name, value in attributes.items():
            assert not name.startswith("on")
            assert name != "style"
            if name in ("src", "href", "action"):
                assert value is not None
                assert value.startswith(("data:image/png;base64,", "data:image/jpeg;base64,", "#"))
    assert "url(" not in text
    assert "@import" not in text


def test_the_policy_allows_this_style_and_this_script_and_no_other(page: Page, text: str):
    policy = next(a["content"] for tag, a in page.elements if a.get("http-equiv") == "Content-Security-Policy")
    style = re.search(r"<style>(.*?)</style>", text, re.S).group(1)
    script = re.search(r"<script>(.*?)</script>", text, re.S).group(1)
    style_digest, script_digest = (
        base64.b64encode(hashlib.sha256(part.encode()).digest()).decode() for part in (style, script)
    )
    assert policy == (
        f"default-src 'none'; img-src data:; style-src 'sha256-{style_digest}'; script-src 'sha256-{script_digest}'; "
        f"base-uri 'none'; form-action 'none'"
    )


def test_class_names_are_text(page: Page, text: str):
    assert "<b onmouseover" not in text
    assert "\u202e" not in text
    assert "<b onmouseover='alert(1)'>&\\u202ecat" in page.text


def test_every_cell_of_the_matrix_leads_to_images_of_that_pair(page: Page, text: str, made_run):
    identifiers = [attributes["id"] for _, attributes in page.elements if "id" in attributes]
    assert len(identifiers) == len(set(identifiers))
    links = [a["href"][1:] for tag, a in page.elements if tag == "a"]
    assert set(links) <= set(identifiers)
    wrong = made_run.label_N != made_run.said_N
    pairs = {(int(t), int(s)) for t, s in zip(made_run.label_N[wrong], made_run.said_N[wrong])}
    for true, said in pairs:
        assert f"pair-{true}-{said}" in links
        gallery = re.search(rf'<section id="pair-{true}-{said}".*?</section>', text, re.S).group(0)
        count = ((made_run.label_N == true) & (made_run.said_N == said)).sum()
        assert f"{count:,} image" in gallery
        assert 1 <= gallery.count("<img") <= count


def test_every_image_has_words(page: Page):
    images = [attributes for tag, attributes in page.elements if tag == "img"]
    assert len(images) > 60
    assert all(image["alt"] for image in images)
    drawings = [a for tag, a in page.elements if tag == "svg"]
    assert all(a.get("aria-label") or a.get("aria-hidden") == "true" for a in drawings)


def test_mistakes_come_surest_first_with_evidence(text: str):
    part = re.search(r'<section id="mistakes".*?</section>', text, re.S).group()
    cards = re.findall(r'<li class="card">.*?</li>', part, re.S)
    assert len(cards) == 12
    said = [float(re.search(r"([\d.]+) %", card).group(1)) for card in cards]
    assert said == sorted(said, reverse=True)
    assert all("for the predicted class" in card or "No positive evidence" in card for card in cards)


def test_labels_that_may_be_wrong_are_shown_with_their_pictures(text: str, page: Page, made_run):
    """A fifth of the answers are drawn blindly, and are as sure as the others: that is how wrong labels look."""
    logits_NK, label_N = outputs_of(made_run)
    found = suspect_labels(probabilities_from_logits(logits_NK, 1.4), label_N)
    assert len(found.position_S) >= 12
    assert found.sentence() in page.text
    part = re.search(r'<section id="labels".*?</section>', text, re.S).group()
    cards = re.findall(r'<li class="card">.*?</li>', part, re.S)
    assert len(cards) == min(24, len(found.position_S))
    assert all("<img" in card for card in cards)
    keys = json.loads((made_run.path / "evaluation.json").read_text())["keys"]
    shown = [re.search(r'class="key">(?:image )?([^<]*)<', card).group(1) for card in cards]
    assert shown == [keys[place].replace("&", "&amp;").replace("<", "&lt;") for place in found.position_S[:24]] or any(
        "\u202e" in keys[place] for place in found.position_S[:24]
    )


def test_areas_kappa_and_average_precision_are_scikit_learns(page: Page, made_run):
    logits_NK, label_N = outputs_of(made_run)
    probability_NK = probabilities_from_logits(logits_NK, 1.4)
    macro = roc_auc_score(label_N, probability_NK, multi_class="ovr", average="macro")
    kappa = cohen_kappa_score(label_N, logits_NK.argmax(axis=1))
    assert f"each class against the others: {percent(macro)} % on average" in page.text
    assert f"Cohen's kappa {kappa:.3f} (" in page.text
    charts = page.text.partition("ROC and precision-recall curves")[2]
    areas = {k: roc_auc_score(label_N == k, probability_NK[:, k]) for k in range(10)}
    for k in sorted(areas, key=areas.get)[:6]:  # the classes that are told apart worst
        assert f"Area {percent(areas[k])} % (95 % interval " in charts
        precision = average_precision_score(label_N == k, probability_NK[:, k])
        assert f"Average precision {percent(precision)} %; the dashed line, 10.0 %," in charts


def test_what_is_confused_when_only_sure_answers_count_is_there(page: Page, made_run):
    logits_NK, label_N = outputs_of(made_run)
    probability_NK = probabilities_from_logits(logits_NK, 1.4)
    is_sure_N = probability_NK.max(axis=1) >= 0.9
    right_N = (logits_NK.argmax(axis=1) == label_N)[is_sure_N]
    words = f"0.90 {is_sure_N.sum()} {percent(is_sure_N.mean())} {percent(right_N.mean())} "
    assert words in page.text.partition("What is confused when only sure answers count")[2]


def outputs_of(made_run) -> tuple[np.ndarray, np.ndarray]:
    arrays = load_file(made_run.path / "evaluation.safetensors")
    return arrays["logits_NK"], arrays["label_N"]


def test_images_unlike_training_and_the_promised_threshold_are_told(make_run: Callable, tmp_path: Path):
    made = make_run(tmp_path, ["cat", "dog"], 40, wrong_share=0.02)
    page = Page(write_report(made.path).read_text(encoding="utf-8"))
    assert "unlike anything seen in training" not in page.text
    assert "precision is promised" not in page.text
    logits_NK, label_N = outputs_of(made)
    keys = json.loads((made.path / "evaluation.json").read_text())["keys"]
    unlike_N = np.arange(80) % 40 == 3
    judged = JudgedOutputs(logits_NK=logits_NK, label_N=label_N, index_N=np.arange(80), unlike_N=unlike_N)
    pictures = JudgedPictures(seen={}, thumbnails={})
    write_verdict(made.path, {"split": "test", "classes": list(made.classes)}, keys, judged, pictures)
    checkpoint = find_checkpoint(made.path)
    draw = np.random.default_rng(0)
    unit_MD = np.full((5, 4), 0.5)
    known = KnownFeatures(unit_MD=unit_MD, distance_V=draw.random(99))
    held_N = draw.integers(0, 2, 300)
    held = ValidationOutputs(
        logits_NK=np.where(np.arange(2) == held_N[:, None], 3.0, 0.0) * draw.random((300, 1)),
        label_N=held_N,
        pixels_NB=np.zeros((300, 16)),
    )
    measured = {NOVELTY: novelty_bytes(known), VALIDATION: validation_bytes(held)}
    update_manifest(checkpoint, checkpoint.manifest.metrics, 1.4, checkpoint.manifest.task, measured)
    page = Page(write_report(made.path).read_text(encoding="utf-8"))
    assert unlike_sentence(2, 80, 0.01) in page.text
    assert f"Which ones {keys[3]}, {keys[43]}" in page.text
    promised = choose_threshold(probabilities_from_logits(held.logits_NK, 1.4).max(axis=1), np.ones(300, bool), 0.98)
    assert promised.sentence() in page.text
    assert f"of images at 98 % precision: at a confidence of {promised.min_confidence:.4f} or above" in page.text


def test_warnings_are_only_there_when_true(page: Page, make_run: Callable, tmp_path: Path):
    assert "fewer than 30 held-out images" in page.text.replace("Fewer", "fewer")
    assert "validation loss rises" not in page.text
    made = make_run(tmp_path, ["cat", "dog"], 40, wrong_share=0.0)
    clean = Page(write_report(made.path).read_text(encoding="utf-8"))
    assert "What to know before trusting it" not in clean.text
    assert "None: every image is classified correctly." in clean.text
    with open(made.path / "metrics.jsonl", "a", encoding="utf-8") as file:
        event = {"event": "epoch", "epoch": 7, "train_loss": 0.1, "train_accuracy": 0.9}
        file.write(json.dumps(event | {"validation_loss": 3.0, "validation_accuracy": 0.5}) + "\n")
    later = Page(write_report(made.path).read_text(encoding="utf-8"))
    assert "The validation loss rises since epoch 6" in later.text


def test_a_report_of_many_classes_and_photos_stays_below_two_megabytes(make_run: Callable, tmp_path: Path):
    made = make_run(tmp_path, [f"kind {k}" for k in range(70)], 4, wrong_share=0.9)
    path = write_report(made.path, tmp_path / "big.html")
    assert path.stat().st_size < 2_000_000
    page_text = path.read_text(encoding="utf-8")
    page = Page(page_text)
    assert "A matrix of 70 classes is drawn by a script." in page.text
    without_images = re.sub(r"data:image/[a-z]+;base64,[A-Za-z0-9+/=]+", "", page_text)
    assert len(gzip.compress(without_images.encode(), 6)) < 50_000
    assert sum(tag == "img" for tag, _ in page.elements) >= 120


def test_a_report_shows_the_images_though_their_source_is_gone(make_run: Callable, tmp_path: Path):
    made = make_run(tmp_path, ["cat", "dog"], 15)
    before = write_report(made.path).read_bytes()
    shutil.move(tmp_path / "photos", tmp_path / "elsewhere")
    assert write_report(made.path).read_bytes() == before


def test_a_report_of_an_earlier_run_says_that_it_has_no_pictures_and_shows_the_rest(make_run: Callable, tmp_path: Path):
    made = make_run(tmp_path, ["cat", "dog"], 15)
    values = json.loads((made.path / "evaluation.json").read_text())
    del values["files"]
    (made.path / "evaluation.json").write_text(json.dumps(values))
    (made.path / "pictures.safetensors").unlink()
    page = Page(write_report(made.path).read_text(encoding="utf-8"))
    again = f"it is judged again, and keeps them, by: saccade train --resume --out {made.path}"
    assert (
        f"The images cannot be shown: the run is of an earlier version, without {made.path}/pictures.safetensors; "
        f"{again}." in page.text
    )
    assert "Class by class" in page.text


def test_the_source_that_a_run_names_is_never_opened(make_run: Callable, tmp_path: Path, monkeypatch):
    made = make_run(tmp_path, ["cat", "dog"], 15)
    config = made.path / "config.toml"
    config.write_text('source = "reference::file:///tmp/x.tar.json"\nseed = 0\nepochs = 6\n')
    opened: list[str] = []
    monkeypatch.setattr(base, "open_source", opened.append)
    report = write_report(made.path).read_text(encoding="utf-8")
    assert "reference::file:///tmp/x.tar.json" in report  # told, as a setting
    assert report.count("<img ") > 10
    assert opened == []
    assert not [name for name in vars(record) if "open_source" in name]


def test_an_old_run_without_its_records_still_gets_a_report(make_run: Callable, tmp_path: Path):
    made = make_run(tmp_path, ["cat", "dog"], 15)
    for name in ("metrics.jsonl", "data.json", "environment.json", "config.toml"):
        (made.path / name).unlink()
    page = Page(write_report(made.path).read_text(encoding="utf-8"))
    assert "The record of the epochs is not in the run directory." in page.text
    assert "The data summary is not in the run directory." in page.text


def test_what_is_missing_or_damaged_is_named(saccade: Callable, make_run: Callable, tmp_path: Path):
    made = make_run(tmp_path, ["cat", "dog"], 5)
    finished = saccade("report", made.path, "--json")
    assert json.loads(finished.output) == {
        "run": str(made.path),
        "report": str(made.path / "report.html"),
        "num_bytes": (made.path / "report.html").stat().st_size,
    }
    (made.path / "data.json").write_text("{")
    with pytest.raises(
        CheckpointError, match=r"data\.json is damaged: line 1, column 2 is not JSON \(Expecting property name"
    ):
        write_report(made.path)
    (made.path / "data.json").unlink()
    (made.path / "evaluation.safetensors").write_bytes(b"12")
    with pytest.raises(CheckpointError, match=r"evaluation\.safetensors is damaged: "):
        write_report(made.path)
    (made.path / "evaluation.json").unlink()
    assert saccade("report", made.path).errors == (
        f"error: The run {made.path} has not been judged yet: it has no evaluation.json.\n"
        f"Finish it with: saccade train --resume --out {made.path}\n"
    )


def test_layers_are_listed_with_their_windows_costs_and_fields(text: str):
    rows = re.findall(r'<tr><th scope="row">(stem\.convolution)</th>(.*?)</tr>', text)
    cells = re.findall(r"<td[^>]*>(.*?)</td>", rows[0][1])
    parameters, multiply_adds = 6 * (5 * 5 * 3 + 1), 60 * 76 * 6 * 5 * 5 * 3  # 5x5 filters on 64x80x3
    assert cells == ["conv + relu", "f5", "60x76x6", f"{parameters:,}", f"{multiply_adds:,}", "5 px"]
