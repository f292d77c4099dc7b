"""Vision transformers: attention and positions against other computations, tokens as maps, and files without a head."""

import json
from dataclasses import replace
from functools import partial
from math import erf, sqrt
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file
from tests.models.zoo.public_names import Shapes, check_every_tensor_has_its_place, with_bias

from saccade.core.errors import ModelError, UnknownNameError, WeightsError
from saccade.core.runtime import RuntimeConfig, start
from saccade.core.types import Preprocessing
from saccade.data.images.normalize import normalize
from saccade.design.memory import StepPlan, estimate_memory
from saccade.design.table import layer_table
from saccade.explain.endpoints import read_maps
from saccade.explain.gradcam import grad_cam
from saccade.models.architecture import MODELS, ModelSpec, build_model
from saccade.models.build import without_weights
from saccade.models.surgery import depths
from saccade.models.zoo.vit import CONFIGS, AttentionPool, Block, PatchTokens, VisionTransformer, ViTConfig, rename_key
from saccade.transfer.frozen import FrozenPart, Tap
from saccade.weights.card import public_preprocessing
from saccade.weights.convert import ConvertRequest, convert
from saccade.weights.public import find_weights, load_backbone, network_of_weights
from saccade.weights.public_table import multiply_adds, weights_of

CLASS_TOKEN = ViTConfig(name="t", channels=12, heads=3, patch_px=4, grid=5, has_class_token=True, scales=True)
POOLED = replace(CLASS_TOKEN, has_class_token=False, scales=False)
SMALL = ModelSpec(num_classes=3, input_CHW=(3, 16, 20))
DINOV2 = ("vit-s14-dinov2", "vit-b14-dinov2")


def drawn(module: torch.nn.Module, seed: int = 0) -> torch.nn.Module:
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator) / 2)
    return module.eval()


def normal(token: np.ndarray, weight: np.ndarray, bias: np.ndarray) -> np.ndarray:
    deviation = np.sqrt(token.var(-1, keepdims=True) + 1e-6)
    return (token - token.mean(-1, keepdims=True)) / deviation * weight + bias


def looked_up(query: np.ndarray, key: np.ndarray, value: np.ndarray, heads: int) -> np.ndarray:
    """Equation 1 of arXiv:1706.03762 for each head by itself; (tokens, channels) each."""
    width = query.shape[1] // heads
    found = []
    for head in range(heads):
        own = slice(head * width, (head + 1) * width)
        score = query[:, own] @ key[:, own].T / sqrt(width)
        score = np.exp(score - score.max(1, keepdims=True))
        found.append(score / score.sum(1, keepdims=True) @ value[:, own])
    return np.concatenate(found, axis=1)


def gelu(value: np.ndarray) -> np.ndarray:
    return value * (1 + np.vectorize(erf)(value / sqrt(2))) / 2


