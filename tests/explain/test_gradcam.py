"""Grad-CAM where the evidence is known, against NumPy and finite differences, and where there is none."""

from collections import OrderedDict
from collections.abc import Callable

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from saccade.core.errors import ModelError, UnknownNameError
from saccade.explain.gradcam import enlarge, grad_cam, grad_cams
from saccade.models.architecture import ModelSpec, build_model

CLASSES = ("spot", "nothing")


@settings(deadline=None, max_examples=25)
@given(st.integers(0, 20), st.integers(0, 20), st.integers(0, 99))
def test_the_mass_of_the_map_lies_on_the_evidence(spotter_model: Callable, image_with_spot: Callable, top, left, seed):
    found = grad_cam(spotter_model().eval(), image_with_spot(top, left, seed), 0, CLASSES)
    near = np.zeros((24, 24), bool)
    near[max(0, top - 2) : top + 6, max(0, left - 2) : left + 6] = True
    assert found.message == ""
    assert found.map_HW[near].sum() / found.map_HW.sum() > 0.95
    assert found.map_HW.max() == pytest.approx(1, abs=0.5)
    assert found.map_HW.min() >= 0


def test_the_map_of_a_trained_network_lies_on_the_object(spotter_model: Callable):
    draw = np.random.default_rng(3)

    def batch(num):
        image = draw.uniform(0, 0.4, (num, 1, 24, 24)).astype(np.float32)
        label, place = draw.integers(0, 2, num), draw.integers(0, 17, (num, 2))
        for i in range(num):
            shape = np.eye(7, dtype=bool) | np.eye(7, dtype=bool)[::-1] if label[i] else np.zeros((7, 7), bool)
            if not label[i]:
                shape[3], shape[:, 3] = True, True
            image[i, 0, place[i, 0] : place[i, 0] + 7, place[i, 1] : place[i, 1] + 7][shape] = 1.0
        return torch.from_numpy(image), torch.from_numpy(label), place

    torch.manual_seed(0)
    model = spotter_model()
    model.stem = nn.Sequential(nn.Conv2d(1, 8, 5, padding=2), nn.ReLU(), nn.Conv2d(8, 16, 5, padding=2), nn.ReLU())
    model.stages = nn.Sequential(OrderedDict(stage1=nn.Sequential(nn.MaxPool2d(2), nn.Conv2d(16, 16, 3, padding=1))))
    model.neck = nn.Sequential(nn.ReLU(), nn.AdaptiveMaxPool2d(1), nn.Flatten())
    model.head = nn.Linear(16, 2)
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
    for _ in range(80):
        image, label, _ = batch(32)
        loss = nn.functional.cross_entropy(model(image), label)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    image, label, place = batch(40)
    model.eval()
    assert (model(image).argmax(1) == label).float().mean() >= 0.9
    shares = []
    for i in range(40):
        map_HW = grad_cam(model, image[i : i + 1], int(label[i]), CLASSES).map_HW
        top, left = np.maximum(place[i] - 2, 0)
        shares.append(map_HW[top : place[i, 0] + 9, left : place[i, 1] + 9].sum() / max(map_HW.sum(), 1e-9))
    assert np.mean(shares) > 0.7  # the object with its margin covers a fifth of the image


def test_the_map_equals_the_closed_form_of_a_linear_head(spotter_model: Callable, image_with_spot: Callable):
    model = spotter_model().eval()
    torch.manual_seed(1)
    nn.init.normal_(model.stages.stage2.weight)
    nn.init.normal_(model.head.weight)
    image = image_with_spot(5, 9)
    pixel = np.pad(image[0, 0].numpy().astype(np.float64), 1)
    kernel = model.stem[0].weight.detach().numpy().astype(np.float64)[:, 0]
    bias = model.stem[0].bias.detach().numpy()
    stem = np.stack(
        [
            [[(pixel[r : r + 3, c : c + 3] * kernel[k]).sum() + bias[k] for c in range(24)] for r in range(24)]
            for k in range(2)
        ]
    )
    pooled = np.maximum(stem, 0).reshape(2, 12, 2, 12, 2).max(axis=(2, 4))
    mixed = np.einsum("oi,ihw->ohw", model.stages.stage2.weight.detach().numpy()[:, :, 0, 0], pooled)
    gradient = model.head.weight.detach().numpy()[1][:, None, None] / 144 * (mixed > 0)
    expected = np.maximum(np.einsum("c,chw->hw", gradient.mean(axis=(1, 2)), mixed), 0)
    np.testing.assert_allclose(grad_cam(model, image, 1, CLASSES).evidence_hw, expected, rtol=1e-4, atol=1e-7)


