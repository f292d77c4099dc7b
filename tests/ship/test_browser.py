"""The page in a real browser: opened from the disk and from a server, it answers photos as `predict` does."""

import json
import os
import shutil
import threading
from collections.abc import Callable, Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from saccade import api
from saccade.classify.classifier import open_classifier, open_member
from saccade.core.errors import ExportError, UsageError, printable
from saccade.core.task import GRADE, Task
from saccade.core.types import Preprocessing
from saccade.data.images.decode import decode_image
from saccade.data.images.preprocess import prepare_image
from saccade.evaluate.novelty import nearest_distance, unit_rows
from saccade.models.architecture import ModelSpec
from saccade.models.build import resolve_model
from saccade.models.penultimate import with_features
from saccade.report import palette
from saccade.runs.checkpoint import find_checkpoint, save_checkpoint, update_manifest
from saccade.runs.manifest import Manifest
from saccade.runs.names import NOVELTY
from saccade.runs.novelty_file import KnownFeatures, novelty_bytes
from saccade.ship import browser, web_runtime
from saccade.ship.bundle import read_bundle
from saccade.ship.web_runtime import RECORDS, SCRIPT, VERSION, WASM

from .chromium import Tab, chromium, require_chromium
from .untrained import untrained_run

onnx = pytest.importorskip("onnx", reason="the extra 'export' is not installed")

CLASSES = ("boots", "hats & <caps>", "shirts", "shoes", "socks", "trousers", "\u202ecoats")
NAMED = "SACCADE_WEB_RUNTIME"  # onnxruntime-web, as --runtime takes it


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint of a network that nobody trained; its low temperature makes small differences large."""
    torch.manual_seed(3)
    preprocessing = Preprocessing(resize_px=72, input_height_px=64, input_width_px=64)
    spec = ModelSpec(num_classes=len(CLASSES), input_CHW=(3, 64, 64))
    model = resolve_model("squeezenet1.1", spec).eval()
    manifest = Manifest(
        model="squeezenet1.1", preprocessing=preprocessing, classes=CLASSES, temperature=0.05, provenance={"seed": 1}
    )
    folder = tmp_path_factory.mktemp("untrained") / "checkpoint-best"
    save_checkpoint(folder, manifest, model.state_dict())
    return folder


@pytest.fixture(scope="module")
def runtime() -> Path:
    """onnxruntime-web of the right version."""
    named = os.environ.get(NAMED)
    if not named:
        pytest.skip(f"{NAMED} does not name onnxruntime-web {VERSION} ({web_runtime.GET_IT})")
    return Path(named)


@pytest.fixture(scope="module")
def page(run: Path, runtime: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The export. Not to be changed."""
    out = tmp_path_factory.mktemp("pages") / "page"
    return api.export(run, out, formats=["browser"], runtime=runtime).folder


