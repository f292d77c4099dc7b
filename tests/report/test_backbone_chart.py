"""The picture of compared networks shows those that were judged, where they were measured."""

import re
from pathlib import Path

from saccade.report.backbone_chart import _row, write_backbone_chart
from saccade.runs.start_point import Backbone


def backbone(name: str, num_judged: int, accuracy: float, ms: float, chosen: bool = False) -> Backbone:
    return Backbone(
        name=name,
        weights=name,
        num_judged=num_judged,
        accuracy=accuracy,
        low=accuracy - 0.02 if num_judged else 0.0,
        high=accuracy + 0.02 if num_judged else 0.0,
        ms=ms,
        megabytes=4.94,
        features_s=1.0,
        chosen=chosen,
    )


def test_networks_stand_at_their_time_and_accuracy_and_the_chosen_one_is_marked(tmp_path: Path):
    found = [
        backbone("slow", 900, 0.9, 40.0, chosen=True),
        backbone("quick", 900, 0.8, 10.0),
        backbone("too-large", 0, 0.0, 99.0),
    ]
    path = tmp_path / "backbones.svg"
    write_backbone_chart(path, found, "slow: 90.0 % of 900 training images left out of the fit.")
    text = path.read_text(encoding="utf-8")
    assert "slow, 4.9 MB" in text
    assert "quick, 4.9 MB" in text
    assert "too-large" not in text
    assert "90.0 % of 900 training images" in text
    drawn = re.findall(
        r'kind: (\w+)" role="graphics-symbol"[^>]*"point" transform="translate\(([\d.]+),([\d.]+)\)', text
    )
    points = {kind: (float(x), float(y)) for kind, x, y in drawn}
    (slow_x, slow_y), (quick_x, quick_y) = points["chosen"], points["compared"]
    assert slow_x > quick_x
    assert slow_y < quick_y  # SVG counts from the top


def test_a_row_is_in_percent_and_milliseconds():
    row = _row(backbone("quick", 900, 0.8, 10.0))
    assert row == {
        "label": "quick, 4.9 MB", "kind": "compared", "ms": 10.0, "accuracy": 80.0, "low": 78.0, "high": 82.0,
    }  # fmt: skip
