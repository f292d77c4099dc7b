"""The Open Inference Protocol, request by request; the real client of Triton is in test_serve.py."""

import json
import struct

import numpy as np
import pytest

pytest.importorskip("starlette", reason="the extra 'serve' is not installed")
pytest.importorskip("python_multipart", reason="the extra 'serve' is not installed")

from tests.ship.asked import HOST, PREPROCESSING, MeanColour, Reply, app_of, ask, service_of  # noqa: E402
from tests.ship.test_serve_requests import png  # noqa: E402

INFER = "/v2/models/colours/infer"
PIXELS_NHWC = np.random.default_rng(3).integers(0, 256, (3, 8, 8, 3), dtype=np.uint8)
EXPECTED_NK = MeanColour().answer({PREPROCESSING: PIXELS_NHWC})[1]


def infer(head: object, binary: bytes = b"", has_head_length: bool = True, app=None) -> Reply:
    text = head if isinstance(head, bytes) else json.dumps(head).encode()
    headers = [HOST, ("inference-header-content-length", str(len(text)))] if has_head_length else [HOST]
    return ask(app or app_of(), "POST", INFER, headers, text + binary)


def tensor(datatype: str, shape: list[int], **others: object) -> dict[str, object]:
    return {"name": "image", "datatype": datatype, "shape": shape, **others}


def pixels(binary: bool) -> tuple[dict[str, object], bytes]:
    raw = PIXELS_NHWC.tobytes()
    if binary:
        return tensor("UINT8", [3, 8, 8, 3], parameters={"binary_data_size": len(raw)}), raw
    return tensor("UINT8", [3, 8, 8, 3], data=PIXELS_NHWC.ravel().tolist()), b""


def encoded(*contents: bytes, shape: list[int] | None = None) -> tuple[dict[str, object], bytes]:
    raw = b"".join(struct.pack("<I", len(content)) + content for content in contents)
    return tensor("BYTES", shape or [len(contents)], parameters={"binary_data_size": len(raw)}), raw


@pytest.mark.parametrize("binary", [True, False])
def test_prepared_pixels_in_binary_and_in_json_give_the_same(binary: bool):
    given, raw = pixels(binary)
    reply = infer({"id": "7", "inputs": [given]}, raw)
    assert (reply.status, reply.json["id"], reply.json["model_name"]) == (200, "7", "colours")
    found = {output["name"]: output for output in reply.json["outputs"]}
    assert [found[name]["shape"] for name in ("probabilities", "logits")] == [[3, 3], [3, 3]]
    np.testing.assert_allclose(np.reshape(found["probabilities"]["data"], (3, 3)), EXPECTED_NK, rtol=1e-6)
    np.testing.assert_allclose(np.reshape(found["logits"]["data"], (3, 3)), np.log(EXPECTED_NK), rtol=1e-5)
    nested = tensor("UINT8", [3, 8, 8, 3], data=PIXELS_NHWC.tolist())
    assert infer({"inputs": [nested]}).json["outputs"] == reply.json["outputs"]


def test_encoded_images_are_prepared_and_answers_may_be_binary():
    given, raw = encoded(png((255, 0, 0)), png((0, 0, 255)))
    reply = infer({"inputs": [given], "parameters": {"binary_data_output": True}}, raw)
    length = int(reply.headers["inference-header-content-length"])
    head = json.loads(reply.content[:length])
    assert [output["parameters"]["binary_data_size"] for output in head["outputs"]] == [24, 24]
    probability_NK = np.frombuffer(reply.content[length : length + 24], "<f4").reshape(2, 3)
    np.testing.assert_allclose(probability_NK[:, [0, 2]], [[256 / 258, 1 / 258], [1 / 258, 256 / 258]], rtol=1e-6)
    two_sided, raw = encoded(png(), shape=[1, 1])
    assert infer({"inputs": [two_sided]}, raw).status == 200


def test_classes_are_named_where_classification_is_asked_for():
    given, raw = encoded(png((255, 0, 100)))
    wanted = {"name": "probabilities", "parameters": {"classification": 2}}
    reply = infer({"inputs": [given], "outputs": [wanted]}, raw)
    (output,) = reply.json["outputs"]
    assert (output["datatype"], output["shape"]) == ("BYTES", [1, 2])
    assert output["data"] == [f"{256 / 358:f}:0:red", f"{101 / 358:f}:2:blue"]


def test_what_is_served_is_described():
    app = app_of()
    assert ask(app, "GET", "/v2").json["name"] == "saccade"
    assert ask(app, "GET", "/v2/health/live").json == {"live": True}
    assert ask(app, "GET", "/v2/models/colours/versions/1").json == ask(app, "GET", "/v2/models/colours").json
    assert ask(app, "GET", "/v2/models/colours").json["inputs"] == [
        {"name": "image", "datatype": "BYTES", "shape": [-1]}
    ]
    assert ask(app, "GET", "/v2/models/colours/ready").json == {"name": "colours", "ready": True}
    assert ask(app, "GET", "/v2/models/colours/config").json["max_batch_size"] == 0
    missing = ask(app, "GET", "/v2/models/colours/versions/2")
    assert (missing.status, missing.json) == (404, {"error": "colours has version 1 alone."})


def test_statistics_count_images_and_failures():
    app = app_of()
    given, raw = encoded(png(), png())
    infer({"inputs": [given]}, raw, app=app)
    infer({"inputs": []}, app=app)
    (stats,) = ask(app, "GET", "/v2/models/colours/stats").json["model_stats"]
    assert (stats["inference_count"], stats["execution_count"]) == (2, 1)
    assert (stats["inference_stats"]["success"]["count"], stats["inference_stats"]["fail"]["count"]) == (1, 1)


