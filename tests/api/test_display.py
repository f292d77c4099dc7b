"""How results show themselves: a sentence, a table, and HTML in which nothing of a stranger can run."""

from pathlib import Path

import numpy as np
import pytest

from saccade import api
from saccade.evaluate.verdict import verdict

EVIL = "<script>alert('x')</script>"
SETTINGS = {"batch_size": 64, "runtime": {"num_threads": 1, "precision": "float32"}}


@pytest.fixture(scope="module")
def result(tmp_path_factory: pytest.TempPathFactory) -> api.TrainResult:
    return api.train(
        api.TrainRequest(source="digits", epochs=1, settings=SETTINGS, out=tmp_path_factory.mktemp("shown") / "run")
    )


def test_a_training_shows_its_verdict(result: api.TrainResult):
    sentence = verdict(result.judgement.metrics)
    assert sentence.startswith(f"{100 * result.judgement.metrics.top1:.1f} % of 359 held-out images correct")
    assert repr(result) == f"<TrainResult: {sentence}>"
    assert str(result) == f"{sentence}\nKept epoch 1 of 1.\nRun: {result.run_dir}"
    assert result._repr_html_() == (
        f"<p><strong>{sentence}</strong></p>\n<p>Kept epoch 1 of 1.</p>\n<p>Run: {result.run_dir}</p>"
    )


def test_an_evaluation_shows_its_verdict_and_its_classes(result: api.TrainResult):
    evaluation = api.evaluate(result.run_dir, "digits")
    html = evaluation._repr_html_()
    assert repr(evaluation) == f"<Evaluation: {verdict(evaluation.metrics)}>"
    assert html.count("<tr>") == 11
    assert f"<p><strong>{verdict(evaluation.metrics)}</strong></p>" in html
    assert str(evaluation).splitlines()[0].split()[:3] == ["class", "images", "recall"]


def test_a_prediction_shows_its_top_answers_and_escapes_them():
    answer = api.Prediction(
        key=f"{EVIL}.jpg", classes=(EVIL, "dog", "cat", "owl"), probabilities=(0.5, 0.1, 0.375, 0.025), latency_ms=1.0
    )
    assert repr(answer) == f"<Prediction: {EVIL}.jpg: '{EVIL}', 50.0 %.>"
    assert str(answer).splitlines()[1:4] == [
        f"{name:<{len(EVIL)}}  {chance}" for name, chance in ((EVIL, "50.0 %"), ("cat", "37.5 %"), ("dog", "10.0 %"))
    ]
    html = answer._repr_html_()
    assert "<script" not in html
    assert "&lt;script&gt;alert(&#x27;x&#x27;)&lt;/script&gt;" in html
    assert html.count("<tr>") == 4


def test_a_design_table_shows_its_rows_and_a_comparison_its_totals():
    table = api.table("lenet5")
    html = table._repr_html_()
    assert html.count("<tr>") == 2 + len(table.layers)  # headings, the input, each layer
    assert repr(table) == (
        "<DesignTable: lenet5 for 32x32x1: 61,706 parameters, 416,520 multiply-adds an image (convolutions and matrix "
        "products, no biases).>"
    )
    assert api.compare(["lenet5", "resnet20"])._repr_html_().count("<tr>") == 3


def test_a_check_up_shows_its_headline_and_what_it_found(tmp_path: Path):
    images = np.stack([np.full((16, 16), 20 * number, np.uint8) for number in range(8)])
    images[1] = images[0]
    inspection = api.inspect((images, ["a", "b"] * 4))
    assert repr(inspection).startswith("<Inspection: arrays: 8 images of 2 classes. ")
    assert "<table>" in inspection._repr_html_()
