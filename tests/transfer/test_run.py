"""A whole transfer on real digits: what is frozen stays, what is kept is found again, a run cut off goes on."""

import json
import re
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from tests.transfer.feature_plans import write_images
from tests.transfer.test_backbone_search import write_weights

from saccade import api
from saccade.cli.transfer import transfer_text
from saccade.core.errors import SaccadeError
from saccade.models.architecture import ModelSpec, build_model
from saccade.models.surgery import cut
from saccade.runs.checkpoint import find_checkpoint, open_checkpoint
from saccade.train.config import RunConfig
from saccade.train.loop import EpochResult
from saccade.transfer import start_point
from saccade.transfer.evidence import Answers, Fits, Trial
from saccade.transfer.ladder import Ladder
from saccade.transfer.measurements import Measurements
from saccade.transfer.request import TransferRequest
from saccade.transfer.run import TransferResult
from saccade.transfer.start_point import enough_epochs
from saccade.transfer.time_plan import TimePlan

PIXELS = {"channels": "grey", "input_height_px": 32, "input_width_px": 32, "mean": [0.5], "std": [0.25]}
SMALL = ["batch_size=64", "transfer.ladder_images=150", "runtime.precision=float32"]


@pytest.fixture(scope="module")
def backbone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """LeNet-5 with random weights for seven other classes, and how it sees pixels."""
    folder = tmp_path_factory.mktemp("backbone")
    torch.manual_seed(3)
    model = build_model("lenet5", ModelSpec(num_classes=7, input_CHW=(1, 32, 32)))
    save_file({name: tensor.contiguous() for name, tensor in model.state_dict().items()}, folder / "model.safetensors")
    (folder / "pixels.json").write_text(json.dumps(PIXELS))
    return folder


def request(backbone: Path, out: Path, freeze: str = "all") -> TransferRequest:
    return TransferRequest(
        source="digits",
        backbone="lenet5",
        weights=str(backbone),
        freeze=freeze,
        epochs=2,
        out=out,
        cache=str(out.parent / "cache"),
        preprocessing=backbone / "pixels.json",
        settings=SMALL,
    )


Whole = Callable[[str], TransferResult]


@pytest.fixture(scope="module")
def whole(backbone: Path, tmp_path_factory: pytest.TempPathFactory) -> Whole:
    """`whole("auto")`: the transfer frozen so deep that nothing disturbed and no cache helped, made once. Not to be
    changed."""

    @cache
    def run(freeze: str) -> TransferResult:
        out = tmp_path_factory.mktemp("whole") / "run"
        return api.transfer(replace(request(backbone, out, freeze), cache="none"))

    return run


def weights(run: Path) -> dict[str, torch.Tensor]:
    return find_checkpoint(run).load_weights()


def test_all_frozen_gives_an_ordinary_checkpoint_with_the_backbone_as_it_came(backbone: Path, whole: Whole):
    result = whole("all")
    run = result.run.run_dir
    assert result.start.frozen == "all"
    assert result.start.sentence == "All but the last layer frozen, as asked."
    assert (result.start.num_computed, result.start.num_found, result.run.training_s) == (1438, 0, 0.0)
    assert result.run.judgement.metrics.top1 > 0.85  # random filters and a fitted layer; guessing gives 0.1
    came, shipped = load_file(backbone / "model.safetensors"), weights(run)
    last = {name for name in shipped if shipped[name].shape != came[name].shape}
    assert len(last) == 2
    assert all(torch.equal(shipped[name], came[name]) for name in shipped if name not in last)
    again = api.evaluate([run], "digits")
    assert again.metrics.top1 == result.run.judgement.metrics.top1
    origin = find_checkpoint(run).manifest.provenance["transfer"]
    assert origin["backbone"] == "lenet5"
    assert len(origin["weights_sha256"]) == 64