@pytest.fixture(scope="module")
def new_tab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[], Tab]]:
    with chromium(require_chromium(), tmp_path_factory.mktemp("profile")) as tabs:
        yield tabs


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Three photos: a large JPEG, one that lies on its side, a PNG with transparent pixels."""
    folder = tmp_path_factory.mktemp("photos")
    draw = np.random.default_rng(8)
    paths = [folder / name for name in ("large.jpg", "turned.jpg", "see-through.png")]
    for path, size_HW in zip(paths, [(900, 1300), (400, 300), (150, 210)]):
        coarse = Image.fromarray(draw.integers(0, 256, (9, 12, 3), dtype=np.uint8))
        image = coarse.resize(size_HW[::-1], Image.Resampling.BICUBIC)
        if path.name == "turned.jpg":
            exif = image.getexif()
            exif[0x0112] = 6
            image.save(path, quality=92, exif=exif)
        elif path.suffix == ".png":
            image.putalpha(Image.fromarray(draw.integers(0, 256, size_HW, dtype=np.uint8)))
            image.save(path)
        else:
            image.save(path, quality=92)
    return paths


def shown(tab: Tab, name: str) -> dict[str, float]:
    """The probabilities that the page shows of a file, by class."""
    rows = f"document.querySelectorAll('[data-file=\"{name}\"] .rows li')"
    tab.wait_for(f"{rows}.length > 0")
    values = tab.ask(f"[...{rows}].map(row => [row.firstChild.textContent, Number(row.dataset.probability)])")
    return dict(values)


def ready(tab: Tab, address: str) -> list[dict[str, float]]:
    """Open the page; what its self-test found."""
    tab.open(address)
    return json.loads(tab.wait_for("document.getElementById('test-verdict')?.dataset.results"))


def require_answers_of_predict(tab: Tab, run: Path, photos: list[Path]) -> None:
    tab.choose_files("#file", photos)
    for said in api.predict(run, photos):
        found = shown(tab, Path(said.key).name)
        expected = dict(zip(map(printable, said.classes), said.probabilities, strict=True))
        assert len(found) == 5
        assert next(iter(found)) == printable(said.top(1)[0][0])
        assert found == pytest.approx({name: expected[name] for name in found}, abs=0.01), said.key


def test_opened_from_the_disk_it_answers_three_photos_as_predict_does(
    run: Path, page: Path, photos: list[Path], new_tab: Callable[[], Tab]
):
    tab = new_tab()
    results = ready(tab, (page / "index.html").as_uri())
    png = [result for result in results if result["isPng"]]
    assert len(png) == 3
    assert max(result["largest"] for result in png) <= 1
    assert max(result["probability"] for result in png) <= 0.01
    assert tab.ask("document.getElementById('test-verdict').className") == "good"
    require_answers_of_predict(tab, run, photos)
    assert {address.partition(":")[0] for address in tab.requests} <= {"file", "blob", "data"}
    assert not tab.problems


def test_a_photo_unlike_those_of_training_is_told_and_what_it_would_be(
    run: Path, runtime: Path, photos: list[Path], new_tab: Callable[[], Tab], tmp_path: Path
):
    knowing = shutil.copytree(run, tmp_path / "run")
    known_photo = photos[2]
    member = open_member(run)
    prepared = [prepare_image(decode_image(path.read_bytes(), "").image_HWC, member.preprocessing) for path in photos]
    features = with_features(member.model)
    assert features is not None
    with torch.inference_mode():
        feature_ND = features(member.normalized(np.stack(prepared)))[:, len(CLASSES) :].numpy()
    unit_MD = unit_rows(feature_ND[2:]).repeat(5, axis=0)
    half_way = nearest_distance(feature_ND[:2], unit_MD).min() / 2
    assert half_way > 0.01
    checkpoint = find_checkpoint(knowing)
    content = novelty_bytes(KnownFeatures(unit_MD=unit_MD, distance_V=np.full(99, half_way, np.float32)))
    manifest = checkpoint.manifest
    update_manifest(checkpoint, {}, manifest.temperature, manifest.task, {NOVELTY: content})
    page = api.export(knowing, tmp_path / "page", formats=["browser"], runtime=runtime).folder
    tab = new_tab()
    ready(tab, (page / "index.html").as_uri())
    require_answers_of_predict(tab, knowing, photos)
    for said in api.predict(knowing, photos):
        assert (said.no_answer == "unlike_training") is (Path(said.key) != known_photo)
        place = f"document.querySelector('[data-file=\"{Path(said.key).name}\"]')"
        name = printable(said.top(1)[0][0])
        heading, notes = (
            tab.ask(f"[...{place}.querySelectorAll('{kind}')].map(e => e.textContent)") for kind in ("h2", "p")
        )
        assert heading == ["Unlike anything seen in training" if said.no_answer else name]
        assert (f"If it had to answer: {name}." in notes) is bool(said.no_answer)
    assert not tab.problems


@pytest.mark.parametrize(
    ("task", "classes"),
    [(Task(kind="number", mean=40.0, deviation=12.5, half_width=6.0), ("age",)), (GRADE, tuple("01234"))],
    ids=["number", "grade"],
)
def test_a_number_and_a_grade_are_those_of_predict(
    task: Task, classes: tuple[str, ...], runtime: Path, photos: list[Path], new_tab: Callable[[], Tab], tmp_path: Path
):
    network, pixels = "conv 6 f3 s2 bn | conv 8 f3 s2 bn | gap", Preprocessing(input_height_px=32, input_width_px=32)
    run = untrained_run(tmp_path / "run", network, pixels, 1.0, task, classes, head_scale=100.0)
    page = api.export(run, tmp_path / "page", formats=["browser"], runtime=runtime).folder
    tab = new_tab()
    ready(tab, (page / "index.html").as_uri())
    assert tab.ask("document.getElementById('test-verdict').className") == "good"
    tab.choose_files("#file", photos)
    for said in api.predict(run, photos):
        place = f"document.querySelector('[data-file=\"{Path(said.key).name}\"] h2')"
        tab.wait_for(f"{place} !== null")
        if said.value is None:
            assert tab.ask(f"{place}.textContent") == said.grade
        else:
            assert float(tab.ask(f"{place}.dataset.number")) == pytest.approx(said.value, abs=0.2)
            assert tab.ask(f"{place}.nextSibling.textContent").startswith("Nine of ten truths lie within ")
    assert not tab.problems


def test_from_a_server_it_does_the_same_and_asks_nobody_else(
    run: Path, page: Path, photos: list[Path], new_tab: Callable[[], Tab]
):
    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            """Nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(page)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    address = f"http://127.0.0.1:{server.server_port}/"
    tab = new_tab()
    try:
        ready(tab, f"{address}index.html")
        require_answers_of_predict(tab, run, photos)
    finally:
        server.shutdown()
        server.server_close()
    outside = [asked for asked in tab.requests if not asked.startswith((address, "blob:", "data:"))]
    assert not outside
    assert not tab.problems


