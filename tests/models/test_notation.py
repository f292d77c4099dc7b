"""A network as one line: what it means, what it refuses and where it points."""

import json

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional

from saccade.core.errors import ModelError, NotationError, UnknownNameError
from saccade.models.architecture import ImageClassifier, ModelSpec, build_model
from saccade.models.build import is_notation, resolve_model, without_weights
from saccade.models.notation import Layer, as_config, num_layers, parse, write

SPEC = ModelSpec(num_classes=10, input_CHW=(3, 32, 32))
NETWORK_B = "conv 8 f5 | pool | conv 16 f5 | pool | fc 120 | fc 84 | softmax"


def build(text: str, spec: ModelSpec = SPEC) -> ImageClassifier:
    """The network on the meta device."""
    with torch.device("meta"):
        model = resolve_model(text, spec)
    assert isinstance(model, ImageClassifier)
    return model


def parameters(model: nn.Module) -> int:
    return sum(parameter.numel() for parameter in model.parameters())


def refusal(text: str, spec: ModelSpec = SPEC) -> str:
    with pytest.raises(NotationError) as error:
        build(text, spec)
    assert error.value.exit_code == 2
    assert 1 <= len(error.value.message.splitlines()) <= 4
    return error.value.message


def test_network_b_is_the_one_written_by_hand():
    line = resolve_model(NETWORK_B, SPEC).eval()
    by_hand = build_model("convnet-b", SPEC).eval()
    assert parameters(line) == parameters(by_hand) == 62_958
    by_hand.load_state_dict(dict(zip(by_hand.state_dict(), line.state_dict().values(), strict=True)))
    image_BCHW = torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(line(image_BCHW), by_hand(image_BCHW), rtol=0, atol=0)


def test_the_parts_have_the_fields_names():
    model = build(NETWORK_B)
    assert [name for name, _ in model.endpoints()] == ["stem", "stage1", "neck", "head"]
    assert [name for name, _ in model.stem.named_children()] == ["conv1", "pool1"]
    assert [name for name, _ in model.head.named_children()] == ["fc1", "fc2", "softmax"]
    strided = build(
        "conv 8 f3 same | lrn | res( conv 8 f3 same x2 ) x2 | res( conv 16 f3 s2 same | conv 16 f3 same ) | gap"
    )
    assert [name for name, _ in strided.stages.named_children()] == ["stage1", "stage2"]


def test_a_line_without_softmax_ends_in_the_classes():
    assert parameters(build("conv 16 f3 same | pool | fc 64")) == 448 + (16 * 16 * 16 + 1) * 64 + 65 * 10
    assert parameters(build("fc 4704", ModelSpec(num_classes=1, input_CHW=(3, 32, 32)))) == 3073 * 4704 + 4705


def test_dense_against_convolution_as_in_the_lecture():
    dense = build("fc 4704 nobias | softmax")
    convolution = build("conv 6 f5 | gap | softmax")
    assert parameters(dense) - 4705 * 10 == 14_450_688
    assert parameters(convolution) - 7 * 10 == 456


def test_options_reach_the_layer():
    model = build("conv 12 f3 s2 p2 d2 g3 nobias tanh | avgpool f3 s2 p1 | gap")
    convolution = model.stem.conv1.convolution
    assert (convolution.kernel_size, convolution.stride, convolution.padding) == ((3, 3), (2, 2), (2, 2))
    assert (convolution.dilation, convolution.groups, convolution.bias) == ((2, 2), 3, None)
    assert isinstance(model.stem.conv1.tanh, nn.Tanh)
    assert (model.stem.avgpool1.kernel_size, model.stem.avgpool1.stride, model.stem.avgpool1.padding) == (3, 2, 1)