def test_cached_features_give_the_bits_of_computed_ones(backbone: Path, whole: Whole, tmp_path: Path):
    first = api.transfer(request(backbone, tmp_path / "first"))
    cached = api.transfer(request(backbone, tmp_path / "cached"))
    without = whole("all")
    counts = [(result.start.num_computed, result.start.num_found) for result in (first, cached, without)]
    assert counts == [(1438, 0), (0, 1438), (1438, 0)]
    for run in (tmp_path / "cached", without.run.run_dir):
        other = weights(run)
        assert all(torch.equal(tensor, other[name]) for name, tensor in weights(tmp_path / "first").items())


def test_fine_tuning_changes_only_what_is_behind_the_frozen_part(backbone: Path, whole: Whole):
    result = whole("stage1")
    run = result.run.run_dir
    model = find_checkpoint(run).load_model()
    frozen = {id(parameter) for module in cut(model, "stage1").frozen for parameter in module.parameters()}
    came = load_file(backbone / "model.safetensors")
    same = {
        name: torch.equal(parameter, came[name])
        for name, parameter in model.named_parameters()
        if id(parameter) in frozen
    }
    assert len(same) >= 2
    assert all(same.values())
    begun = open_checkpoint(run / "checkpoint-start").load_weights()
    kept = weights(run)
    changed = [name for name in kept if not torch.equal(kept[name], begun[name])]
    assert bool(changed) == (result.run.best_epoch > 0)
    assert set(changed).isdisjoint(same)
    assert result.run.training_s > 0
    origins = [open_checkpoint(path).manifest.provenance["transfer"] for path in run.glob("checkpoint-*")]
    assert len(origins) >= 3
    assert all(origin == origins[0] and origin["backbone"] == "lenet5" for origin in origins)


class Cut(Exception):
    """The power is gone."""


class CutAfter(api.Silent):
    """Raises Cut at the end of an epoch, or at work that is called by a text."""

    def __init__(self, epoch: int = 0, working: str = "") -> None:
        self.last_epoch, self.text = epoch, working

    def epoch(self, result: EpochResult) -> None:
        if result.epoch == self.last_epoch:
            raise Cut

    def working(self, text: str) -> None:
        if self.text and self.text in text:
            raise Cut


def test_the_measurement_of_a_batch_is_told_when_it_begins(backbone: Path, tmp_path: Path):
    with pytest.raises(Cut):
        api.transfer(
            replace(request(backbone, tmp_path / "run", "auto"), minutes=60.0, cache="none"),
            CutAfter(working="measuring a batch"),
        )


@pytest.mark.parametrize(
    "progress", [CutAfter(working="choosing the depth: a new last layer alone"), CutAfter(epoch=1), CutAfter(epoch=2)]
)
def test_a_transfer_that_was_cut_off_goes_on_to_the_same_bits(
    backbone: Path, whole: Whole, tmp_path: Path, progress: CutAfter
):
    freeze = "auto" if progress.text else "stage1"
    with pytest.raises(Cut):
        api.transfer(replace(request(backbone, tmp_path / "cut", freeze), cache="none"), progress)
    resumed = TransferRequest(resume=True, out=tmp_path / "cut", cache="none")
    api.transfer(resumed)
    one, other = weights(whole(freeze).run.run_dir), weights(tmp_path / "cut")
    assert all(torch.equal(one[name], other[name]) for name in one)


