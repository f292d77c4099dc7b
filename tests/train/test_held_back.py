"""What a frozen transfer knows of its validation images already is what a pass through the network would say."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from saccade.core.runtime import RuntimeConfig, start
from saccade.data.augmentation_policy import AugmentConfig
from saccade.models.architecture import ImageClassifier, ModelSpec, build_model
from saccade.models.build import resolve_model
from saccade.models.new_head import signed_exp
from saccade.models.surgery import last_is_head, last_layer
from saccade.train.config import RunConfig
from saccade.train.held_back import KeptFeatures, Passes
from saccade.train.prepare import prepare_images


@pytest.fixture(scope="module")
def passes() -> Passes:
    """Of an untrained network of one dense layer behind its maps, over the digits."""
    runtime = start(RuntimeConfig(device="cpu"))
    config = RunConfig(source="digits", model="convnet-a", augment=AugmentConfig())
    images = prepare_images(config, runtime, lambda text: None)
    torch.manual_seed(1)
    model = build_model("convnet-a", images.spec).eval()
    return Passes(model=model, images=images, config=config, runtime=runtime, check=lambda: None)


def kept(passes: Passes) -> KeptFeatures:
    """What a pass gives, for features that were kept before."""

    def of(index_N: np.ndarray) -> torch.Tensor:
        feature_ND = passes.outputs_and_features(index_N)[1]
        assert feature_ND is not None
        return torch.from_numpy(feature_ND)

    return KeptFeatures(of=of, last=last_layer(passes.model), as_head_sees=torch.Tensor.float, is_exact=True)


def test_kept_features_give_the_logits_labels_and_features_of_a_pass(passes: Passes):
    index_N = passes.images.split.validation_N[:40]
    passed, feature_ND = passes.outputs_and_features(index_N)
    known, known_ND = replace(passes, kept=kept(passes)).outputs_and_features(index_N)
    np.testing.assert_allclose(known.logits_NK, passed.logits_NK, atol=1e-5)
    np.testing.assert_array_equal(known.label_N, passed.label_N)
    np.testing.assert_array_equal(known.index_N, index_N)
    np.testing.assert_array_equal(known_ND, feature_ND)


def test_kept_features_cost_no_pass(passes: Passes):
    class Unused(ImageClassifier):
        def forward(self, image_BCHW: torch.Tensor) -> torch.Tensor:
            raise AssertionError("a pass through the network")

    known = replace(passes, kept=kept(passes), model=Unused())
    assert known.outputs_and_features(passes.images.split.validation_N[:3])[0].logits_NK.shape == (3, 10)


def test_what_is_kept_exactly_gives_the_logits_of_a_fold_and_what_is_rounded_does_not(passes: Passes):
    index_N = passes.images.split.validation_N[:40]
    passed = passes.outputs(index_N)
    exact = replace(passes, kept=replace(kept(passes), as_head_sees=None)).known_outputs(index_N)
    np.testing.assert_allclose(exact.logits_NK, passed.logits_NK, atol=1e-5)
    zeros = KeptFeatures(
        of=lambda index_N: torch.zeros(len(index_N), last_layer(passes.model).in_features),
        last=last_layer(passes.model),
        as_head_sees=torch.Tensor.float,
        is_exact=False,
    )
    np.testing.assert_array_equal(replace(passes, kept=zeros).known_outputs(index_N).logits_NK, passed.logits_NK)


def test_the_logarithm_that_a_head_takes_is_undone_for_what_tells_strangers(passes: Passes):
    index_N = passes.images.split.validation_N[:40]
    torch.manual_seed(2)
    model = resolve_model("convnet-a+loglinear", passes.images.spec).eval()
    plain = replace(passes, model=model)
    passed, feature_ND = plain.outputs_and_features(index_N)
    assert feature_ND is not None
    log_ND = torch.from_numpy(np.sign(feature_ND) * np.log1p(np.abs(feature_ND.astype(np.float64)))).float()
    known = KeptFeatures(of=lambda index_N: log_ND, last=last_layer(model), as_head_sees=signed_exp, is_exact=True)
    found, found_ND = replace(plain, kept=known).outputs_and_features(index_N)
    np.testing.assert_allclose(found.logits_NK, passed.logits_NK, atol=1e-5)
    np.testing.assert_allclose(found_ND, feature_ND, rtol=1e-5)


def test_features_before_a_head_of_several_layers_come_from_a_pass(passes: Passes):
    wrong = KeptFeatures(
        of=lambda index_N: torch.zeros(len(index_N), last_layer(passes.model).in_features),  # of another place
        last=last_layer(passes.model),
        as_head_sees=None,
        is_exact=True,
    )
    index_N = passes.images.split.validation_N[:3]
    passed, feature_ND = passes.outputs_and_features(index_N)
    found, found_ND = replace(passes, kept=wrong).outputs_and_features(index_N)
    np.testing.assert_array_equal(found.logits_NK, passed.logits_NK)
    np.testing.assert_array_equal(found_ND, feature_ND)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("convnet-a", True),
        ("efficientnet-lite0", True),  # dropout stands before its last layer
        ("squeezenet1.1+linear", True),
        ("convnet-a+loglinear", False),
        ("convnet-a+hidden64", False),
        ("alexnet", False),
        ("mobilenetv3-small", False),
    ],
)
def test_which_heads_are_their_last_layer(name: str, expected: bool):
    with torch.device("meta"):
        model = resolve_model(name, ModelSpec(num_classes=10, input_CHW=(3, 224, 224)))
    assert last_is_head(model) is expected