@pytest.mark.parametrize("kernel", [1, 2, 3, 4, 5, 6, 7])
@pytest.mark.parametrize("stride", [1, 2, 3])
@pytest.mark.parametrize("size_px", [7, 8])
def test_same_leaves_the_size_divided_by_the_stride_rounded_up(kernel: int, stride: int, size_px: int):
    spec = ModelSpec(num_classes=2, input_CHW=(3, size_px, size_px + 1))
    for layer in (f"conv 4 f{kernel} s{stride} same", f"pool f{kernel} s{stride} same"):
        model = build(layer, spec)
        map_BCHW = model.stages(model.stem(torch.zeros(1, 3, size_px, size_px + 1, device="meta")))
        assert map_BCHW.shape[2:] == (-(-size_px // stride), -(-(size_px + 1) // stride))


def test_padding_never_wins_a_maximum():
    model = resolve_model("pool f2 s1 same | softmax", ModelSpec(num_classes=2, input_CHW=(1, 3, 3)))
    assert isinstance(model, ImageClassifier)
    negative_BCHW = -torch.arange(1.0, 10).reshape(1, 1, 3, 3)
    expected = [[-1.0, -2, -3], [-4, -5, -6], [-7, -8, -9]]
    assert model.stem(negative_BCHW)[0, 0].tolist() == expected


def test_the_shortcut_joins_before_the_nonlinearity():
    spec = ModelSpec(num_classes=2, input_CHW=(2, 5, 5))
    model = resolve_model("identity | res( conv 2 f3 same | conv 2 f3 same )", spec)
    assert isinstance(model, ImageClassifier)
    block = model.stages.stage1.res1
    map_BCHW = torch.randn(3, 2, 5, 5, generator=torch.Generator().manual_seed(0))
    first, second = block.branch.conv1.convolution, block.branch.conv2.convolution
    middle_BCHW = functional.relu(functional.conv2d(map_BCHW, first.weight, first.bias, padding=1))
    branch_BCHW = functional.conv2d(middle_BCHW, second.weight, second.bias, padding=1)
    torch.testing.assert_close(block(map_BCHW), functional.relu(branch_BCHW + map_BCHW))


def test_a_shortcut_that_changes_shape_is_a_learned_projection():
    model = build("conv 8 f3 same | res( conv 16 f3 s2 same bn | conv 16 f3 same bn ) | gap")
    shortcut = model.stages.stage1.res1.shortcut
    assert (shortcut.convolution.kernel_size, shortcut.convolution.stride) == ((1, 1), (2, 2))
    assert shortcut.convolution.bias is None
    assert isinstance(shortcut.norm, nn.BatchNorm2d)
    assert isinstance(build("res( conv 3 f3 same ) | gap").stem.res1.shortcut, nn.Identity)


def test_resnet20_in_one_line_has_the_papers_parameters():
    block = "conv {0} f3 same bn | conv {0} f3 same bn"
    stages = [f"res( {block.format(16)} ) x3"]
    for width in (32, 64):
        first = f"res( conv {width} f3 s2 same bn | conv {width} f3 same bn )"
        stages.append(f"{first} | res( {block.format(width)} ) x2")
    model = build(f"conv 16 f3 same bn | {' | '.join(stages)} | gap | softmax")
    with torch.device("meta"):
        assert parameters(model) == parameters(build_model("resnet20-projection", SPEC))


def test_an_inception_block_in_one_line_has_the_papers_parameters():
    spec = ModelSpec(num_classes=10, input_CHW=(192, 28, 28))
    branches = "conv 64 f1 ; conv 96 f1 | conv 128 f3 same ; conv 16 f1 | conv 32 f5 same ; pool f3 same | conv 32 f1"
    with torch.device("meta"):
        assert parameters(build(f"cat( {branches} ) | gap", spec)) == parameters(build_model("inception-block", spec))


def test_names_stay_names():
    assert is_notation("conv 8 f3")
    assert is_notation("softmax")
    assert not is_notation("resnet18")
    with pytest.raises(UnknownNameError) as error:
        resolve_model("resnet19", SPEC)
    assert str(error.value).startswith("Unknown model 'resnet19'. Did you mean 'resnet1")


def test_a_line_becomes_json_and_text_and_comes_back():
    line = "conv 8 f4 s2 same bn | cat( identity ; conv 2 f1 tanh x2 ) | res( conv 10 f1 linear ) gelu | dropout 0.25"
    layers = parse(line)
    assert parse(write(layers)) == layers
    assert json.loads(json.dumps(as_config(layers)))[0] == {
        "kind": "conv",
        "number": 8,
        "kernel": 4,
        "stride": 2,
        "same": True,
        "norm": True,
        "activation": "relu",
    }
    assert parse("MAXPOOL f3 s2|Dense 5") == parse("pool f3 s2 | fc 5")


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (
            "conv 8 f5 | pool | pool | pool | pool | pool",
            "pool f2 s2 on 1x1: floor((1 + 0 - 2)/2) + 1 = 0\n"
            "  conv 8 f5 | pool | pool | pool | pool | pool\n"
            "                                          ^^^^\n"
            "Nothing is left here: use a larger input, a smaller f, same, or leave it out.",
        ),
        ("con 8 f5 | pool", "Unknown layer 'con'. Did you mean 'conv'?\n  con 8 f5 | pool\n  ^^^"),
        (
            "conv f5 | pool",
            "conv needs its number of channels, such as conv 16 f3.\n  conv f5 | pool\n  ^^^^^^^",
        ),
        ("conv 8 | pool", "conv needs the size of its filter, such as f3.\n  conv 8 | pool\n  ^^^^^^"),
        (
            "pool f3 q2",
            "pool has no option 'q2'.\n  pool f3 q2\n          ^^\nIt takes: f, s, p, same.",
        ),
        (
            "pool conv 8 f3",
            "pool has no option 'conv'.\n  pool conv 8 f3\n       ^^^^\n"
            "A layer of its own has '|' in front of it: | conv",
        ),
        ("conv16 f3", "Unknown layer 'conv16'. Did you mean 'conv 16'?\n  conv16 f3\n  ^^^^^^"),
        ("gap x2", "gap has no option 'x2'.\n  gap x2\n      ^^\nIt takes none."),
        ("conv 8 f0", "f must be 1 to 1,000, got 0.\n  conv 8 f0\n         ^^"),
        ("conv 0 f3", "The number must be 1 to 1,000,000, got 0.\n  conv 0 f3\n       ^"),
        ("conv 8 f3 f5", "conv is given its kernel twice.\n  conv 8 f3 f5\n            ^^"),
        ("conv 8 f3 same p1", "Give either same or p, not both.\n  conv 8 f3 same p1\n                 ^^"),
        ("res( conv 8 f3", "This '(' is never closed.\n  res( conv 8 f3\n     ^"),
        ("pool )", "This ')' closes nothing.\n  pool )\n       ^"),
        ("pool ; pool", "';' stands between branches of cat( ) only.\n  pool ; pool\n       ^"),
        (
            "res( pool ; pool )",
            "res( ) has one branch; cat( ... ; ... ) has several.\n  res( pool ; pool )\n            ^",
        ),
        ("res conv 3 f3", "res needs its layers in brackets: res( conv 16 f3 same ).\n  res conv 3 f3\n  ^^^"),
        (
            "conv 8 f3 ( pool )",
            "'(' cannot stand after conv.\n  conv 8 f3 ( pool )\n            ^\n"
            "Only res( ... ) and cat( ... ; ... ) hold other layers.",
        ),
        ("softmax | pool", "softmax gives the classes: nothing can follow it.\n  softmax | pool\n  ^^^^^^^"),
        (
            "gap | conv 8 f3",
            "conv needs a map, but 3 numbers come in: write it in front of fc and gap.\n"
            "  gap | conv 8 f3\n        ^^^^^^^^^",
        ),
        (
            "conv 8 f3 g2",
            "g2 must divide the channels, 3 coming in and 8 going out.\n  conv 8 f3 g2\n  ^^^^^^^^^^^^",
        ),
        (
            "pool f3 p2",
            "The padding of a pooling is at most half of f3, got p2.\n  pool f3 p2\n  ^^^^^^^^^^",
        ),
        (
            "dropout 1.5",
            "dropout takes a probability from 0 to below 1, such as dropout 0.5.\n  dropout 1.5\n          ^^^",
        ),
        (
            "res( conv 8 f3 )",
            "The branch leaves 30x30, a shortcut with its stride 1 leaves 32x32 of 32x32.\n"
            "  res( conv 8 f3 )\n  ^^^^^^^^^^^^^^^^\nGive the layers in res( ) the option same.",
        ),
        (
            "cat( conv 3 f1 ; conv 3 f3 )",
            "This branch leaves 30x30, the first one 32x32: they cannot be concatenated.\n"
            "  cat( conv 3 f1 ; conv 3 f3 )\n                   ^^^^^^^^^\n"
            "Give the layers in cat( ) the option same, and all branches the same stride.",
        ),
        ("cat( gap )", "gap cannot stand inside cat( ): it would end the map.\n  cat( gap )\n       ^^^"),
        (
            "res( fc 8 )",
            "fc cannot stand inside res( ) on a map; conv 8 f1 can.\n  res( fc 8 )\n       ^^^^",
        ),
    ],
)
def test_an_error_points_at_its_place(line: str, message: str):
    assert refusal(line) == message