def test_the_camera_is_answered_until_it_is_stopped(page: Path, new_tab: Callable[[], Tab]):
    tab = new_tab()
    ready(tab, (page / "index.html").as_uri())
    tab.ask("document.getElementById('camera').click()")
    assert len(shown(tab, "camera")) == 5
    assert tab.ask("document.getElementById('camera').textContent") == "Stop the camera"
    tab.ask("document.getElementById('camera').click()")
    assert tab.ask("document.querySelector('video').srcObject.active") is False


def test_what_is_no_photo_is_told_and_the_next_one_is_answered(
    page: Path, photos: list[Path], new_tab: Callable[[], Tab], tmp_path: Path
):
    (tmp_path / "notes.jpg").write_text("no photo")
    Image.new("RGB", (2500, 10)).save(tmp_path / "line.png")
    tab = new_tab()
    ready(tab, (page / "index.html").as_uri())
    tab.choose_files("#file", [tmp_path / "notes.jpg", tmp_path / "line.png", photos[0]])
    assert len(shown(tab, "large.jpg")) == 5
    words = "document.querySelector('[data-file=\"{}\"] p').textContent"
    assert tab.ask(words.format("notes.jpg")) == "notes.jpg: this browser cannot read it as a photo."
    assert tab.ask(words.format("line.png")) == (
        "line.png: it has 2500x10 pixels: one side is more than 200 times the other."
    )


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_fits_a_phone_in_both_colours(page: Path, photos: list[Path], new_tab: Callable[[], Tab], scheme: str):
    tab = new_tab()
    tab.look(390, scheme)
    ready(tab, (page / "index.html").as_uri())
    tab.choose_files("#file", photos[:1])
    shown(tab, "large.jpg")
    tab.ask("document.querySelectorAll('details').forEach(one => one.open = true)")
    assert tab.ask("document.documentElement.scrollWidth") == 390
    ground = (palette.LIGHT if scheme == "light" else palette.DARK)["ground"]
    rgb = tuple(int(ground[at : at + 2], 16) for at in (1, 3, 5))
    assert tab.ask("getComputedStyle(document.body).backgroundColor") == f"rgb{rgb}"


def test_a_folder_without_its_network_says_so(page: Path, new_tab: Callable[[], Tab], tmp_path: Path):
    copy = shutil.copytree(page, tmp_path / "copy")
    (copy / "browser" / "model.js").unlink()
    tab = new_tab()
    tab.open((copy / "index.html").as_uri())
    said = tab.wait_for(
        "document.getElementById('state')?.className == 'bad' && document.getElementById('state').textContent"
    )
    assert said == (
        "The network cannot be loaded: a file of the folder 'browser' is missing; keep the whole folder together."
    )


