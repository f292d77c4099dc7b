"""The place Runs, asked without a browser: what is shown, what is kept, and what hostile requests and runs get."""

import asyncio
import csv
import io
import json
import os
import re
import shutil
import tomllib
from math import comb
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.report.conftest import MadeRun

for package in ("starlette", "uvicorn", "httptools", "jinja2"):
    pytest.importorskip(package, reason="the extra 'studio' is not installed")

from tests.ship.asked import HOST, Reply, asked  # noqa: E402

from saccade.web.guard import rules_for  # noqa: E402
from saccade.web.studio.app import build_app  # noqa: E402

JSON = ("content-type", "application/json")


class Asked:
    """A studio without a socket. `ids` are those of the runs by their names."""

    def __init__(self, folder: Path) -> None:
        self.app = build_app(folder, rules_for("127.0.0.1", 8000, ""))
        self.ids = {row["name"]: row["id"] for row in self.get("/api/runs").json["runs"]}

    def get(self, target: str) -> Reply:
        return asyncio.run(asked(self.app, "GET", target))

    def text(self, target: str) -> str:
        """What a page says, without its markup."""
        reply = self.get(target)
        assert reply.status == 200, reply.content[:2000]
        return " ".join(re.sub(r"<[^>]*>", " ", reply.content.decode()).split())

    def rows(self, target: str) -> list[dict[str, str]]:
        """The rows of a CSV file."""
        return list(csv.DictReader(io.StringIO(self.get(target).content.decode(), newline="")))

    def mark(self, run: str, body: Any, headers: tuple[tuple[str, str], ...] = (HOST, JSON)) -> Reply:
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        return asyncio.run(asked(self.app, "POST", f"/api/runs/{self.ids[run]}/marks", headers, content))


@pytest.fixture
def folder(runs: Path, tmp_path: Path) -> Path:
    """Runs that a test may change."""
    return Path(shutil.copytree(runs, tmp_path / "runs"))


@pytest.fixture
def studio(folder: Path) -> Asked:
    return Asked(folder)


def test_the_list_tells_every_run_with_its_state_and_verdict_and_no_other_folder(studio: Asked, judged: MadeRun):
    found = {row["name"]: (row["state"], row["verdict"]) for row in studio.get("/api/runs").json["runs"]}
    rate = f"{100 * float((judged.label_N == judged.said_N).mean()):.1f}"
    assert found == {
        "photos/first": ("finished", rate),
        "second": ("finished", rate),
        "stopped": ("stopped", ""),
        "damaged <i>": ("damaged", ""),
    }
    text = studio.text("/runs")
    assert f"{rate} %" in text
    assert "damaged &lt;i&gt;" in text


def test_the_network_of_a_transfer_is_told_in_words(folder: Path):
    path = folder / "second" / "checkpoint-best" / "manifest.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"model": "resnet18+loglinear"}))
    studio = Asked(folder)
    told = "resnet18 with a new last layer"
    assert told in studio.text("/runs?q=last+layer")
    assert told in studio.text(f"/runs/compare?run={studio.ids['photos/first']}&run={studio.ids['second']}")
    assert told in studio.text("/predict")


def test_the_column_of_curves_is_there_where_a_run_has_one(studio: Asked, folder: Path):
    assert '<th scope="col">validation</th>' in studio.get("/runs").content.decode()
    for epochs in folder.rglob("metrics.jsonl"):
        epochs.unlink()
    assert '<th scope="col" hidden>validation</th>' in Asked(folder).get("/runs").content.decode()


def test_the_list_is_sorted_and_filtered_as_its_address_says(studio: Asked):
    def names(target: str) -> list[str]:
        page = studio.get(target).content.decode()
        return re.findall(r'<th scope="row"><a href="/runs/[^"]+">([^<]+)</a>', page)

    assert names("/runs?sort=run") == ["damaged &lt;i&gt;", "photos/first", "second", "stopped"]
    assert names("/runs?sort=run&order=down") == ["stopped", "second", "photos/first", "damaged &lt;i&gt;"]
    assert names("/runs?sort=verdict")[:2] == ["photos/first", "second"]
    assert names("/runs?q=FIR+lenet&sort=run") == ["photos/first"]
    assert names("/runs?state=stopped") == ["stopped"]
    assert len(names("/runs?sort=nothing&order=sideways&state=none")) == 4


