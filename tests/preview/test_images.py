"""The preview shows what training would: the same pixels, and words that are true of them."""

import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from saccade.core.errors import UnknownNameError
from saccade.core.types import Preprocessing
from saccade.data.augmentation import AUGMENTATIONS
from saccade.data.augmentation_policy import POLICIES, AugmentConfig, get_policy
from saccade.data.augmenter import Augmenter
from saccade.data.images.preprocess import prepare_image
from saccade.data.loading.loader import LoaderConfig, build_loader
from saccade.data.source import open_source
from saccade.preview.images import choose_images, preview_images
from saccade.preview.picture import MARGIN_PX, draw_previews

GREY = Preprocessing(channels="grey", input_height_px=28, input_width_px=28, mean=(0.3,), std=(0.3,))


def everything() -> AugmentConfig:
    return AugmentConfig.parse(
        {
            "rotation": {"max_degrees": 20},
            "shift": {"max_px": 3},
            "elastic": {"max_px": 2, "spacing_px": 8},
            "brightness": {"max_change": 0.3},
            "cutout": {"size_px": 6},
            "mirror": {"probability": 0.5},
        }
    )


@pytest.mark.parametrize("config", [everything(), get_policy("shift-flip").config], ids=["source", "lossless"])
def test_the_draws_are_those_of_training(config: AugmentConfig):
    source = open_source("digits")
    indices = choose_images(source, 5, seed=3)[0]
    previews = preview_images(source, indices, Augmenter(config, GREY, 3), num_draws=3)
    with build_loader(source, np.array(indices), GREY, config, LoaderConfig(batch_size=5), 3) as loader:
        for epoch in range(3):
            for batch in loader.epoch(epoch):
                for image_CHW, index in zip(batch.image_BCHW.numpy(), batch.index_B):
                    shown = previews[indices.index(index)].draws[epoch].image_HWC
                    assert (shown == image_CHW.transpose(1, 2, 0)).all()
    for preview, index in zip(previews, indices):
        assert (preview.original_HWC == source[index].image_HWC).all()
        assert (preview.evaluated_HWC == prepare_image(source[index].image_HWC, GREY)).all()
        assert (preview.key, preview.label) == (str(index), source.classes[source.record(index).label])


def test_images_of_many_classes_are_chosen_and_the_seed_decides():
    source = open_source("digits")
    chosen = choose_images(source, 10, seed=1)[0]
    assert sorted(source.record(index).label for index in chosen) == list(range(10))
    assert chosen == choose_images(source, 10, seed=1)[0] != choose_images(source, 10, seed=2)[0]


def test_the_words_say_what_was_drawn():
    source = open_source("digits")
    config = AugmentConfig.parse(
        {"shift": {"max_px": 3}, "brightness": {"max_change": 0.3}, "mirror": {"probability": 0.5}}
    )
    augmenter = Augmenter(config, GREY, 0)
    indices = choose_images(source, 4, seed=0)[0]
    plan = augmenter.plan(0, np.array(indices))
    for row, preview in enumerate(preview_images(source, indices, augmenter, num_draws=1)):
        lines = list(preview.draws[0].lines)
        assert lines[0] == f"brightness x {plan.drawn['brightness']['factor'][row]:.2f}"
        assert ("mirror yes" in lines) == plan.drawn["mirror"]["mirrored"][row]
        right, down = (plan.drawn["shift"][key][row] for key in ("right_px", "down_px"))
        words = [f"{name} {value:.0f} px" for name, value in (("right", right), ("down", down)) if value]
        assert lines[-1] == f"shift {', '.join(words)}" or not words


@pytest.mark.parametrize("name", [*POLICIES, *AUGMENTATIONS.names()])
def test_every_policy_and_augmentation_can_be_drawn_and_named(name: str):
    source = open_source("digits")
    if name in POLICIES:
        config = get_policy(name).config
    else:
        fields = AUGMENTATIONS.get(name).strengths.model_fields
        low = {"min_area": 0.3, "enabled": True, "size_px": 5, "max_px": 2, "max_fraction": 0.1}
        low |= {"min_bits": 2, "min_quality": 10, "min_threshold_levels": 40, "num_operations": 2, "severity": 3}
        low |= {"max_deviation_levels": 20}
        first = next(iter(fields))
        config = AugmentConfig.parse({name: {first: low.get(first, 0.9)}})
    if "pca_colour" in [entry.name for entry in config.active()]:
        components = {"eigenvalues": [0.1, 0.02, 0.01], "eigenvectors": np.eye(3).tolist(), "deviation": 0.5}
        config = AugmentConfig.parse(config.model_dump(mode="json") | {"pca_colour": components})
    previews = preview_images(source, choose_images(source, 4, 0)[0], Augmenter(config, GREY, 0), num_draws=4)
    lines = [line for preview in previews for draw in preview.draws for line in draw.lines]
    assert {line.split(" ")[0] for line in lines} == {entry.name for entry in config.active()}
    assert all(re.fullmatch(r"[a-z_]+ [\w%°.,\- ]+", line) for line in lines), lines
    picture = draw_previews(previews, "digits", ["facts"])
    assert picture.width == 2 * MARGIN_PX + 5 * 112 + 4 * 12


def test_the_picture_holds_the_images_enlarged_in_blocks(tmp_path: Path):
    source = open_source("digits")
    previews = preview_images(source, choose_images(source, 2, 0)[0], Augmenter(everything(), GREY, 0), num_draws=8)
    picture = draw_previews(previews, "a\x1btitle", ["facts " * 80])
    picture.save(tmp_path / "preview.png")
    pixels = np.asarray(Image.open(tmp_path / "preview.png").convert("RGB")).astype(int)
    drawn = previews[0].draws[1].image_HWC[:, :, 0].repeat(4, axis=0).repeat(4, axis=1)
    left = MARGIN_PX + 2 * (112 + 12)
    tops = [top for top in range(len(pixels) - 112) if (pixels[top : top + 112, left : left + 112, 0] == drawn).all()]
    assert len(tops) == 1


def test_a_policy_that_does_not_exist_is_refused():
    with pytest.raises(UnknownNameError, match="^Unknown augmentation policy 'fotos'. Did you mean 'photo'?"):
        get_policy("fotos")
