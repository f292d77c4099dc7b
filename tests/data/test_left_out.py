"""Why files are left out, and how many may be."""

import pytest

from saccade.data.left_out import PassedOver, counted_ending, is_too_many


@pytest.mark.parametrize(
    ("num_bad", "num_images", "is_refused"),
    [(0, 1, False), (1, 2, False), (2, 3, True), (2, 199, True), (2, 200, False), (3, 299, True), (10, 1000, False)],
)
def test_a_hundredth_is_left_out_and_one_image_always(num_bad: int, num_images: int, is_refused: bool):
    assert is_too_many(num_bad, num_images) is is_refused


def test_endings_are_counted_in_lower_case_and_long_ones_as_none():
    names = ["a.DOCX", "b.docx", "notes", "c.", "d.a-very-long-ending"]
    assert [counted_ending(name) for name in names] == [".docx", ".docx", *3 * ["without an ending"]]


def test_what_two_walks_passed_over_is_one_sentence():
    first, second = PassedOver(), PassedOver()
    first.num_beside, first.num_hidden = 2, 1
    second.num_beside, second.num_irregular = 1, 1
    first.update(second)
    assert first.sentence() == (
        "5 files passed over: 3 images beside the class folders, 1 that is not a file, 1 hidden image"
    )
    assert PassedOver().sentence() == ""