def test_a_measurement_that_was_finished_is_not_made_again(
    backbone: Path, whole: Whole, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    undisturbed = whole("auto").run.run_dir
    asked = replace(request(backbone, tmp_path / "cut", "auto"), cache="none")
    with pytest.raises(Cut):
        api.transfer(asked, CutAfter(working="for the report alone: a new last layer on stem"))
    finished = json.loads((tmp_path / "cut" / "measured.json").read_text())["fits"]
    assert "linear all 1/1 look 1" in finished
    measured: list[tuple[str, str]] = []
    judge = Ladder._judge

    def record(ladder: Ladder, depth: str, trained: str, trial: Trial, fits: Fits) -> Answers:
        measured.append((trained, depth))
        return judge(ladder, depth, trained, trial, fits)

    monkeypatch.setattr(Ladder, "_judge", record)
    api.transfer(TransferRequest(resume=True, out=tmp_path / "cut", cache="none"))
    assert measured
    assert not {f"{trained} {depth} 1/1 look 1" for trained, depth in measured} & set(finished)
    texts = [json.loads((run / "transfer.json").read_text()) for run in (undisturbed, tmp_path / "cut")]
    for text in texts:
        for rung in text["rungs"]:
            del rung["seconds"]
    assert texts[0]["rungs"] == texts[1]["rungs"]
    cut_off = weights(tmp_path / "cut")
    assert all(torch.equal(tensor, cut_off[name]) for name, tensor in weights(undisturbed).items())


def test_measurements_of_other_images_or_values_are_not_used(tmp_path: Path):
    answers = Answers(right_M=np.array([True, False, True]), seconds=1.5, num_parameters=7)
    config = RunConfig.parse({"seed": 1}, "test")
    Measurements(tmp_path, config, "images").keep("tail stem", answers)
    found = Measurements(tmp_path, config, "images").find("tail stem", 3)
    assert found is not None
    assert (found.right_M.tolist(), found.seconds, found.num_parameters) == ([True, False, True], 1.5, 7)
    assert Measurements(tmp_path, config, "images").find("tail stem", 4) is None
    assert Measurements(tmp_path, config, "others").find("tail stem", 3) is None
    assert Measurements(tmp_path, RunConfig.parse({"seed": 2}, "test"), "images").find("tail stem", 3) is None


def test_measurements_that_are_damaged_are_named(backbone: Path, tmp_path: Path):
    asked = replace(request(backbone, tmp_path / "run", "auto"), cache="none")
    with pytest.raises(Cut):
        api.transfer(asked, CutAfter(working="for the report alone: a new last layer on stem"))
    path = tmp_path / "run" / "measured.json"
    path.write_text(path.read_text().replace('"right": "', '"right": "yes'))
    with pytest.raises(SaccadeError) as caught:
        api.transfer(TransferRequest(resume=True, out=tmp_path / "run", cache="none"))
    first, second = caught.value.message.splitlines()
    assert first.startswith(f"{path}: 'fits.linear all 1/1 look 1.right' ")
    assert second == "Remove the file; --resume then measures again."


def test_no_time_for_more_fits_the_last_layer_alone_and_says_so(backbone: Path, tmp_path: Path):
    result = api.transfer(replace(request(backbone, tmp_path / "run", "auto"), minutes=0.0001))
    assert result.start.frozen == "all"
    words = "Only the last layer is trained: --minutes 0.0001 leaves no time for more, which takes at least about "
    assert re.fullmatch(re.escape(words) + r"\d+ (s|min)\.", result.start.sentence)  # a busy machine expects longer


def not_expected(result: TransferResult) -> set[str]:
    """The parts of a transfer that took time by its record and none by what was expected, or the other way round."""
    start, run = result.start, result.run
    took_s = {
        "start": run.seconds,
        "features": start.features_s,
        "comparing depths": start.depth_s,
        "last layer": start.heads_s - start.depth_s,
        "fine-tuning": run.training_s,
        "judging": run.seconds,
        "report": run.seconds,
    }
    assert set(start.expected_s) == set(took_s)
    return {part for part, seconds in took_s.items() if (seconds > 0) != (start.expected_s[part] > 0)}


@pytest.mark.parametrize("freeze", ["all", "auto"])
def test_what_a_run_is_expected_to_take_has_every_part_that_its_record_has(
    backbone: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, freeze: str
):
    monkeypatch.setattr(start_point, "QUICK", 0.0)
    result = api.transfer(replace(request(backbone, tmp_path / "run", freeze), epochs=1, cache="none"))
    if freeze == "auto" and result.start.frozen == "all":  # what no evidence was for
        assert not_expected(result) == {"fine-tuning"}
    else:
        assert not_expected(result) == set()


def test_time_enough_changes_no_bit(backbone: Path, whole: Whole, tmp_path: Path):
    result = api.transfer(replace(request(backbone, tmp_path / "limited", "stage1"), minutes=60))
    assert result.start.epochs == 0
    assert not_expected(result) == set()
    limited = weights(tmp_path / "limited")
    free = weights(whole("stage1").run.run_dir)
    assert all(torch.equal(tensor, limited[name]) for name, tensor in free.items())


def test_a_fine_tuning_for_which_there_is_no_time_has_fewer_epochs(backbone: Path, tmp_path: Path):
    asked = replace(request(backbone, tmp_path / "run", "stage1"), epochs=5000, minutes=0.05)
    result = api.transfer(asked)
    assert 1 <= result.start.epochs < 5000
    assert f"--minutes 0.05 leaves time for {result.start.epochs} of 5,000 epochs of fine-tuning" in result.start.notes
    assert result.run.config.epochs == result.start.epochs
    again = api.transfer(TransferRequest(resume=True, out=tmp_path / "run", cache="none"))  # finished: judged again
    assert again.run.best_epoch == result.run.best_epoch


@pytest.mark.parametrize(
    ("num_images", "enough", "expected"),
    [(100, 0, 8), (100, 9000, 8), (1125, 9000, 8), (1126, 9000, 8), (1500, 9000, 6), (3068, 9000, 3), (10**6, 9000, 3)],
)
def test_many_images_need_fewer_epochs_but_three_at_least(num_images: int, enough: int, expected: int):
    config = RunConfig.parse({"epochs": 8, "transfer": {"enough_images": enough}}, "test")
    assert enough_epochs(config, num_images) == expected


def test_the_number_of_epochs_that_a_person_gives_is_kept(backbone: Path, tmp_path: Path):
    asked = replace(request(backbone, tmp_path / "run"), epochs=None)
    assert asked.config().transfer.enough_images > 0
    for own in (
        replace(asked, epochs=8),
        replace(asked, settings=[*SMALL, "epochs=8"]),
        replace(asked, settings={"epochs": 8}),
    ):
        assert (own.config().epochs, own.config().transfer.enough_images) == (8, 0)


class Notes(api.Silent):
    def __init__(self) -> None:
        self.texts: list[str] = []

    def note(self, text: str) -> None:
        self.texts.append(text)


def test_a_forecast_that_was_too_hopeful_ends_the_fine_tuning_at_the_deadline(
    backbone: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(TimePlan, "epochs_for", lambda self, depth, num_epochs: num_epochs)
    notes = Notes()
    asked = replace(request(backbone, tmp_path / "run", "stage1"), epochs=5000, minutes=0.05)
    result = api.transfer(asked, notes)
    rows = [json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
    last = max(row["epoch"] for row in rows if row["event"] == "epoch")
    assert last < 5000
    assert any(text.startswith(f"the time is up: training ends with epoch {last} of 5000") for text in notes.texts)
    assert result.run.judgement.metrics.num_samples == 359
    judged_again = Notes()
    api.transfer(TransferRequest(resume=True, out=tmp_path / "run", cache="none"), judged_again)
    assert any(text.startswith(f"this run is finished ({last} epoch") for text in judged_again.texts)


def test_the_ladder_measures_every_depth_and_leaves_its_picture(whole: Whole):
    result = whole("auto")
    rungs = result.start.rungs
    full = max(rung.num_images for rung in rungs)
    assert {(r.depth, r.trained) for r in rungs if r.num_images == full and r.trained != "tail"} == {
        (depth, trained) for depth in ("stem", "stage1", "all") for trained in ("linear", "hidden")
    }
    assert [rung.depth for rung in rungs if rung.trained == "tail" and rung.num_images == full][0] == "stage1"
    assert all(rung.low <= rung.accuracy <= rung.high for rung in rungs)
    assert {rung.num_judged for rung in rungs} == {150}  # five folds: each image is left out once
    assert (result.run.run_dir / "ladder.svg").read_text().startswith("<svg")
    assert result.start.frozen in ("all", "stage1", "stem")
    assert {rung.num_images for rung in rungs} == {full}
    assert "150 training images left out of the fit" in result.start.sentence
    assert 0 < result.start.depth_s <= result.start.heads_s
    assert "choosing the depth " in transfer_text(result)


def test_the_smaller_panels_of_the_picture_are_measured_on_request_and_change_nothing(
    backbone: Path, whole: Whole, tmp_path: Path
):
    asked = request(backbone, tmp_path / "panels", "auto")
    one, other = whole("auto"), api.transfer(replace(asked, settings=[*SMALL, "transfer.ladder_panels=true"]))
    assert len({rung.num_images for rung in other.start.rungs}) == 2  # a sixteenth is too few for ten classes
    assert other.start.sentence == one.start.sentence
    panels = weights(tmp_path / "panels")
    assert all(torch.equal(tensor, panels[name]) for name, tensor in weights(one.run.run_dir).items())


def test_without_a_limit_no_more_depths_are_measured_than_the_estimate_counts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    class Enough(Exception):
        pass

    found: list[list[str]] = []

    def forecast(plan: object, depths: list[str], *others: object) -> None:
        found.append(depths)
        raise Enough

    monkeypatch.setattr(start_point, "QUICK", 0.0)
    monkeypatch.setattr(start_point, "forecast", forecast)
    files = write_weights(tmp_path / "weights", "mobilenetv3-small", 1.0)
    asked = TransferRequest(source="digits", weights=str(files), freeze="auto", cache="none", settings=SMALL)
    for number, minutes in enumerate((None, 60.0)):
        with pytest.raises(Enough):
            api.transfer(replace(asked, minutes=minutes, out=tmp_path / f"run-{number}"))
    told, all_of_them = found
    assert len(all_of_them) > 2
    assert told == all_of_them[:2]


@pytest.mark.parametrize(("freeze", "said"), [("none", "Nothing frozen"), ("stem", "Frozen up to stem")])
def test_what_was_asked_is_said(backbone: Path, tmp_path: Path, freeze: str, said: str):
    asked = replace(request(backbone, tmp_path / "run", freeze), epochs=1)
    assert api.transfer(asked).start.sentence == f"{said}, as asked."


@pytest.mark.parametrize("is_one_image", [False, True])
def test_too_few_images_keep_everything_frozen(backbone: Path, tmp_path: Path, is_one_image: bool):
    write_images(tmp_path / "images")
    if is_one_image:  # all of them fall into one fold, and nothing is left to learn from
        content = (tmp_path / "images" / "a" / "0.png").read_bytes()
        for path in (tmp_path / "images").rglob("*.png"):
            path.write_bytes(content)
    asked = replace(request(backbone, tmp_path / "run", "auto"), source=str(tmp_path / "images"))
    start = api.transfer(asked).start
    num_train = 6 if is_one_image else 4
    assert (start.frozen, start.rungs) == ("all", ())
    assert start.sentence == (f"Only the last layer is trained: {num_train} images are too few to compare depths.")


def test_the_ladder_climbs_where_the_recipe_gives_each_part_its_own_rate(backbone: Path, tmp_path: Path):
    settings = ["batch_size=64", "transfer.ladder_images=60", "runtime.precision=float32"]
    asked = replace(request(backbone, tmp_path / "run", "auto"), recipe="transfer-gradual", epochs=1, settings=settings)
    result = api.transfer(asked)
    assert {rung.trained for rung in result.start.rungs} == {"linear", "hidden", "tail"}


def test_views_are_said_aloud_and_only_add_to_what_is_fitted(backbone: Path, tmp_path: Path):
    notes: list[str] = []

    class Listening(api.Silent):
        def note(self, text: str) -> None:
            notes.append(text)

    with_views = replace(request(backbone, tmp_path / "run"), views=3, settings=[*SMALL, "augment.shift.max_px=2"])
    result = api.transfer(with_views, Listening())
    told = "each image is also seen in 2 fixed augmented views, drawn once by the seed"
    assert told in notes
    assert result.start.num_computed == 2 * 1295 + 1438
    mixed = [*with_views.settings, "augment.mixup.alpha=0.2", "augment.mixup.probability=0.5"]
    again = api.transfer(replace(with_views, out=tmp_path / "mixed", settings=mixed), Listening())
    assert f"{told}, none of them mixed with another image" in notes
    assert again.start.num_computed == 0


def refused(asked: TransferRequest) -> str:
    with pytest.raises(SaccadeError) as error:
        api.transfer(asked)
    assert 1 <= len(error.value.message.splitlines()) <= 4
    return error.value.message


def test_what_cannot_be_transferred_is_refused_before_anything_is_written(backbone: Path, tmp_path: Path):
    asked = request(backbone, tmp_path / "run")
    assert refused(replace(asked, freeze="stage9")) == (
        "'stage9' is not a freeze depth of this network. Did you mean 'stage1'?\n"
        "Use one of, from nothing to all but the last layer: none, stem, stage1, all."
    )
    assert refused(replace(asked, backbone="lenet7")).startswith("Unknown model 'lenet7'. Did you mean 'lenet5'?")
    assert refused(replace(asked, weights="")) == (
        f"The table has no weights of {asked.backbone} that are free for any use.\n"
        "Give some with --weights FILE, or take another network: 'saccade weights' lists those with weights."
    )
    assert refused(replace(asked, settings=["distill.teachers=['run']", "distill.weight=0.5"])) == (
        "'saccade transfer' has no teachers; values under 'distill.' are for 'saccade train'."
    )
    for limit_gb in (0, -1.0, float("inf"), float("nan")):
        assert refused(replace(asked, cache_limit_gb=limit_gb)) == (
            f"--cache-limit is a number of GB above 0, got {limit_gb:g}; --cache none keeps nothing."
        )
    alone = ["augment.crop.min_area=1", "augment.mirror.probability=0", "augment.mixup.alpha=0.2"]
    assert refused(replace(asked, views=4, settings=[*SMALL, *alone])) == (
        "'transfer.views' 4 asks for augmented views of each image, and no augmentation of single images is set, so "
        "all of them would be equal.\nLeave it out, or set one, such as --set augment.mirror.probability=0.5."
    )
    assert not (tmp_path / "run").exists()
    api.transfer(asked)
    assert refused(TransferRequest(resume=True, out=tmp_path / "run", epochs=1)) == (
        "A resumed run goes on as it began: epochs was 2, now 1.\n"
        "Leave that option out, or start a new run with another --out."
    )
    first, anew, _ = refused(TransferRequest(resume=True, out=tmp_path / "run", epochs=9)).splitlines()
    assert first == ("A resumed run goes on as it began: epochs was 2, now 9, and its learning rate was planned for 2.")
    words = [
        "saccade transfer digits --recipe transfer --seed 0 --backbone lenet5",
        "--epochs 9",
        "--set batch_size=64",
    ]
    assert all(word in anew for word in [*words, f"--weights {backbone}", "--freeze all", "transfer.preprocessing="])
    with pytest.raises(SaccadeError) as error:
        api.train(api.TrainRequest(resume=True, out=tmp_path / "run"))
    assert error.value.message == (
        f"{tmp_path / 'run'} was begun by saccade transfer.\n"
        f"Go on with: saccade transfer --resume --out {tmp_path / 'run'}"
    )


def test_balanced_class_weights_reach_the_fine_tuning_and_the_fit_says_it_has_none(backbone: Path, tmp_path: Path):
    plain = replace(request(backbone, tmp_path / "plain", "stage1"), epochs=1)
    balanced = replace(plain, out=tmp_path / "balanced", settings=[*SMALL, "loss.class_weights=balanced"])
    told = [api.transfer(asked).start.notes for asked in (plain, balanced)]
    assert told == [(), ("loss.class_weights is for fine-tuning; all images count alike in the last layer's fit",)]
    starts, ends = (
        [open_checkpoint(tmp_path / run / name).load_weights() for run in ("plain", "balanced")]
        for name in ("checkpoint-start", "checkpoint-last")
    )
    assert all(torch.equal(tensor, starts[1][name]) for name, tensor in starts[0].items())
    assert not all(torch.equal(tensor, ends[1][name]) for name, tensor in ends[0].items())


def test_images_that_cannot_grow_are_refused_before_their_features_are_computed(backbone: Path, tmp_path: Path):
    for freeze in ("none", "stage1", "auto"):
        asked = request(backbone, tmp_path / "run", freeze)
        assert refused(replace(asked, settings=[*SMALL, "input.start_fraction=0.5"])) == (
            "'input.start_fraction' 0.5 begins with images of 16x16, which lenet5 cannot take.\n"
            "Its layers fit one size. Leave the value out, or take a network that averages its maps, such as resnet20."
        )
    assert not (tmp_path / "run").exists()
    assert not (tmp_path / "cache").exists()


def test_what_the_weights_do_not_bring_is_drawn_by_the_seed(tmp_path: Path):
    model = build_model("googlenet", ModelSpec(num_classes=7, input_CHW=(3, 64, 64)))
    save_file(
        {name: tensor.contiguous() for name, tensor in model.state_dict().items()}, tmp_path / "model.safetensors"
    )
    pixels = {"channels": "rgb", "input_height_px": 64, "input_width_px": 64, "mean": [0.5] * 3, "std": [0.25] * 3}
    (tmp_path / "pixels.json").write_text(json.dumps(pixels))
    write_images(tmp_path / "images", 8)
    starts = []
    for out, seed in (("first", 0), ("second", 0), ("third", 1)):
        asked = replace(request(tmp_path, tmp_path / out), source=str(tmp_path / "images"), backbone="googlenet")
        api.transfer(replace(asked, seed=seed))
        starts.append(open_checkpoint(tmp_path / out / "checkpoint-start").load_weights())
    side = [name for name in starts[0] if name.startswith("auxiliary.") and name.endswith("weight")]
    assert len(side) == 6
    assert all(torch.equal(starts[0][name], starts[1][name]) for name in starts[0])
    assert not any(torch.equal(starts[0][name], starts[2][name]) for name in side)


def test_other_weights_do_not_go_on_with_a_run(backbone: Path, tmp_path: Path):
    copy = tmp_path / "copy"
    copy.mkdir()
    tensors = load_file(backbone / "model.safetensors")
    save_file(tensors, copy / "model.safetensors")
    (copy / "pixels.json").write_text(json.dumps(PIXELS))
    asked = replace(request(copy, tmp_path / "run", "auto"), cache="none")
    with pytest.raises(Cut):
        api.transfer(asked, CutAfter(working="last layer alone"))
    name = sorted(tensors)[0]
    tensors[name] = torch.from_numpy(np.nextafter(tensors[name].numpy(), np.float32(9)))
    save_file(tensors, copy / "model.safetensors")
    message = refused(TransferRequest(resume=True, out=tmp_path / "run", cache="none"))
    assert message.startswith(f"The weights {copy} are not those this run was begun with: their SHA-256 is ")
    assert message.endswith("Put the file back, or start a new run with another --out.")