def test_a_run_that_comes_is_found_and_one_that_goes_is_told(
    studio: Asked, folder: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("saccade.web.studio.runs.index.LOOK_AGAIN_S", 0.0)
    monkeypatch.setattr("saccade.web.studio.runs.listing.FRESH_S", 0.0)
    address = f"/runs/{studio.ids['second']}"
    assert studio.get(address).status == 200
    (folder / "second").rename(folder / "third")
    assert [row["name"] for row in studio.get("/api/runs").json["runs"]].count("third") == 1
    assert studio.get(address).status == 404


def test_an_ensemble_is_one_entry_and_its_members_have_pages(studio: Asked, folder: Path):
    (folder / "five").mkdir()
    (folder / "five" / "ensemble.toml").write_text('format = 3\nnum_members = 5\n[run]\nsource = "digits"\n')
    (folder / "second").rename(folder / "five" / "member-1")
    (folder / "stopped").rename(folder / "five" / "member-2")
    studio = Asked(folder)
    assert set(studio.ids) == {"photos/first", "damaged <i>", "five"}
    rows = {row["name"]: row for row in studio.get("/api/runs").json["runs"]}
    assert (rows["five"]["state"], rows["five"]["progress"]) == ("stopped", "1 of 5 members finished")
    page = studio.get("/runs").content.decode()
    members = dict(re.findall(r'<a href="/runs/([^"]+)">(member-\d)</a>', page))
    assert list(members.values()) == ["member-1", "member-2"]
    assert page.count('name="run"') == 4, "an ensemble has no answers of its own to compare"
    text = studio.text(f"/runs/{studio.ids['five']}")
    assert "Members run state verdict member-1 finished" in text
    assert "stopped 1 of 5 members finished. What was saved is kept." in text
    for member in members:
        assert studio.get(f"/runs/{member}").status == 200
        assert studio.get(f"/runs/compare?run={studio.ids['photos/first']}&run={member}").status == 200
    verdict = {"num_samples": 120, "top1": 0.75, "top1_low": 0.66, "top1_high": 0.82}
    (folder / "five" / "evaluation.json").write_text(json.dumps(verdict))
    text = Asked(folder).text(f"/runs/{studio.ids['five']}")
    assert "75.0 % (66.0 to 82.0) of 120 images" in text
    assert "damaged" not in text


def test_many_runs_come_by_pages_and_what_is_known_is_not_sent_again(tmp_path: Path):
    for number in range(230):
        (tmp_path / f"run-{number:03}").mkdir()
        (tmp_path / f"run-{number:03}" / "config.toml").write_text("format = 3\n")
        (tmp_path / f"run-{number:03}" / "found.json").write_text('{"format": 3, "values": {}}')
    studio = Asked(tmp_path)
    found = []
    for page in (1, 2, 3, 9):
        reply = studio.get(f"/runs?sort=run&page={page}")
        assert len(reply.content) < 150_000
        found.append(re.findall(r">(run-\d+)</a>", reply.content.decode()))
    assert [len(names) for names in found] == [100, 100, 30, 30]
    assert sum(found[:3], []) == [f"run-{number:03}" for number in range(230)]
    version = studio.get("/api/runs").json["version"]
    assert studio.get(f"/api/runs?since={version}").json == {"version": version}


def test_an_empty_folder_says_what_to_do(tmp_path: Path):
    assert "No runs in" in Asked(tmp_path).text("/runs")
    assert "saccade train digits" in Asked(tmp_path / "absent").text("/runs")


def pieces(page: str) -> list[str]:
    """The tables and charts of a page, without where links lead."""
    plain = re.sub(r' href="[^"]*"| aria-label="[^"]*"|</?a>', "", page)
    return re.findall(r"<table[^>]*>.*?</table>|<svg .*?</svg>", plain, re.DOTALL)


def test_the_page_of_a_run_has_the_tables_and_charts_of_its_report(studio: Asked, folder: Path):
    from saccade import api

    there = set(pieces(api.report(folder / "second").read_text(encoding="utf-8")))
    root = f"/runs/{studio.ids['second']}"
    for part in ("", "/parts/curves", "/parts/classes", "/parts/calibration", "/parts/ranking", "/parts/data"):
        page = studio.get(root + part).content.decode()
        own = [piece for piece in pieces(page.partition('<dialog id="help"')[0])]
        assert own, part
        assert set(own) <= there, part


def test_names_that_try_to_be_markup_are_text_on_every_page(studio: Asked):
    for run in studio.ids.values():
        for part in ("", "?true=0&said=0", "/mistakes", "/images/0", "/parts/classes", "/parts/data"):
            reply = studio.get(f"/runs/{run}{part}")
            if reply.status == 200:
                assert b"<b onmouseover" not in reply.content
                assert "\u202e" not in reply.content.decode()


def test_a_cell_has_exactly_its_images(studio: Asked, judged: MadeRun):
    root = f"/runs/{studio.ids['second']}"
    confusion_KK = np.zeros((6, 6), int)
    np.add.at(confusion_KK, (judged.label_N, judged.said_N), 1)
    for true, said in [(0, 0), tuple(map(int, np.argwhere(confusion_KK * (1 - np.eye(6, dtype=int)))[0]))]:
        page = studio.get(f"{root}?true={true}&said={said}").content.decode()
        found = {int(each) for each in re.findall(r'data-position="(\d+)"', page)}
        assert found == set(np.flatnonzero((judged.label_N == true) & (judged.said_N == said)).tolist())
    for wrong in ("true=99&said=0", "true=-1&said=0", "true=0", "true=a&said=b", "true=0&said=%00"):
        assert b"data-position" not in studio.get(f"{root}?{wrong}").content


def test_mistakes_come_surest_first_and_by_class(studio: Asked, judged: MadeRun):
    root = f"/runs/{studio.ids['second']}"
    rows = studio.rows(f"{root}/mistakes.csv")
    assert len(rows) == int((judged.label_N != judged.said_N).sum())
    sure = [float(row["said_probability"]) for row in rows]
    assert sure == sorted(sure, reverse=True)
    page = studio.text(f"{root}/mistakes")
    assert f"{len(rows)} answers of {len(judged.label_N)} are wrong." in page
    wanted = [row for row in rows if row["label"] == "class 1"]
    page = studio.get(f"{root}/mistakes?true={judged.classes.index('class 1')}").content.decode()
    assert len(re.findall('class="open"', page)) == len(wanted)
    assert b"No mistake fits" in studio.get(f"{root}/mistakes?true=nothing&page=9&least=100").content


def test_pictures_are_those_that_the_run_keeps(studio: Asked, folder: Path):
    from PIL import Image
    from safetensors.numpy import load_file

    kept = load_file(folder / "second" / "pictures.safetensors")
    root = f"/runs/{studio.ids['second']}/images"
    position = int(kept["seen_position_M"][0])
    picture = studio.get(f"{root}/{position}/picture")
    assert (picture.status, picture.headers["content-type"]) == (200, "image/png")
    assert (np.asarray(Image.open(io.BytesIO(picture.content))) == kept["seen_MHWC"][0]).all()
    small = np.asarray(Image.open(io.BytesIO(studio.get(f"{root}/{position}/thumbnail").content)))
    assert max(small.shape) <= 96
    none = next(k for k in range(120) if k not in kept["seen_position_M"] and k not in kept["thumbnail_position_M"])
    assert studio.get(f"{root}/{none}/picture").status == 404
    assert "keeps no picture" in studio.text(f"{root}/{none}")
    for wrong in ("120", "99999999", "-1", "a", "0.5", "../0"):
        assert studio.get(f"{root}/{wrong}").status == 404


def test_the_evidence_is_that_of_explain(studio: Asked, folder: Path):
    from PIL import Image
    from safetensors.numpy import load_file

    from saccade.classify.classifier import open_member
    from saccade.core.runtime import RuntimeConfig
    from saccade.explain.colour import even_colours
    from saccade.explain.gradcam import grad_cam

    kept = load_file(folder / "second" / "pictures.safetensors")
    position = int(kept["seen_position_M"][0])
    member = open_member(folder / "second", RuntimeConfig(device="cpu"))
    maps = [grad_cam(member.model, member.normalized(kept["seen_MHWC"][:1]), k, member.classes) for k in range(6)]
    shown = next(k for k in range(6) if not maps[k].message)
    root = f"/runs/{studio.ids['second']}/images/{position}/evidence"
    told = studio.get(f"/api{root}?class={shown}").json
    assert told == {"message": "", "layer": maps[shown].layer, "class": member.classes[shown]}
    picture = np.asarray(Image.open(io.BytesIO(studio.get(f"{root}?class={shown}").content)))
    assert picture.shape == (64, 80, 4)
    assert np.abs(picture[..., :3].astype(int) - even_colours(maps[shown].map_HW)).max() <= 1
    for wrong in ("", "?class=6", "?class=-1", "?class=x", "?class=1&class=9"):
        assert studio.get(f"{root}{wrong}").status == 422


def test_the_evidence_of_an_image_that_is_not_kept_is_that_of_its_source_where_it_is_the_same(
    studio: Asked, folder: Path
):
    from PIL import Image
    from safetensors.numpy import load_file, save_file

    from saccade.classify.classifier import open_member
    from saccade.core.runtime import RuntimeConfig
    from saccade.explain.gradcam import grad_cam
    from saccade.explain.subject import look_at

    run = folder / "second"
    kept = load_file(run / "pictures.safetensors")
    none = next(k for k in range(120) if k not in kept["seen_position_M"])
    root = f"/runs/{studio.ids['second']}/images/{none}"
    assert studio.get(f"/api{root}/evidence?class=0").code == "other_image"  # the run says what nobody computed
    verdict = json.loads((run / "evaluation.json").read_text())
    photo = Path(tomllib.loads((run / "config.toml").read_text())["source"]) / verdict["keys"][none]
    member = open_member(run, RuntimeConfig(device="cpu"))
    subject = look_at(member, photo.read_bytes(), photo.name)
    arrays = load_file(run / "evaluation.safetensors")
    arrays["logits_NK"][none] = subject.logits_K
    save_file(arrays, run / "evaluation.safetensors")
    (run / "evaluation.json").write_text(json.dumps(verdict | {"files": {}}))
    shown = grad_cam(member.model, subject.input_1CHW, 0, member.classes)
    studio = Asked(folder)
    told = studio.get(f"/api{root}/evidence?class=0").json
    assert told == {"message": shown.message, "layer": shown.layer, "class": member.classes[0]}
    picture = studio.get(f"{root}/picture?from=source").content
    assert (np.asarray(Image.open(io.BytesIO(picture))) == subject.prepared_HWC).all()
    assert studio.get(f"/api{root}/source").json == {"message": ""}
    small = np.asarray(Image.open(io.BytesIO(studio.get(f"{root}/thumbnail").content)))
    assert (small == subject.prepared_HWC).all(), "it is no larger than 96 pixels"
    label, said = int(arrays["label_N"][none]), int(subject.logits_K.argmax())
    cell = studio.text(f"/runs/{studio.ids['second']}?true={label}&said={said}")
    assert "not kept by the run: read from its source" in cell
    changed = next(k for k in range(120) if k not in kept["seen_position_M"] and k != none)
    told = studio.get(f"/api/runs/{studio.ids['second']}/images/{changed}/source").json["message"]
    assert told.startswith("The network says otherwise of this image than the run wrote down"), told
    text = (run / "config.toml").read_text().replace(str(photo.parent.parent), "https://example.org/photos.tar")
    (run / "config.toml").write_text(text)
    studio = Asked(folder)
    assert studio.get(f"/api{root}/evidence?class=0").code == "not_kept"
    assert "its source is not on this machine" in studio.get(f"/api{root}/source").json["message"]
    cell = studio.text(f"/runs/{studio.ids['second']}?true={label}&said={said}")
    assert "not kept by the run, and its source is not on this machine" in cell


def test_the_grid_of_mistakes_does_not_wait_for_doubts_about_labels(
    studio: Asked, judged: MadeRun, monkeypatch: pytest.MonkeyPatch
):
    from saccade.evaluate import mistakes as module
    from saccade.evaluate.label_errors import suspect_labels
    from saccade.evaluate.scores import probabilities_from_logits
    from saccade.report.record import read_run

    fitted: list[int] = []
    real = module.suspect_labels
    monkeypatch.setattr(module, "suspect_labels", lambda *given: fitted.append(1) or real(*given))
    page = f"/runs/{studio.ids['second']}/mistakes"
    text = studio.get(page).content.decode()
    assert not fitted
    assert f'data-doubts="/api/runs/{studio.ids["second"]}/doubts"' in text
    found = studio.get(f"/api/runs/{studio.ids['second']}/doubts").json["positions"]
    record = read_run(judged.path)
    listed = suspect_labels(probabilities_from_logits(record.logits_NK, record.temperature), record.label_N)
    wrong = set(np.flatnonzero(judged.said_N != judged.label_N).tolist())
    assert sorted(found) == sorted(set(listed.position_S.tolist()) & wrong)
    assert fitted == [1]
    text = studio.get(page).content.decode()
    assert "data-doubts" not in text
    assert fitted == [1]
    shown = re.findall(r'data-position="(\d+)".*?<span class="tag doubted"( hidden)?>', text, re.S)
    assert {int(position) for position, hidden in shown if not hidden} == set(found) & {int(p) for p, _ in shown}


def test_marks_are_kept_beside_the_run_change_nothing_else_and_leave_as_csv(studio: Asked, folder: Path):
    before = {path.name: path.read_bytes() for path in (folder / "second").iterdir() if path.is_file()}
    assert studio.mark("second", {"position": 3, "mark": "label wrong"}).json["words"] == "1 mark in second."
    assert studio.mark("second", {"position": 4, "mark": "unclear"}).status == 200
    assert studio.mark("second", {"position": 4, "mark": "label wrong"}).status == 200
    assert studio.mark("second", {"position": 3, "mark": ""}).status == 200
    rows = studio.rows(f"/runs/{studio.ids['second']}/marks.csv")
    assert [row["mark"] for row in rows] == ["label wrong"]
    after = {path.name: path.read_bytes() for path in (folder / "second").iterdir() if path.is_file()}
    assert {name: content for name, content in after.items() if name != "marks.json"} == before
    assert 'aria-pressed="true">label wrong' in studio.get(f"/runs/{studio.ids['second']}/images/4").content.decode()


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"", 400),
        (b"{", 400),
        (b"[1]", 400),
        (b"[" * 10_000, 400),
        (b"x" * 20_000, 413),
        ({"position": 3}, 422),
        ({"position": "3", "mark": "unclear"}, 422),
        ({"position": True, "mark": "unclear"}, 422),
        ({"position": -1, "mark": "unclear"}, 422),
        ({"position": 1.5, "mark": "unclear"}, 422),
        ({"position": 3, "mark": "<script>"}, 422),
        ({"position": 3, "mark": ["unclear"]}, 422),
        ({"position": 120, "mark": "unclear"}, 404),
        ({"position": 10**300, "mark": "unclear"}, 404),
    ],
    ids=lambda value: str(value)[:24],
)
def test_a_mark_that_is_none_is_refused_and_nothing_is_written(studio: Asked, folder: Path, body: Any, status: int):
    reply = studio.mark("second", body)
    assert reply.status == status
    assert set(reply.json["error"]) == {"code", "message", "hint"}
    if status == 413:
        assert reply.json["error"]["message"] == "The body has more than 16 KB."
    assert not (folder / "second" / "marks.json").exists()