def test_the_map_of_a_deep_head_equals_finite_differences():
    torch.manual_seed(2)
    model = build_model("lenet5", ModelSpec(num_classes=10, input_CHW=(1, 28, 28))).double().eval()
    image = torch.randn(1, 1, 28, 28, dtype=torch.float64)
    with torch.no_grad():
        last = model.stages(model.stem(image))
        step = 1e-5
        probes = torch.eye(last.numel(), dtype=torch.float64).reshape(-1, *last.shape[1:]) * step
        difference = (model.head(model.neck(last + probes)) - model.head(model.neck(last - probes)))[:, 7]
    gradient = (difference / (2 * step)).reshape(last.shape[1:]).numpy()
    expected = np.maximum(np.einsum("c,chw->hw", gradient.mean(axis=(1, 2)), last[0].numpy()), 0)
    names = [str(i) for i in range(10)]
    found = grad_cam(model, image, 7, names)
    assert found.layer == "stage1"
    np.testing.assert_allclose(found.evidence_hw, expected, atol=1e-7)


def test_maps_of_a_batch_are_those_of_its_images(spotter_model: Callable, image_with_spot: Callable):
    model = spotter_model().eval()
    images = torch.cat([image_with_spot(place, 5, place) for place in (1, 9, 16)])
    together = grad_cams(model, images, [0, 1, 0], CLASSES)
    for image, index, found in zip(images, [0, 1, 0], together):
        alone = grad_cam(model, image[None], index, CLASSES)
        np.testing.assert_allclose(found.evidence_hw, alone.evidence_hw, atol=1e-7)
        assert found.message == alone.message


def test_no_evidence_is_said_and_never_painted(spotter_model: Callable, image_with_spot: Callable):
    found = grad_cam(spotter_model().eval(), image_with_spot(4, 4), 1, CLASSES)
    assert found.message == "No positive evidence for 'nothing' in layer 'stage2'."
    assert not found.map_HW.any()


def test_a_damaged_network_gives_words_not_a_map(spotter_model: Callable, image_with_spot: Callable):
    model = spotter_model().eval()
    with torch.no_grad():
        model.head.weight[0, 0] = float("nan")
    found = grad_cam(model, image_with_spot(4, 4), 0, CLASSES)
    assert found.message == (
        "No map: the gradients in layer 'stage2' are not finite numbers. The weights may be damaged."
    )
    assert not found.map_HW.any()


def test_a_layer_can_be_chosen_and_frozen_networks_work_too(spotter_model: Callable, image_with_spot: Callable):
    model = spotter_model().eval().requires_grad_(False)
    found = grad_cam(model, image_with_spot(8, 8), 0, CLASSES, layer="stem")
    assert found.evidence_hw.shape == (24, 24)
    assert not any(parameter.grad is not None for parameter in model.parameters())
    with pytest.raises(UnknownNameError) as error:
        grad_cam(model, image_with_spot(8, 8), 0, CLASSES, layer="stage3")
    assert str(error.value) == (
        "The network has no layer 'stage3'. Did you mean 'stage2'? Its maps are stem, stage1, stage2."
    )
    with pytest.raises(ModelError) as error:
        grad_cam(model, image_with_spot(8, 8), 0, CLASSES, layer="neck")
    assert str(error.value) == (
        "Layer 'neck' puts out (2,) values without rows and columns.\n"
        "Choose a layer before the network's neck, such as 'stage1'."
    )


def test_a_network_without_named_parts_is_refused_in_words():
    with pytest.raises(ModelError) as error:
        grad_cam(nn.Sequential(nn.Conv2d(1, 2, 3)), torch.zeros(1, 1, 8, 8), 0, CLASSES)
    assert str(error.value) == (
        "Sequential does not name its parts, so its maps cannot be found.\n"
        "Make it an ImageClassifier with stem, stages, neck and head (docs/explaining.md)."
    )


def test_enlarging_keeps_range_and_centres():
    large = enlarge(np.array([[0.0, 1.0]]), (4, 8))
    np.testing.assert_allclose(large[0], [0, 0, 0.125, 0.375, 0.625, 0.875, 1, 1])
