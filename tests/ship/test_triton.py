"""A model repository for Triton: what Triton's own message type reads, and the graph of the other formats."""

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest

from saccade import api
from saccade.core.errors import ExportError
from saccade.ship.triton import config_text, triton_files

SETTINGS = ["runtime.num_threads=1", "loader.threads=1", "batch_size=256"]


@pytest.fixture(scope="module")
def messages() -> ModuleType:
    """Triton's message types, without the client of gRPC that they are shipped beside."""
    pytest.importorskip("google.protobuf", reason="protobuf is not installed")
    package = importlib.util.find_spec("tritonclient")
    if package is None or package.submodule_search_locations is None:
        pytest.skip("tritonclient is not installed")
    path = Path(package.submodule_search_locations[0]) / "grpc" / "model_config_pb2.py"
    spec = importlib.util.spec_from_file_location("model_config_pb2", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_triton_reads_what_the_model_takes_and_gives(messages: ModuleType):
    from google.protobuf import text_format

    config = text_format.Parse(config_text((28, 32, 1), 10), messages.ModelConfig())
    assert (config.backend, config.max_batch_size, config.name) == ("onnxruntime", 32, "")
    (image,) = config.input
    assert (image.name, list(image.dims), image.data_type) == ("image", [28, 32, 1], messages.TYPE_UINT8)
    outputs = {output.name: output for output in config.output}
    assert set(outputs) == {"logits", "probabilities"}
    assert all((list(output.dims), output.data_type) == ([10], messages.TYPE_FP32) for output in outputs.values())
    assert outputs["probabilities"].label_filename == "labels.txt"
    with pytest.raises(text_format.ParseError):
        text_format.Parse(config_text((28, 32, 1), 10).replace("dims", "dimensions"), messages.ModelConfig())


def test_triton_reads_that_there_is_one_distance_an_image(messages: ModuleType):
    from google.protobuf import text_format

    config = text_format.Parse(
        config_text((28, 32, 1), 10, ["logits", "probabilities", "distance"]), messages.ModelConfig()
    )
    distance = config.output[2]
    assert (distance.name, list(distance.dims), distance.data_type) == ("distance", [1], messages.TYPE_FP32)
    assert distance.HasField("reshape")
    assert list(distance.reshape.shape) == []


def test_the_repository_holds_the_graph_of_the_onnx_file_and_the_classes_in_order(tmp_path: Path):
    pytest.importorskip("onnxscript", reason="the extra 'export' is not installed")
    request = api.TrainRequest(source="digits", epochs=1, out=tmp_path / "run", settings=SETTINGS)
    run = api.train(request).run_dir
    exported = api.export(run, tmp_path / "out", formats=["triton", "onnx"])
    assert exported.bundle.formats == ("onnx", "triton")
    folder = tmp_path / "out" / "triton" / "classifier"
    assert (folder / "labels.txt").read_text().splitlines() == [str(digit) for digit in range(10)]
    assert (folder / "1" / "model.onnx").read_bytes() == (tmp_path / "out" / "model.onnx").read_bytes()
    assert 'name: "distance"' in (folder / "config.pbtxt").read_text()
    assert "tritonserver --model-repository triton" in (tmp_path / "out" / "README.md").read_text()
    assert {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()} == {
        "1/model.onnx",
        "config.pbtxt",
        "labels.txt",
    }


def test_a_class_of_two_lines_is_refused():
    with pytest.raises(ExportError) as refused:
        triton_files(b"", (8, 8, 1), ["one", "two\nlines"])
    assert refused.value.message == (
        "Triton reads the names of the classes from a file, one a line; 'two\\nlines' is none.\n"
        "Rename the class, and train again."
    )