def test_a_mark_comes_as_json_from_the_studios_own_page_alone(studio: Asked, folder: Path):
    body = {"position": 3, "mark": "unclear"}
    for kind in ("text/plain", "application/x-www-form-urlencoded", "multipart/form-data"):
        assert studio.mark("second", body, (HOST, ("content-type", kind))).status == 415
    assert studio.mark("second", body, (HOST, JSON, ("origin", "http://evil.com"))).status == 403
    assert studio.mark("second", body, (HOST, JSON, ("sec-fetch-site", "cross-site"))).status == 403
    assert not (folder / "second" / "marks.json").exists()
    assert studio.mark("second", body, (HOST, JSON, ("origin", "http://127.0.0.1:8000"))).status == 200


def test_marks_that_cannot_be_stored_or_read_are_told(studio: Asked, folder: Path):
    (folder / "second" / "marks.json").mkdir()
    assert studio.mark("second", {"position": 3, "mark": "unclear"}).code == "not_shown"
    os.rmdir(folder / "second" / "marks.json")
    (folder / "second" / "marks.json").write_text("{")
    reply = studio.mark("second", {"position": 3, "mark": "unclear"})
    assert (reply.status, "marks.json is damaged" in reply.json["error"]["message"]) == (422, True)


DAMAGE = {
    "evaluation.json": [b"{", b"null", b'{"keys": []}', b"\xff"],
    "evaluation.safetensors": [b"", b"\x00" * 100],
    "pictures.safetensors": [b"", b"\xff" * 100],
    "metrics.jsonl": [b'{"event": "epoch"}\n', b"\x00\n", b"[" * 70_000 + b"\n"],
    "config.toml": [b"a = ", b"\xff"],
    "data.json": [b"{"],
    "environment.json": [b"[]"],
    "checkpoint-best/manifest.json": [b"", b"{}"],
    "checkpoint-best/weights.safetensors": [b"", b"\x00" * 64],
}


