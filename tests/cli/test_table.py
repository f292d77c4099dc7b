"""`saccade table` and `saccade compare` as a person or a script calls them."""

import json

NETWORK_B = "conv 8 f5 | pool | conv 16 f5 | pool | fc 120 | fc 84 | softmax"
LAYER_KEYS = {
    *("name", "kind", "kernel", "stride", "padding", "groups", "output", "activations", "parameters"),
    *("multiply_adds", "receptive_field", "jump"),
}


def test_json_has_the_keys_of_the_contract(saccade):
    result = saccade("table", NETWORK_B, "--input", "32x32x3", "--json")
    assert result.status == 0
    table = json.loads(result.output)
    assert {"model", "input", "layers", "totals"} <= set(table)
    assert table["input"] == [3, 32, 32]
    assert all(set(layer) >= LAYER_KEYS for layer in table["layers"])
    assert table["layers"][0]["output"] == [8, 28, 28]
    assert table["totals"]["parameters"] == 62_958
    assert table["totals"]["memory"]["batch_size"] == 32


def test_a_trained_run_has_a_table(saccade, tmp_path):
    run = tmp_path / "run"
    trained = saccade("train", "digits", "--model", "conv 4 f3 s2 | gap | softmax", "--epochs", "1", "--out", run)
    assert trained.status == 0
    result = saccade("table", run)
    assert result.status == 0
    assert result.output.splitlines()[2].startswith("stem   conv + relu  f3 s2   15x15x4")


def test_formats_exclude_each_other(saccade):
    result = saccade("table", "lenet5", "--json", "--csv")
    assert result.status == 2
    assert result.errors == "error: Choose one of --json, --csv and --markdown.\n"


def test_unknown_choices_name_the_nearest(saccade):
    result = saccade("table", "lenet5", "--optimizer", "nestrov")
    assert (result.status, result.errors) == (
        2,
        "error: Unknown optimizer 'nestrov'. Did you mean 'nesterov'? "
        "Known: sgd, momentum, nesterov, rmsprop, adam, adamw, muon.\n",
    )
    result = saccade("table", "lenet5", "--precision", "float8")
    assert (result.status, result.errors) == (
        2,
        "error: Unknown precision 'float8'. Did you mean 'float32'? Known: float32, bfloat16.\n",
    )


def test_errors_in_a_line_point_at_the_place(saccade):
    result = saccade("table", "conv 8 f5 | pool | pool | pool", "--input", "8x8x3")
    assert result.status == 2
    assert result.errors == (
        "error: pool f2 s2 on 1x1: floor((1 + 0 - 2)/2) + 1 = 0\n"
        "  conv 8 f5 | pool | pool | pool\n"
        "                            ^^^^\n"
        "Nothing is left here: use a larger input, a smaller f, same, or leave it out.\n"
    )


def test_compare_needs_two_and_lists_them(saccade):
    result = saccade("compare", "lenet5")
    assert (result.status, result.errors) == (
        2,
        "error: compare needs at least two networks: saccade compare plain34 resnet34.\n",
    )
    result = saccade("compare", "plain20", "resnet20", "--json")
    assert [entry["model"] for entry in json.loads(result.output)["models"]] == ["plain20", "resnet20"]
    result = saccade("compare", "plain20", "resnet20")
    assert "resnet20  32x32x3" in result.output


def test_what_does_not_fit_is_said_in_two_lines_and_nothing_else(saccade):
    result = saccade("table", "vgg16", "--input", "8x8x3")
    assert (result.status, result.output, result.errors) == (
        1,
        "",
        "error: vgg16 cannot take an input of 8x8x3: layer 'stages.stage3.pool': "
        "pooling f2 s2 on 1x1: floor((1 + 0 - 2)/2) + 1 = 0.\n"
        "Use larger images than 8x8, for example --input 16x16x3 for a table, --set input.size_px=16 to train.\n",
    )


def test_a_run_that_is_not_there_is_looked_for_as_a_run(saccade):
    result = saccade("table", "runs/none-1")
    assert (result.status, result.errors) == (
        1,
        "error: The run runs/none-1 is not there.\n"
        "Give the folder that 'saccade train' printed, such as runs/digits-lenet5-1.\n",
    )


def test_frozen_parts_need_no_gradients_no_state_and_no_saved_activations(saccade):
    memory = {}
    for depth in ("none", "stage2", "all"):
        result = saccade("table", "resnet18", "--freeze", depth, "--json")
        assert result.status == 0
        memory[depth] = json.loads(result.output)["totals"]["memory"]
    last_layer_bytes = 4 * (512 * 1000 + 1000)
    assert memory["all"]["gradients_bytes"] == memory["all"]["optimizer_state_bytes"] == last_layer_bytes
    assert memory["none"]["gradients_bytes"] == 4 * 11_689_512
    for key in ("gradients_bytes", "saved_activations_bytes", "training_peak_bytes"):
        assert memory["all"][key] < memory["stage2"][key] < memory["none"][key]
    unknown = saccade("table", "resnet18", "--freeze", "stage9")
    assert unknown.status == 2
    assert unknown.errors.startswith("error: 'stage9' is not a freeze depth of this network. Did you mean ")
