"""Occlusion, filters, feature maps, exciting images and colours, each where the answer is known."""

from collections.abc import Callable

import numpy as np
import pytest
import torch
from skimage.color import rgb2lab

from saccade.classify.classifier import Member
from saccade.core.errors import ModelError, UnknownNameError, UsageError
from saccade.core.runtime import RuntimeConfig, start
from saccade.core.types import Preprocessing
from saccade.explain.colour import even_colours, even_palette, overlay
from saccade.explain.maps import exciting_images, feature_maps, feature_tiles
from saccade.explain.occlusion import occlusion
from saccade.explain.subject import look_at, what_it_sees
from saccade.explain.weights_view import filter_grid, first_filters, tile_images
from saccade.models.architecture import ModelSpec, build_model

CLASSES = ("spot", "nothing")
PLAIN = Preprocessing(channels="grey", input_height_px=24, input_width_px=24, mean=(0.0,), std=(1.0,))


@pytest.fixture
def spotter(spotter_model: Callable):
    return Member(
        model=spotter_model().eval(),
        classes=CLASSES,
        preprocessing=PLAIN,
        temperature=1.0,
        architecture="spotter",
        name="spotter",
        runtime=start(RuntimeConfig(device="cpu")),
    )


def test_covering_the_evidence_costs_most(spotter, image_with_spot: Callable):
    found = occlusion(spotter.model, image_with_spot(12, 3), 0, patch_px=4)
    top, left = np.unravel_index(found.drop_HW.argmax(), found.drop_HW.shape)
    assert 12 <= top < 16
    assert 3 <= left < 7
    far = found.drop_HW[:8, 10:]
    assert np.abs(far).max() < 0.2 * found.drop_HW.max()


def test_occlusion_is_the_mean_drop_over_the_patches_that_cover_a_pixel(spotter, image_with_spot: Callable):
    image = image_with_spot(0, 0)[:, :, :6, :7].clone()
    found = occlusion(spotter.model, image, 0, patch_px=4, temperature=2.0)
    total, times = np.zeros((6, 7)), np.zeros((6, 7))

    def probability(picture):
        with torch.no_grad():
            return torch.softmax(spotter.model(picture).double() / 2, dim=1)[0, 0].item()

    for top in (0, 2):
        for left in (0, 2, 3):
            covered = image.clone()
            covered[:, :, top : top + 4, left : left + 4] = 0
            total[top : top + 4, left : left + 4] += probability(image) - probability(covered)
            times[top : top + 4, left : left + 4] += 1
    np.testing.assert_allclose(found.drop_HW, total / times, atol=1e-6)
    assert found.base_probability == pytest.approx(probability(image))


def test_occlusion_says_when_nothing_matters(spotter, image_with_spot: Callable):
    with torch.no_grad():
        spotter.model.head.weight.zero_()
    found = occlusion(spotter.model, image_with_spot(3, 3), 0)
    assert found.message == "Covering no part of the image changes the answer."


def test_grey_filters_share_one_scale_with_white_as_zero(spotter):
    grid = filter_grid(spotter.model)
    assert (grid.num_filters, grid.num_shown, grid.layer) == (2, 2, "stem.0")
    assert grid.scale == 1.0
    assert grid.legend == "white is 0, orange +1, blue -1"
    assert grid.tile_NHWC.shape == (2, 3, 3, 3)
    centre_of_second = grid.tile_NHWC[1, 1, 1]
    assert (centre_of_second == 255).all()
    strongest, weak = grid.tile_NHWC[1, 0, 0].astype(int), grid.tile_NHWC[0, 0, 0].astype(int)
    assert strongest[0] > strongest[2]
    assert 255 * 3 - weak.sum() < 0.3 * (255 * 3 - strongest.sum())


def test_colour_filters_are_shown_around_mid_grey():
    model = build_model("lenet5", ModelSpec(num_classes=2, input_CHW=(3, 32, 32)))
    weight = first_filters(model)
    grid = filter_grid(model)
    first = grid.tile_NHWC[0]
    np.testing.assert_allclose(
        first, 127.5 + 127.5 * weight[0].transpose(1, 2, 0) / np.abs(weight).max(), atol=0.5 + 1e-9
    )
    with pytest.raises(ModelError, match="^Linear has no convolution, so there are no filters to show.$"):
        first_filters(torch.nn.Linear(2, 2))