def test_the_colours_of_the_page_are_those_of_the_report():
    style = (Path(browser.__file__).parent / "page_files" / "page.css").read_text(encoding="utf-8")
    for number, theme in enumerate((palette.LIGHT, palette.DARK)):
        line = style.splitlines()[number]
        for name in ("ground", "surface", "ink", "muted", "line", "accent", "good", "bad", "warn"):
            assert f"--{name}:{theme[name]}" in line


def test_the_page_is_made_of_the_same_bytes_each_time(run: Path, runtime: Path, page: Path):
    bundle = read_bundle(page)
    classifier = open_classifier([run])
    photos = browser.self_test_photos(classifier, bundle.preprocessing)
    engine = web_runtime.web_runtime(runtime, print)
    made = browser.page_files((page / "any-size.onnx").read_bytes(), bundle, photos, None, engine)
    assert set(made) == {"index.html", "browser/runtime.js", "browser/model.js", "browser/check.js"}
    for name, content in made.items():
        assert (page / name).read_bytes() == content, name


def test_the_card_says_not_for_openvino(page: Path):
    assert "**not for OpenVINO**" in (page / "README.md").read_text(encoding="utf-8")


def test_names_of_classes_cannot_become_markup(page: Path):
    text = (page / "index.html").read_text(encoding="utf-8")
    assert "<caps>" not in text
    assert "\u202e" not in text


def test_a_graph_that_resizes_otherwise_is_refused(run: Path, page: Path):
    """Teeth: without antialiasing the pixels are far from those of the run."""
    model = onnx.load(page / "any-size.onnx")
    for node in model.graph.node:
        for attribute in node.attribute if node.op_type == "Resize" else ():
            if attribute.name in ("antialias", "exclude_outside"):
                attribute.i = 0
    with pytest.raises(ExportError, match=r"^The graph resizes otherwise than the run: pixels of generated photos "):
        browser.compare_any_size(model.SerializeToString(), open_classifier([run]), read_bundle(page).preprocessing)


def test_without_a_network_the_message_says_how_to_bring_the_runtime(
    run: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
):
    def offline(address: str, timeout: float) -> None:
        raise OSError("Network is unreachable")

    monkeypatch.setattr(web_runtime.urllib.request, "urlopen", offline)
    with pytest.raises(ExportError) as caught:
        api.export(run, tmp_path / "out", formats=["browser"])
    assert caught.value.message == (
        f"The page needs onnxruntime-web {VERSION}, and registry.npmjs.org does not give it (Network is unreachable).\n"
        f"Where there is a network, run: npm pack onnxruntime-web@{VERSION}\n"
        f"Then give the file: --runtime onnxruntime-web-{VERSION}.tgz"
    )


def test_another_archive_or_folder_than_that_version_is_refused(tmp_path: Path):
    (tmp_path / "other.tgz").write_bytes(b"another")
    (tmp_path / "dist").mkdir()
    with pytest.raises(ExportError) as archive:
        web_runtime.web_runtime(tmp_path / "other.tgz", print)
    assert archive.value.message == (
        f"{tmp_path / 'other.tgz'} is not what onnxruntime-web {VERSION} has there: its SHA-256 is another.\n"
        f"An export holds that version alone, with which it was tried. Get it: npm pack onnxruntime-web@{VERSION}"
    )
    with pytest.raises(ExportError) as empty:
        web_runtime.web_runtime(tmp_path, print)
    assert empty.value.message == (
        f"{tmp_path} does not hold {SCRIPT} and {WASM}.\n"
        f"Give the folder 'dist' of onnxruntime-web {VERSION}, or the file that this writes: "
        f"npm pack onnxruntime-web@{VERSION}"
    )
    for name in RECORDS:
        (tmp_path / "dist" / name).write_bytes(b"changed")
    with pytest.raises(ExportError, match=f"^{tmp_path / 'dist' / SCRIPT} is not what onnxruntime-web"):
        web_runtime.web_runtime(tmp_path, print)


def test_a_runtime_without_the_page_is_refused(run: Path):
    with pytest.raises(UsageError) as caught:
        api.export(run, formats=["onnx"], runtime="somewhere")
    assert (
        caught.value.message == "--runtime is for the page of a browser.\nAdd --format browser, or leave --runtime out."
    )