GIVEN, RAW = pixels(True)
IMAGES, IMAGE_RAW = encoded(b"no image")
BAD = [
    (b"not json", b"", 400, "The request is not JSON. Binary data need Inference-Header-Content-Length."),
    (b"[" * 100_000, b"", 400, "The request is not JSON. Binary data need Inference-Header-Content-Length."),
    ([], b"", 400, "The request is not a JSON object."),
    ({}, b"", 400, "inputs has to be a list of one tensor, 'image'."),
    ({"inputs": [GIVEN, GIVEN]}, RAW, 400, "inputs has to be a list of one tensor, 'image'."),
    ({"inputs": [GIVEN | {"name": "x\n"}]}, RAW, 400, "There is no input 'x\\n'; the input is 'image'."),
    ({"inputs": [GIVEN | {"shape": [3, 8, 8]}]}, RAW, 400, "There are 576 values; the shape says 192."),
    ({"inputs": [GIVEN | {"shape": [3, 8, 24, 1]}]}, RAW, 400, "Prepared pixels have the shape [N, 8, 8, 3]."),
    ({"inputs": [GIVEN | {"shape": "3"}]}, RAW, 400, "shape has to be a list of 1 to 4 whole numbers."),
    ({"inputs": [GIVEN | {"shape": [True, 8, 8, 3]}]}, RAW, 400, "shape has to be a list of 1 to 4 whole numbers."),
    ({"inputs": [GIVEN | {"shape": [0, 8, 8, 3]}]}, RAW, 400, "shape has to be of numbers from 1 on."),
    ({"inputs": [GIVEN | {"shape": [65, 8, 8, 3]}]}, RAW, 400, "A request holds up to 64 images. Send several."),
    ({"inputs": [GIVEN | {"shape": [1, 2**31, 2**31, 3]}]}, RAW, 400, None),
    (
        {"inputs": [GIVEN | {"datatype": "FP32"}]},
        RAW,
        400,
        "'image' is BYTES (encoded files) or UINT8 (prepared pixels), not another datatype.",
    ),
    ({"inputs": [GIVEN]}, RAW[:-1], 400, "binary_data_size is not the 575 bytes that there are."),
    ({"inputs": [GIVEN | {"parameters": {}}]}, RAW, 400, "There are binary data that belong to no tensor."),
    ({"inputs": [GIVEN | {"parameters": 3}]}, RAW, 400, "parameters has to be an object."),
    (
        {"inputs": [tensor("UINT8", [1, 8, 8, 3], data=[300] * 192)]},
        b"",
        400,
        "data has to be whole numbers from 0 to 255.",
    ),
    (
        {"inputs": [tensor("UINT8", [1, 8, 8, 3], data=[0.5] * 192)]},
        b"",
        400,
        "data has to be whole numbers from 0 to 255.",
    ),
    ({"inputs": [tensor("UINT8", [1, 8, 8, 3], data=[[1], [2, 3]])]}, b"", 400, "data has lists of different lengths."),
    ({"inputs": [tensor("UINT8", [1, 8, 8, 3])]}, b"", 400, "data has to be whole numbers from 0 to 255."),
    (
        {"inputs": [tensor("BYTES", [1], data=["x"])]},
        b"",
        400,
        "Encoded images come as binary data. With tritonclient: set_data_from_numpy(..., True).",
    ),
    ({"inputs": [IMAGES | {"shape": [2]}]}, IMAGE_RAW, 400, "The binary data end early."),
    ({"inputs": [IMAGES | {"shape": [1, 1, 1]}]}, IMAGE_RAW, 400, "Encoded images have the shape [N] or [N, 1]."),
    ({"inputs": [IMAGES]}, struct.pack("<I", 2**32 - 1) + b"no image", 400, "The binary data end early."),
    (
        {"inputs": [IMAGES]},
        IMAGE_RAW,
        422,
        "Not an image that can be read (see 'saccade sources'): it begins with 'no image'. Send another image.",
    ),
    ({"inputs": [GIVEN], "outputs": [{"name": "x"}]}, RAW, 400, "An output has the name probabilities or logits."),
    ({"inputs": [GIVEN], "outputs": []}, RAW, 400, "outputs has to be a list of one or two of: probabilities, logits."),
    ({"inputs": [GIVEN], "id": 3}, RAW, 400, "id has to be a text of up to 256 characters."),
    ({"inputs": [GIVEN], "id": "\ud800"}, RAW, 400, "id has to be a text of up to 256 characters."),
    (
        {"inputs": [GIVEN], "outputs": [{"name": "logits", "parameters": {"classification": -1}}]},
        RAW,
        400,
        "classification has to be a whole number from 0 on.",
    ),
]


@pytest.mark.parametrize(("head", "binary", "status", "message"), BAD)
def test_what_is_wrong_is_told_in_the_protocols_way(head: object, binary: bytes, status: int, message: str | None):
    reply = infer(head, binary)
    assert reply.status == status
    assert set(reply.json) == {"error"}
    assert message is None or reply.json["error"] == message


@pytest.mark.parametrize("length", ["-1", "1e3", "99999", "9" * 400])
def test_a_length_of_the_head_that_cannot_be_is_refused(length: str):
    reply = ask(app_of(), "POST", INFER, [HOST, ("inference-header-content-length", length)], b"{}")
    assert reply.status == 400


def test_networks_that_prepare_differently_take_encoded_images_alone():
    model = MeanColour()
    model.preprocessings = (PREPROCESSING, PREPROCESSING.model_copy(update={"input_height_px": 9}))
    reply = infer({"inputs": [GIVEN]}, RAW, app=app_of(service_of(model)))
    assert reply.json["error"].startswith("The networks of colours prepare images differently.")