def test_feature_maps_come_strongest_first_and_dead_ones_are_counted(spotter, image_with_spot: Callable):
    with torch.no_grad():
        spotter.model.stages.stage2.weight.copy_(torch.tensor([[0.0, 0.0], [1.0, 0.0]])[:, :, None, None])
    features = feature_maps(spotter, image_with_spot(6, 6))
    assert features.layer == "stage2"
    assert features.order_C.tolist() == [1, 0]
    assert features.num_dead == 1
    assert features.words() == "2 maps of 12x12 in 'stage2'; 1 of them is zero everywhere for this image."
    tiles, legend = feature_tiles(features)
    assert tiles.shape == (2, 12, 12, 3)
    assert legend.startswith("dark is 0, light 0.")
    stem = feature_maps(spotter, image_with_spot(6, 6), "stem")
    assert stem.map_CHW.shape == (2, 24, 24)


def test_the_images_that_excite_a_channel_are_found_with_their_place(spotter):
    draw = np.random.default_rng(0)
    image = draw.integers(0, 60, (20, 1, 24, 24), dtype=np.uint8)
    for index, (brightness, top, left) in {4: (255, 2, 16), 11: (230, 14, 6), 17: (200, 8, 8)}.items():
        image[index, 0, top : top + 4, left : left + 4] = brightness
    batches = [(np.arange(100 + s, 110 + s), torch.from_numpy(image[s : s + 10])) for s in (0, 10)]
    found = exciting_images(spotter, batches, "stage2", 0, num=3)
    assert [e.index for e in found] == [104, 111, 117]
    assert found[0].position in {(r, c) for r in (1, 2) for c in (8, 9)}
    with pytest.raises(UsageError, match=r"^Layer 'stage2' has the channels 0 to 1, got 2\.$"):
        exciting_images(spotter, batches, "stage2", 2)


def test_what_the_network_sees_is_said(spotter):
    subject = look_at(spotter, np.full((30, 40, 3), 128, np.uint8), "photo")
    assert what_it_sees(subject, PLAIN) == "40x30 resized to 24x24; grey"
    photo = Preprocessing(resize_px=40, input_height_px=32, input_width_px=32)
    assert what_it_sees(subject, photo) == "40x30, short side to 40 px, centre 32x32 cut out; colour"
    assert subject.probability_K.sum() == pytest.approx(1)
    assert spotter.class_index("nothing") == 1
    with pytest.raises(UnknownNameError) as error:
        spotter.class_index("spott")
    assert str(error.value) == (
        "The run does not know a class 'spott'. Did you mean 'spot'? It knows 2: spot, nothing."
    )


def test_even_colours_rise_in_lightness_by_equal_steps():
    palette = even_palette()
    lab = rgb2lab(palette[None] / 255)[0]
    steps = np.linalg.norm(np.diff(lab[::8], axis=0), axis=1)
    assert (np.diff(lab[:, 0]) > -0.3).all()
    assert lab[-1, 0] - lab[0, 0] > 55
    assert steps.max() / steps.min() < 2.6  # CIELAB is another space than the one it was built in; jet gives above 6


def test_an_overlay_leaves_the_image_alone_where_there_is_no_evidence():
    image = np.full((2, 2, 3), (90, 120, 150), np.uint8)
    value = np.array([[0.0, 1.0], [0.5, 0.0]])
    shown = overlay(image, value)
    assert (shown[0, 0] == 120).all()
    assert np.abs(shown[0, 1].astype(int) - even_colours(np.ones((1, 1)))[0, 0]).max() <= 0.25 * 255
    assert tuple(shown[1, 0]) != (120, 120, 120)


def test_tiles_are_laid_row_by_row_enlarged_and_framed():
    grid = tile_images(np.stack([np.full((2, 3, 1), n, np.uint8) for n in range(3)]), side_px=6, columns=2)
    assert grid.shape == (2 * 6 + 6, 2 * 8 + 6, 1)
    assert grid[1, :, 0].tolist() == [208, *[0] * 6, 208, *[255] * 6, 208, *[1] * 6, 208]
    assert (grid[13:17, 1:7] == 2).all()
    assert (grid[12:, 8:] == 255).all()