@pytest.mark.parametrize(("name", "content"), [(name, each) for name, all_ in DAMAGE.items() for each in all_])
def test_a_damaged_run_has_a_page_that_names_the_file(studio: Asked, folder: Path, name: str, content: bytes):
    (folder / "second" / name).write_bytes(content)
    assert len(studio.get("/api/runs").json["runs"]) == 4
    text = studio.text(f"/runs/{studio.ids['second']}")
    if content != b'{"keys": []}':  # a verdict of another version
        assert name in text or name.partition("/")[0] in text
    for part in (
        "/classes",
        "/parts/classes",
        "/parts/network",
        "/mistakes",
        "/images/0",
        "/parts/data",
        "/images/0/picture",
        "/epochs.csv",
    ):
        assert studio.get(f"/runs/{studio.ids['second']}{part}").status in (200, 404, 422)


def test_a_run_that_was_not_judged_shows_its_curves_and_the_command_that_goes_on(studio: Asked, folder: Path):
    text = studio.text(f"/runs/{studio.ids['stopped']}")
    assert f"saccade train --resume --out {folder / 'stopped'}" in text
    assert "Loss" in studio.text(f"/runs/{studio.ids['stopped']}/parts/curves")
    assert [row["epoch"] for row in studio.rows(f"/runs/{studio.ids['stopped']}/epochs.csv")] == list("123456")
    assert studio.get(f"/runs/{studio.ids['stopped']}/classes").status == 422