def test_a_missing_layer_is_pointed_at():
    assert refusal("conv 8 f5 | | pool").startswith(
        "A layer is missing here.\n  conv 8 f5 | | pool\n              ^\nLayers: "
    )
    assert refusal("conv 8 f5 |").startswith("A layer is missing here.\n  conv 8 f5 |\n             ^\n")
    assert refusal("| pool").startswith("A layer is missing here.\n  | pool\n  ^\n")


def test_a_long_line_is_cut_around_the_place_and_control_characters_never_reach_the_terminal():
    message = refusal("relu | " * 40 + "con\x1b[31mv 8 f3" + " | relu" * 40)
    assert "\x1b" not in message
    what, line, carets, *_ = message.splitlines()
    assert what == "Unknown layer 'con\\x1b[31mv'. Did you mean 'conv'?"
    assert len(line) == 2 + 3 + 100 + 3
    assert line[carets.index("^") : carets.rindex("^") + 1] == "con?[31mv"


@pytest.mark.parametrize(
    "line",
    ["res( res( res( conv 8 f1 x1000 ) x1000 ) x1000 ) x1000", " | ".join(["relu"] * 1 + ["conv 8 f1 x1000"] * 3)],
)
def test_a_line_cannot_ask_for_more_layers_than_fit(line: str):
    assert refusal(line).startswith("A network in one line has at most 2,000 layers.\n")


