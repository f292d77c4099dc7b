"""Parts of the images by columns: what is compared, and what is said of the others."""

import numpy as np

from saccade.classify.image_traits import Traits
from saccade.evaluate.slices import slice_sentences


def test_columns_that_are_not_compared_are_told():
    """What was asked for by name is not left out in silence."""
    columns = {
        "lens": ("x",) * 30,
        "number": ("a", "b", "c") * 9 + ("d",) * 3,
        "scanner": ("old",) * 20 + ("new",) * 10,
    }
    columns |= {"day": ("mon",) * 29 + ("tue",), "few": tuple("abcdef" * 5)}
    traits = Traits(picture=None, columns=columns)
    slices = traits.slices(np.arange(30) % 2 > 0)
    assert traits.told_uncompared(slices) == [
        "The column 'lens' is not compared: it is the same for all judged images.",
        "The column 'number' is not compared: no part of it has 10 judged images or more.",
        "The column 'day': 1 image is in no part that is compared; these have 10 or more.",
        "The column 'few' is not compared: no part of it has 10 judged images or more.",
    ]
    (part,) = [part for part in slices if part.trait == "column day"]
    assert slice_sentences([part]) == ["No part is shown to be worse than the other images (1 was looked at)."]