def test_two_runs_are_compared_on_the_images_that_both_were_judged_on(studio: Asked, folder: Path):
    from safetensors.numpy import load_file, save_file

    path = folder / "second" / "evaluation.safetensors"
    arrays = load_file(path)
    first_N = arrays["logits_NK"].argmax(axis=1) == arrays["label_N"]
    arrays["logits_NK"][:30] = np.eye(6, dtype=np.float32)[arrays["label_N"][:30]]  # these are right now
    save_file(arrays, path)
    verdict = json.loads((folder / "second" / "evaluation.json").read_text())
    (folder / "second" / "evaluation.json").write_text(json.dumps(verdict | {"files": {}}))
    second_N = arrays["logits_NK"].argmax(axis=1) == arrays["label_N"]
    b, c = int((first_N & ~second_N).sum()), int((~first_N & second_N).sum())
    assert (b, c > 3) == (0, True)
    p_value = min(1.0, 2 * sum(comb(b + c, i) for i in range(min(b, c) + 1)) / 2 ** (b + c))
    text = studio.text(f"/runs/compare?run={studio.ids['photos/first']}&run={studio.ids['second']}")
    shown = "p &lt; 0.001" if p_value < 0.001 else f"p = {p_value:.3f}"
    assert f"A alone is right on 0 and B alone on {c} of 120 images (McNemar {shown}" in text