def test_length_and_depth_are_bounded():
    assert refusal("relu " * 2001) == "A network in one line has at most 10,000 characters, got 10,005."
    assert refusal("res(" * 1000).startswith("Groups stand inside each other at most 16 deep.\n")


ACTIVATION = st.sampled_from(["relu", "linear", "tanh", "gelu"])
KERNEL = st.integers(1, 5)


@st.composite
def convolution(draw: st.DrawFn) -> str:
    options = [f"conv {draw(st.integers(1, 6))} f{draw(KERNEL)} same", draw(ACTIVATION)]
    options += draw(st.lists(st.sampled_from(["bn", "nobias", "d2", "s2", "x2"]), unique=True))
    return " ".join(options)


LEAF = convolution() | st.sampled_from(
    ["pool f3 same", "avgpool f2 same", "relu", "bn", "lrn", "dropout 0.5", "identity"]
)
RESIDUAL = st.lists(convolution(), min_size=1, max_size=3).map(lambda layers: f"res( {' | '.join(layers)} )")
SIDE = convolution().filter(lambda layer: "s2" not in layer)
CONCATENATION = st.lists(SIDE, min_size=1, max_size=3).map(lambda branches: f"cat( {' ; '.join(branches)} )")
LINES = st.tuples(
    st.lists(LEAF | RESIDUAL | CONCATENATION, max_size=5),
    st.sampled_from([[], ["gap"], ["flatten"]]),
    st.lists(st.sampled_from(["fc 3", "fc 4 bn", "dropout 0.1", "res( fc 5 | fc 2 )"]), max_size=2),
)


@settings(max_examples=60, deadline=None)
@given(parts=LINES, height_px=st.integers(1, 9), width_px=st.integers(1, 9), channels=st.integers(1, 3))
def test_any_line_builds_runs_and_reads_back(parts: tuple, height_px: int, width_px: int, channels: int):
    spatial, neck, head = parts
    if not neck and not spatial:
        head = ["fc 2", *head]
    if any(layer.startswith("res") for layer in head):  # dense layers in a group need numbers, not a map
        neck = neck or ["flatten"]
    line = " | ".join([*spatial, *neck, *head])
    spec = ModelSpec(num_classes=3, input_CHW=(channels, height_px, width_px))
    layers = parse(line)
    assert parse(write(layers)) == layers
    assert sum(map(num_layers, layers)) >= len(layers)
    model = build(line, spec).eval()
    assert model(torch.zeros(2, channels, height_px, width_px, device="meta")).shape == (2, 3)
    assert parameters(build(write(layers), spec)) == parameters(model)


@settings(max_examples=200, deadline=None)
@given(st.text(alphabet="convplfc res(cat;)|0123456789 fspdgx.same\n\x1b\u202e", max_size=60))
def test_any_text_is_a_network_or_a_short_message(text: str):
    message = ""
    try:
        layers = parse(text)
    except NotationError as error:
        message = error.message
    assert len(message.splitlines()) <= 4
    assert all(character.isprintable() or character == "\n" for character in message)
    assert message or all(isinstance(layer, Layer) for layer in layers)


@pytest.mark.parametrize(("line", "side"), [("conv 1000 f999 | fc 100000", 999_999), ("fc 1000000", 4_000_000)])
def test_a_network_of_more_weights_than_64_bits_count_is_refused_in_words(line: str, side: int):
    with pytest.raises(ModelError) as error, without_weights():
        resolve_model(line, ModelSpec(num_classes=10, input_CHW=(3, side * 100, side * 100)))
    assert str(error.value) == (
        f"'{line}' would have more weights than can be counted, for an input of {side * 100}x{side * 100}x3 and 10 "
        f"classes.\n"
        f"Make the input or its layers smaller, or end its maps by gap, whose weights do not grow with the input."
    )
