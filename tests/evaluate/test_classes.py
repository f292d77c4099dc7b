"""Classes are matched by name, never by number, and what does not match is said."""

import pytest

from saccade.core.errors import DataError
from saccade.evaluate.classes import match_classes, refuse_extra_classes


def test_the_same_names_in_another_order_match_without_a_word():
    match = match_classes(["cat", "dog", "cow"], ["dog", "cow", "cat"])
    assert match.label_map_S.tolist() == [1, 2, 0]
    assert match.messages == ()
    refuse_extra_classes(match)


def test_a_class_missing_in_the_source_shifts_nothing():
    match = match_classes(["cat", "cow", "dog"], ["cat", "dog"])
    assert match.label_map_S.tolist() == [0, 2]
    assert match.missing == ("cow",)
    assert match.messages == ("No images of 'cow', which the run knows: nothing is said of it.",)


def test_a_class_the_run_does_not_know_is_named_with_the_likely_one():
    match = match_classes(["cat", "Straße", "T-shirt"], ["cat", "STRASSE", "t shirt"])
    assert match.label_map_S.tolist() == [0, -1, -1]
    with pytest.raises(DataError) as error:
        refuse_extra_classes(match)
    assert str(error.value) == (
        "The run does not know 'STRASSE', 't shirt': it cannot be right on images of them. "
        "Is 'STRASSE' meant to be 'Straße'?\n"
        "Rename the folders of the images to the run's class names, or judge on images of its classes only."
    )


def test_composed_and_decomposed_letters_are_recognised_as_the_likely_cause():
    match = match_classes(["caf\u00e9", "tea"], ["cafe\u0301", "tea"])
    assert match.messages[1].endswith("Is 'cafe\u0301' meant to be 'caf\u00e9'?")


def test_another_data_set_altogether_is_refused():
    with pytest.raises(DataError) as error:
        match_classes([f"n{i}" for i in range(8)], ["ab\x1bc", "xyzw"])
    assert str(error.value) == (
        "Not one class of the images is known to the run: they have 'ab\\x1bc', 'xyzw', "
        "the run knows 'n0', 'n1', 'n2', 'n3', 'n4' and 3 more.\n"
        "Rename the classes of the images to those of the run, or take another run."
    )