def test_settings_that_differ_are_named_and_what_cannot_be_compared_is_told(studio: Asked, folder: Path):
    with open(folder / "second" / "config.toml", "a", encoding="utf-8") as file:
        file.write("[optimizer]\nlearning_rate = 0.01\n")
    runs = [studio.ids[name] for name in ("photos/first", "second", "stopped")]
    text = studio.text("/runs/compare?" + "&".join(f"run={run}" for run in runs))
    assert "optimizer.learning_rate default 0.01 default" in text
    assert "C is not compared with A: The run " in text
    assert "no curve" not in text
    (folder / "stopped" / "metrics.jsonl").write_text("")
    text = studio.text("/runs/compare?" + "&".join(f"run={run}" for run in runs))
    assert "C has no curve: it has no finished epoch. Fitting the last layer alone takes none." in text
    (folder / "second" / "config.toml").write_text('source = "elsewhere"\n')
    text = studio.text(f"/runs/compare?run={runs[0]}&run={runs[1]}")
    assert "B is not compared with A: it was judged on &#39;elsewhere&#39;, not on the images of the first." in text


def test_a_comparison_takes_six_runs_and_says_what_it_leaves_out(studio: Asked, folder: Path):
    for number in range(6):
        shutil.copytree(folder / "stopped", folder / f"more-{number}")
    more = Asked(folder)
    chosen = "&".join(f"run={run}" for run in more.ids.values())
    assert "Six runs fit; 4 of 10 are left out." in more.text(f"/runs/compare?{chosen}")
    assert "Choose two to six runs" in more.text("/runs/compare")
    assert more.get("/runs/compare?run=nothing").status == 404
