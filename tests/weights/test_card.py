"""Cards of strangers: what a checkpoint could not keep is refused before any work is done."""

import pytest

from saccade.core.errors import WeightsError
from saccade.weights.card import card_in_file, card_of_timm, parse_classes


@pytest.mark.parametrize("licence", ["x" * 10_001, "\ud800"])
def test_a_licence_that_no_checkpoint_can_keep_is_refused(licence: str):
    message = (
        f"w, {{}} is not a licence: it has {len(licence):,} characters, or some that are not text; at most 10,000 are "
        "kept.\n"
        "Write its name there, such as apache-2.0."
    )
    with pytest.raises(WeightsError) as caught:
        card_in_file({"saccade.licence": licence}, "w")
    assert caught.value.message == message.format("saccade.licence")
    with pytest.raises(WeightsError) as caught:
        card_of_timm({"input_size": [3, 224, 224], "license": licence}, "w")
    assert caught.value.message == message.format("license")
    assert card_in_file({"saccade.licence": "x" * 10_000}, "w").licence == "x" * 10_000


def test_a_class_name_that_is_no_text_is_refused():
    with pytest.raises(WeightsError) as caught:
        parse_classes(["cat", "caf\udce9"], "w")
    assert caught.value.message == r"w has a class whose name is not valid text: 'caf\udce9'."
