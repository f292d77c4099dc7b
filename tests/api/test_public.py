"""What a user may use: names, types, and settings beside those of the command line."""

import inspect
import re
import subprocess
import sys
from dataclasses import is_dataclass
from importlib.resources import files
from pathlib import Path

import pytest

import saccade
from saccade import api
from saccade.core.errors import ConfigError, UsageError

REPOSITORY = Path(__file__).parent.parent.parent
SAMPLE = Path(__file__).parent / "typed_sample.py"
UNREAD = ("torch.*", "huggingface_hub.*", "typer.*", "rich.*", "altair.*", "safetensors.*")
CACHE = REPOSITORY / ".mypy_cache" / "typed-sample"  # the others take seconds, too


def test_the_public_names_are_these():
    assert saccade.__all__ == ["__version__", "api", "load", "Model", "SaccadeClassifier", "SaccadeFeatures"]
    assert api.__all__ == [
        *(
            "train",
            "transfer",
            "plan",
            "add_class",
            "train_ensemble",
            "find_learning_rate",
            "evaluate",
            "evaluate_endpoint",
            "check_labels",
            "write_mistakes",
        ),
        *(
            "write_evaluated_answers",
            "write_curves",
            "write_evaluation_report",
            "predict",
            "predict_to_csv",
            "predict_to_folder",
            "confidence_for",
            "predict_to_label_studio",
            "predict_to_fiftyone",
            "features",
            "features_to_folder",
            "similar",
            "suggest",
            "drift",
            "explain",
            "export",
            "serve",
            "studio",
            "push",
            "inspect",
            "shard",
            "preview",
        ),
        *("table", "compare", "compare_verdicts", "report", "runs", "is_run", "is_ensemble", "request_stop"),
        *("TrainRequest", "TransferRequest"),
        *("PreviewRequest", "TableRequest", "ShardSettings", "Answering", "Further", "RuntimeConfig", "RunProgress"),
        "Silent",
        *(
            "ArraySource",
            "FileSource",
            "DataSource",
            "Record",
            "TrainResult",
            "TransferResult",
            "DryRun",
            "AddedClasses",
            "EnsembleResult",
        ),
        *(
            "RangeTest",
            "Evaluation",
            "LabelCheck",
            "Prediction",
            "AnswersWritten",
            "UnitsWritten",
            "PromisedPrecision",
            "Exported",
            "AskedInt8",
            "ExportedRun",
            "RunningServer",
            "PushedRun",
            "ShardsWritten",
            "FeaturesWritten",
            "Similar",
            "Suggestions",
            "Drift",
        ),
        *(
            "Explanation",
            "Inspection",
            "DesignTable",
            "Comparison",
            "ComparedRuns",
            "RunList",
            "Metrics",
            "Preprocessing",
        ),
        *("SaccadeError", "ImageError", "Stopped"),
    ]


def test_every_public_name_says_what_it_is_for():
    for name in api.__all__:
        assert len(inspect.getdoc(getattr(api, name)) or "") > 20 or name in ("Stopped",), name


def test_a_star_import_brings_the_public_names_alone():
    names: dict[str, object] = {}
    code = compile("from saccade.api import *", "star", "exec")
    eval(code, names)  # noqa: S307  a star import stands only at the top of a module
    assert set(names) - {"__builtins__"} == set(api.__all__)


def test_the_types_of_the_package_are_shipped():
    assert files("saccade").joinpath("py.typed").is_file()


def test_a_type_checker_knows_the_verbs(tmp_path: Path):
    """Strict, with nothing but the package as it is installed: no setting of this repository helps, but that libraries
    of which no type is shown are left unread."""
    (tmp_path / "mypy.ini").write_text(f"[mypy]\n[mypy-{','.join(UNREAD)}]\nfollow_imports = skip\n")
    command = [sys.executable, "-m", "mypy", "--strict", f"--config-file={tmp_path / 'mypy.ini'}"]
    command += [f"--cache-dir={CACHE}", str(SAMPLE)]
    done = subprocess.run([*command, "--follow-imports=silent"], capture_output=True, text=True, timeout=500)
    revealed = dict(re.findall(r"typed_sample\.py:(\d+): note: Revealed type is \"(.*)\"", done.stdout))
    errors = [line for line in done.stdout.splitlines() if ": error:" in line]
    lines = SAMPLE.read_text(encoding="utf-8").splitlines()
    behind = {str(number): line.partition("  # is")[2] for number, line in enumerate(lines, start=1)}
    expected = {number: text.removeprefix(": ") for number, text in behind.items() if text.startswith(": ")}
    assert {number: text.replace("builtins.", "") for number, text in revealed.items()} == expected
    wanted = [number for number, text in behind.items() if text == " an error"]
    assert [line.split(":")[1] for line in errors] == wanted


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (
            {"optimizer": {"learning_rat": 0.1}},
            "Unknown key 'optimizer.learning_rat'. Did you mean 'optimizer.learning_rate'?",
        ),
        (
            {"optimizer": {"learning_rate": "fast"}},
            "settings: 'optimizer.learning_rate' must be a number, not 'fast'.",
        ),
        (
            {"model": "resnet20"},
            "'model' cannot be given by settings: a network is chosen with --model, and its recipe with it.",
        ),
    ],
)  # fmt: skip
def test_settings_of_a_request_are_validated_as_those_of_the_command_line(settings: dict, message: str):
    with pytest.raises((ConfigError, UsageError)) as error:
        api.TrainRequest(source="digits", settings=settings).config()
    assert error.value.message == message


def test_settings_as_a_table_and_as_texts_give_one_configuration():
    typed = {
        "optimizer": {"learning_rate": 0.05, "name": "adamw"},
        "batch_size": 32,
        "augment": {"shift": {"max_px": 2}},
    }
    texts = ["optimizer.learning_rate=0.05", "optimizer.name=adamw", "batch_size=32", "augment.shift.max_px=2"]
    one, other = (api.TrainRequest(source="digits", settings=settings).config() for settings in (typed, texts))
    assert one == other
    transfers = [
        api.TransferRequest(source="digits", backbone="lenet5", weights="w", settings=settings).config().digest()
        for settings in (typed, texts)
    ]
    assert transfers[0] == transfers[1]
    previews = [api.PreviewRequest(source="digits", settings=settings).config() for settings in (typed, texts)]
    assert previews[0] == previews[1]


def test_what_a_verb_gives_is_shown_in_words():
    for name in api.__all__:
        entry = getattr(api, name)
        shown = ("Evaluation", "LabelCheck", "Prediction", "Explanation", "Inspection", "AddedClasses")
        if name.endswith("Result") or name in (*shown, "Similar", "Suggestions", "Drift"):
            assert is_dataclass(entry)
            assert hasattr(entry, "_repr_html_"), name
