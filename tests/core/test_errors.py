"""The error tree: exit codes, printable names, suggestions."""

import copy
import pickle

import pytest

from saccade.core import errors


def subclasses(cls: type) -> list[type]:
    return [cls] + [found for child in cls.__subclasses__() for found in subclasses(child)]


@pytest.mark.parametrize("error", subclasses(errors.SaccadeError), ids=lambda error: error.__name__)
def test_every_error_has_an_exit_code_and_stands_in_the_drawing(error: type[errors.SaccadeError]):
    assert error.exit_code in (1, 2, 130)
    assert f"{error.__name__} " in (errors.__doc__ or "")


def test_the_drawing_shows_the_true_codes():
    for line in (errors.__doc__ or "").splitlines():
        words = line.replace("├──", "").replace("└──", "").replace("│", "").split()
        if "exit" in words and words[0].isidentifier():
            error = getattr(errors, words[0])
            assert int(words[2]) == error.exit_code


def test_an_image_error_names_the_file_and_keeps_the_reason():
    error = errors.ImageError("cats/a\nb.jpg", "the file is empty (0 bytes).")
    assert error.message == "cats/a\\nb.jpg: the file is empty (0 bytes)."
    assert error.reason == "the file is empty (0 bytes)."


def test_an_error_goes_through_pickle_as_it_is():
    """A pool of processes whose worker raised an ImageError waited for ever for its result."""
    image = errors.ImageError("a.jpg", "the file is empty (0 bytes).")
    image.is_agreed = True
    for made in (copy.copy(image), copy.deepcopy(image), pickle.loads(pickle.dumps(image))):  # noqa: S301
        assert type(made) is errors.ImageError
        assert (made.args, vars(made)) == (image.args, vars(image))
        assert (made.message, made.key, made.is_agreed) == (image.message, "a.jpg", True)
    for kind in set(subclasses(errors.SaccadeError)) - {errors.ImageError}:
        error = kind.__new__(kind)
        error.args = ("no",)  # whatever its constructor takes
        made = pickle.loads(pickle.dumps(error))  # noqa: S301
        assert (type(made), made.message) == (kind, "no")


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain é 猫", "plain é 猫"),
        ("a\x1b[31mred", "a\\x1b[31mred"),
        ("right\u202eleft", "right\\u202eleft"),
        ("bad\udcff", "bad\\udcff"),
        ("line\nline", "line\\nline"),
    ],
)
def test_nothing_from_outside_can_steer_a_terminal(text: str, shown: str):
    assert errors.printable(text) == shown


def test_the_nearest_name_is_suggested_and_a_far_one_is_not():
    assert errors.did_you_mean("lenet", ["lenet5", "vgg16"]) == " Did you mean 'lenet5'?"
    assert errors.did_you_mean("zzz", ["lenet5", "vgg16"]) == ""


def test_one_is_not_counted_as_many():
    words = [errors.counted(number, "epoch") for number in (0, 1, 2, 1234)]
    assert words == ["0 epochs", "1 epoch", "2 epochs", "1,234 epochs"]