def test_a_block_is_attention_and_two_dense_layers_each_scaled_beside_a_shortcut():
    block = drawn(Block(CLASS_TOKEN).double())
    tensors = {name: tensor.detach().numpy() for name, tensor in block.named_parameters()}
    token_BND = torch.randn(2, 7, 12, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    for token, found in zip(token_BND.numpy(), block(token_BND).detach().numpy(), strict=True):
        part = {name.removeprefix("attention."): tensor for name, tensor in tensors.items()}
        joined = normal(token, part["norm.weight"], part["norm.bias"]) @ part["attention.query_key_value.weight"].T
        query, key, value = np.split(joined + part["attention.query_key_value.bias"], 3, axis=1)
        mixed = looked_up(query, key, value, heads=3) @ part["attention.project.weight"].T
        token = token + (mixed + part["attention.project.bias"]) * part["scale.factor"]
        part = {name.removeprefix("dense."): tensor for name, tensor in tensors.items()}
        wide = normal(token, part["norm.weight"], part["norm.bias"]) @ part["expand.weight"].T + part["expand.bias"]
        narrow = gelu(wide) @ part["project.weight"].T + part["project.bias"]
        np.testing.assert_allclose(found, token + narrow * part["scale.factor"], rtol=1e-9, atol=1e-10)


def test_attention_pooling_is_one_query_on_all_tokens():
    pool = drawn(AttentionPool(12, heads=3).double())
    tensor = {name: value.detach().numpy() for name, value in pool.named_parameters()}
    token_BND = torch.randn(2, 7, 12, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    for token, found in zip(token_BND.numpy(), pool(token_BND).detach().numpy(), strict=True):
        query = tensor["probe"][0] @ tensor["query.weight"].T + tensor["query.bias"]
        key, value = np.split(token @ tensor["key_value.weight"].T + tensor["key_value.bias"], 2, axis=1)
        one = looked_up(query, key, value, heads=3) @ tensor["project.weight"].T + tensor["project.bias"]
        wide = normal(one, tensor["dense.norm.weight"], tensor["dense.norm.bias"]) @ tensor["dense.expand.weight"].T
        narrow = gelu(wide + tensor["dense.expand.bias"]) @ tensor["dense.project.weight"].T
        np.testing.assert_allclose(found, (one + narrow + tensor["dense.project.bias"])[0], rtol=1e-9, atol=1e-10)


def test_tokens_are_patches_row_by_row_with_their_positions():
    stem = drawn(PatchTokens(CLASS_TOKEN, 3))
    image_BCHW = torch.randn(1, 3, 20, 20, generator=torch.Generator().manual_seed(1))
    token_BND = stem(image_BCHW)
    assert token_BND.shape == (1, 26, 12)
    torch.testing.assert_close(token_BND[0, 0], stem.class_token[0, 0] + stem.position[0, 0])
    patch = image_BCHW[0, :, 8:12, 4:8]  # the third row, the second column
    expected_D = torch.einsum("dchw,chw->d", stem.patches.weight, patch) + stem.patches.bias
    torch.testing.assert_close(token_BND[0, 1 + 2 * 5 + 1], expected_D + stem.position[0, 1 + 2 * 5 + 1])


@pytest.mark.parametrize("grid", [(3, 4), (8, 7)])
def test_positions_of_another_grid_are_those_that_pillow_resamples(grid: tuple[int, int]):
    stem = drawn(PatchTokens(CLASS_TOKEN, 3))
    found_ND = stem._positions(*grid).detach()[0].numpy()
    own_ND = stem.position.detach()[0].numpy()
    np.testing.assert_array_equal(found_ND[0], own_ND[0])
    for channel in range(12):
        picture = Image.fromarray(own_ND[1:, channel].reshape(5, 5))
        resized = np.asarray(picture.resize((grid[1], grid[0]), Image.Resampling.BICUBIC))
        np.testing.assert_allclose(found_ND[1:, channel].reshape(grid), resized, atol=1e-5)


def public_tensors(config: ViTConfig) -> Shapes:
    """Names and shapes of timm's files, which have no head."""
    width = config.channels
    theirs: Shapes = {"pos_embed": (1, config.grid**2 + config.has_class_token, width)}
    theirs |= with_bias("patch_embed.proj", width, 3, config.patch_px, config.patch_px) | with_bias("norm", width)
    for number in range(12):
        place = f"blocks.{number}"
        theirs |= with_bias(f"{place}.norm1", width) | with_bias(f"{place}.norm2", width)
        theirs |= with_bias(f"{place}.attn.qkv", 3 * width, width) | with_bias(f"{place}.attn.proj", width, width)
        theirs |= with_bias(f"{place}.mlp.fc1", 4 * width, width) | with_bias(f"{place}.mlp.fc2", width, 4 * width)
        if config.has_class_token:
            theirs |= {f"{place}.ls1.gamma": (width,), f"{place}.ls2.gamma": (width,)}
    if config.has_class_token:
        return theirs | {"cls_token": (1, 1, width)}
    theirs |= {"attn_pool.latent": (1, 1, width)} | with_bias("attn_pool.norm", width)
    theirs |= with_bias("attn_pool.q", width, width) | with_bias("attn_pool.kv", 2 * width, width)
    theirs |= with_bias("attn_pool.proj", width, width)
    return theirs | with_bias("attn_pool.mlp.fc1", 4 * width, width) | with_bias("attn_pool.mlp.fc2", width, 4 * width)


@pytest.mark.parametrize("config", CONFIGS, ids=lambda config: config.name)
def test_every_tensor_of_the_public_file_has_its_place(config: ViTConfig):
    theirs = public_tensors(config)
    check_every_tensor_has_its_place(config.name, theirs | with_bias("head", 1000, config.channels))
    without_head = sum(int(np.prod(shape)) for shape in theirs.values())
    assert without_head == MODELS.get(config.name).references[0].parameters - 1000 * config.channels - 1000


@pytest.fixture
def tiny(monkeypatch: pytest.MonkeyPatch) -> str:
    """A small vision transformer, registered as a network whose public files have no head."""
    architecture = replace(
        MODELS.get("vit-s14-dinov2"),
        name="tiny-vit",
        build=partial(VisionTransformer, CLASS_TOKEN),
        default_spec=SMALL,
        references=(),
        also_called=(),
    )
    monkeypatch.setitem(MODELS._entries, "tiny-vit", architecture)
    monkeypatch.setitem(MODELS._origins, "tiny-vit", __name__)
    return "tiny-vit"


def headless_file(folder: Path) -> Path:
    generator = torch.Generator().manual_seed(0)
    shapes = public_tensors(CLASS_TOKEN) | {"mask_token": (1, 12)}  # as DINOv2's own files have it
    save_file({name: torch.randn(s, generator=generator) for name, s in shapes.items()}, folder / "model.safetensors")
    card = {"input_size": [3, 20, 20], "crop_pct": 1.0, "mean": [0.5] * 3, "std": [0.5] * 3, "license": "apache-2.0"}
    (folder / "config.json").write_text(json.dumps({"pretrained_cfg": card | {"interpolation": "bicubic"}}))
    return folder / "model.safetensors"


def test_a_file_without_a_head_fills_all_but_the_head(tiny: str, tmp_path: Path):
    path = headless_file(tmp_path)
    assert network_of_weights(str(tmp_path)) == tiny
    weights = find_weights(str(tmp_path), tiny)
    assert (weights.num_classes, weights.classes, weights.licence, weights.notes) == (0, (), "apache-2.0", ())
    network, tensors = load_backbone(weights), load_file(path)
    own = network.state_dict()
    renamed = {rename_key(name): tensor for name, tensor in tensors.items() if name != "mask_token"}
    assert set(own) - set(renamed) == {"head.weight", "head.bias"}
    assert all(torch.equal(own[name], tensor) for name, tensor in renamed.items())


def test_a_file_that_lacks_more_than_the_head_is_refused(tiny: str, tmp_path: Path):
    path = headless_file(tmp_path)
    tensors = load_file(path)
    save_file({name: tensor for name, tensor in tensors.items() if name != "norm.bias"}, path)
    with pytest.raises(WeightsError) as error:
        find_weights(str(tmp_path), tiny)
    assert error.value.message == (
        f"{path} lacks 1 of the network's 174 tensors: 'neck.norm.bias'.\n"
        "All that it has fits, so it is incomplete; get it again from where it came."
    )


def test_no_checkpoint_is_made_of_what_answers_nothing(tiny: str, tmp_path: Path):
    torch.save(load_file(headless_file(tmp_path)), tmp_path / "w.pth")
    with pytest.raises(WeightsError) as error:
        convert(ConvertRequest(path=tmp_path / "w.pth", model=tiny, out=tmp_path / "out"))
    assert error.value.message == (
        f"{tmp_path / 'w.pth'} has no head, so a checkpoint of it would answer nothing.\n"
        "Write a file, --out out.safetensors, and give it to saccade transfer."
    )
    assert not (tmp_path / "out").exists()


def test_inputs_are_whole_patches():
    for size_px in ((224, 224), (518, 518), (14, 28)):
        with without_weights():
            build_model("vit-s14-dinov2", ModelSpec(num_classes=2, input_CHW=(3, *size_px)))
    with pytest.raises(ModelError) as error:
        build_model("vit-s14-dinov2", ModelSpec(num_classes=2, input_CHW=(3, 224, 256)))
    assert error.value.message == (
        "vit-s14-dinov2 cannot take an input of 224x256x3: layer 'stem.patches': "
        "256 px are not a whole number of patches of 14 px.\n"
        "Use multiples of 14, such as --input 224x252x3 for a table, --set input.size_px=224 to train."
    )


def test_images_that_grow_through_broken_patches_are_refused_not_cut():
    with pytest.raises(ModelError) as error:
        VisionTransformer(CLASS_TOKEN, SMALL)(torch.zeros(1, 3, 16, 18))
    assert error.value.message == (
        "A vision transformer takes whole patches of 4 px, got an image of 16x18.\n"
        "Leave input.start_fraction out, or choose sizes that are multiples."
    )


def test_the_table_counts_both_products_of_attention_and_what_every_token_sees():
    """By hand: 21 tokens of 12 channels; queries by keys, weights by values."""
    table = layer_table(VisionTransformer(CLASS_TOKEN, SMALL), SMALL.input_CHW)
    start = "stages.stage1."
    rows = [
        (each.name.removeprefix(start), each.kind, each.multiply_adds, each.receptive_field, each.jump, each.folded)
        for each in table.layers
        if each.name.startswith(start)
    ]
    assert rows == [
        ("attention.attention.query_key_value", "dense", 21 * 12 * 36, (4, 4), (4, 4), ()),
        ("attention.attention.attention", "attention", 2 * 21 * 21 * 12, (16, 20), None, ()),
        ("attention.attention.project", "dense", 21 * 12 * 12, (16, 20), None, ("layer scale",)),
        ("add", "add", 0, (16, 20), None, ("norm",)),
        ("dense.expand", "dense", 21 * 12 * 48, (16, 20), None, ("gelu",)),
        ("dense.project", "dense", 21 * 48 * 12, (16, 20), None, ("layer scale",)),
        ("add@2", "add", 0, (16, 20), None, ("norm",)),
    ]
    assert (table.totals.receptive_field, table.totals.jump) == ((16, 20), None)
    assert table.totals.parameters == sum(layer.parameters for layer in table.layers)


@pytest.mark.parametrize("config", [CLASS_TOKEN, POOLED], ids=["class token", "pooled"])
def test_saved_activations_are_what_autograd_saves(config: ViTConfig):
    network = VisionTransformer(config, ModelSpec(num_classes=3, input_CHW=(3, 64, 64)))
    storages: dict[int, int] = {}

    def pack(tensor: torch.Tensor) -> torch.Tensor:
        if not isinstance(tensor, torch.nn.Parameter):
            storages[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        logits = network(torch.zeros(4, 3, 64, 64))
    own = {parameter.untyped_storage().data_ptr() for parameter in network.parameters()}
    saved = sum(size for pointer, size in storages.items() if pointer not in own) + 4 * logits.numel()
    plan = StepPlan(batch_size=4, precision="float32", optimizer="sgd")
    assert estimate_memory(network, (3, 64, 64), plan).saved_activations == pytest.approx(saved, rel=0.1)


@pytest.mark.parametrize(
    ("config", "layer"), [(CLASS_TOKEN, "stage11"), (POOLED, "stage12")], ids=["class token", "pooled"]
)
def test_grad_cam_is_that_of_the_patches_behind_the_last_block_that_reads_them(config: ViTConfig, layer: str):
    network = drawn(VisionTransformer(config, SMALL))
    image_BCHW = torch.randn(1, 3, 16, 20, generator=torch.Generator().manual_seed(1))
    found = grad_cam(network, image_BCHW, 2, ("a", "b", "c"))
    assert (found.layer, found.message, found.map_HW.shape) == (layer, "", (16, 20))
    num = int(layer.removeprefix("stage"))
    token_BND = network.stages[:num](network.stem(image_BCHW)).detach().requires_grad_(True)
    logits_BK = network.head(network.neck(network.stages[num:](token_BND)))
    (gradient_BND,) = torch.autograd.grad(logits_BK[0, 2], token_BND)
    patches = range(token_BND.shape[1] - 20, token_BND.shape[1])
    weight_D = torch.stack([gradient_BND[0, patch] for patch in patches]).mean(0)
    evidence = [float((weight_D * token_BND[0, patch].detach()).sum()) for patch in patches]
    np.testing.assert_allclose(found.evidence_hw, np.maximum(evidence, 0).reshape(4, 5), rtol=1e-3, atol=1e-6)


def test_a_blocks_tokens_are_shown_as_maps_where_their_patches_lie():
    network = drawn(VisionTransformer(CLASS_TOKEN, SMALL))
    image_BCHW = torch.randn(2, 3, 16, 20, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        token_BND = network.stages[:3](network.stem(image_BCHW))
    map_BCHW = read_maps(network, image_BCHW, ["stage3"])["stage3"]
    assert map_BCHW.shape == (2, 12, 4, 5)
    assert torch.equal(map_BCHW[1, :, 2, 3], token_BND[1, 1 + 2 * 5 + 3])


def test_the_last_block_of_a_class_token_holds_no_evidence_and_that_is_said():
    network = drawn(VisionTransformer(CLASS_TOKEN, SMALL))
    found = grad_cam(network, torch.ones(1, 3, 16, 20), 0, ("a", "b", "c"), layer="stage12")
    assert found.message == "No positive evidence for 'a' in layer 'stage12'."


def test_frozen_features_are_the_class_token_and_depths_are_blocks():
    network = drawn(VisionTransformer(CLASS_TOKEN, SMALL))
    assert depths(network) == ("none", "stem", *(f"stage{number}" for number in range(1, 13)), "all")
    preprocessing = Preprocessing(input_height_px=16, input_width_px=20)
    taps = [Tap(depth="stage3", pooled=True), Tap(depth="stage3", pooled=False), Tap(depth="all", pooled=True)]
    runtime = start(RuntimeConfig.parse({"device": "cpu", "precision": "float32"}))
    part = FrozenPart(network, taps, preprocessing, runtime, torch.float32)
    image_BCHW = torch.randint(0, 256, (3, 3, 16, 20), dtype=torch.uint8, generator=torch.Generator().manual_seed(1))
    means_BD, token_BND, feature_BD = part.outputs(image_BCHW)
    with torch.no_grad():
        input_BCHW = normalize(image_BCHW, preprocessing, torch.float32)
        expected_BND = network.stages[:3](network.stem(input_BCHW))
        torch.testing.assert_close(token_BND, expected_BND, rtol=1e-4, atol=1e-4)
        torch.testing.assert_close(means_BD, expected_BND.mean(1), rtol=1e-4, atol=1e-4)
        torch.testing.assert_close(feature_BD, network.forward_features(input_BCHW), rtol=1e-3, atol=1e-3)


def test_weights_of_the_table_cost_what_their_size_costs():
    lines = [weights_of(name)[0] for name in (*DINOV2, "vit-b16-siglip")]
    assert [(line.top1_percent, line.input_px, multiply_adds(line)) for line in lines] == [
        (None, 518, 46_697_123_328),
        (None, 518, 151_574_486_016),
        (None, 224, 17_709_060_096),
    ]


def test_files_that_say_nothing_of_their_pixels_are_read_as_their_authors_do():
    for name in DINOV2:
        assert public_preprocessing(name, "here")[0] == Preprocessing(resize_px=256, interpolation="bicubic")
    half = (0.5, 0.5, 0.5)
    assert public_preprocessing("vit-b16-siglip", "here")[0] == Preprocessing(
        resize_px=248, interpolation="bicubic", mean=half, std=half
    )


def test_names_of_others_lead_here():
    assert MODELS.get("vit_small_patch14_dinov2").name == MODELS.get("dinov2_vits14").name == "vit-s14-dinov2"
    with pytest.raises(UnknownNameError) as error:
        MODELS.get("vit_base_patch14_dinov2.lvd142m")
    assert str(error.value) == (
        "'vit_base_patch14_dinov2.lvd142m' is a name of weights; their network is vit-b14-dinov2. "
        "'saccade weights' lists weights, 'saccade models' networks."
    )
