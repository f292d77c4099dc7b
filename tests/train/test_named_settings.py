"""A setting that a message, a help text or a page names is one that can be set."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

import saccade
from saccade.core.config import field_names
from saccade.core.errors import ConfigError, UsageError
from saccade.preview.request import PreviewRequest
from saccade.train.config import RunConfig
from saccade.train.request import TrainRequest
from saccade.transfer.request import TransferRequest

SOURCES = Path(saccade.__file__).parent
NAMED = re.compile(r"--set ((?!expects|goes)[a-z][a-z0-9_.]*)")


def texts(path: Path) -> Iterator[str]:
    """Every text of a module, with those of an f-string in one and its values left out."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.JoinedStr):
            yield "".join(part.value if isinstance(part, ast.Constant) else "\0" for part in node.values)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.value


def test_every_setting_that_the_package_names_can_be_set():
    found = {
        (name.rstrip("."), path.relative_to(SOURCES).as_posix())
        for path in SOURCES.rglob("*.py")
        for text in texts(path)
        for name in NAMED.findall(text)
        if f"{name}\0" not in text  # the rest of its name is a value
    }
    settable = set(field_names(RunConfig)) - set(RunConfig.elsewhere)
    assert len(found) > 20
    assert {(name, place) for name, place in found if name not in settable} == set()


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("loader.batchsize=3", "Unknown key 'loader.batchsize'. The images of a step are batch_size."),
        ("sorce=a", "Unknown key 'sorce'. The images are the first argument, SOURCE."),
        ("loader.x=3", "Unknown key 'loader.x'. Keys of loader: threads, prefetch_batches, memory_limit_bytes, "
         "timeout_s, on_bad_image, sampling, order, store, store_limit_bytes."),
        ("polcy=photo", "Unknown key 'polcy'. A policy is chosen with --policy; 'saccade augmentations' lists them."),
        ("batchsize=3", "Unknown key 'batchsize'. Did you mean 'batch_size'?"),
        ("batch-size=3", "Unknown key 'batch-size'. Did you mean 'batch_size'?"),
        ("lr=1", "Unknown key 'lr'. Did you mean 'optimizer.learning_rate'?"),
        ("optimizer.lr=1", "Unknown key 'optimizer.lr'. Did you mean 'optimizer.learning_rate'?"),
        ("input.height_px=1", "Unknown key 'input.height_px'. Did you mean 'input.size_px'?"),
        ("img_size=1", "Unknown key 'img_size'. Did you mean 'input.size_px'?"),
        ("num_workers=1", "Unknown key 'num_workers'. Did you mean 'loader.threads'?"),
        ("amp=true", "Unknown key 'amp'. Did you mean 'runtime.precision'?"),
        ("patience=3", "Unknown key 'patience'. Did you mean 'stop.patience_epochs'?"),
        ("max_epochs=3", "Unknown key 'max_epochs'. Did you mean 'epochs'?"),
        ("warmup_epochs=3", "Unknown key 'warmup_epochs'. Did you mean 'schedule.warmup_fraction'?"),
        ("clip=1", "Unknown key 'clip'. Did you mean 'optimizer.clip_norm'?"),
        ("dropout=0.5", "Unknown key 'dropout'. Dropout is a part of the network, which --model names or writes."),
        ("pretrained=true", "Unknown key 'pretrained'. A pretrained network is adapted by: saccade transfer SOURCE."),
        ("augmentation=x", "Unknown key 'augmentation'. A policy is chosen with --policy; 'saccade augmentations' "
         "lists them."),
        ("mixup=0.2", "Unknown key 'mixup'. Keys of augment.mixup: alpha, probability."),
        ("name=adam", "Unknown key 'name'. Did you mean 'optimizer.name' or 'schedule.name'?"),
    ],
)  # fmt: skip
def test_a_hint_is_never_a_key_that_is_refused(setting: str, message: str):
    with pytest.raises(ConfigError) as error:
        TrainRequest(source="digits", settings=[setting]).config()
    assert error.value.message == message


def test_what_options_choose_is_refused_in_a_table_too_and_by_every_verb(tmp_path: Path):
    table, told = (
        ["loader={batch_size=3}"],
        "'loader.batch_size' cannot be given by settings: the images of a step are ",
    )
    weights = {"transfer": {"weights": "a"}}
    for request, message in (
        (TrainRequest(source="digits", settings=table), f"{told}batch_size."),
        (PreviewRequest(source="digits", settings=table), f"{told}batch_size."),
        (TransferRequest(source="digits", backbone="lenet5", weights="w", settings=weights),
         "'transfer.weights' cannot be given by settings: weights are chosen with --weights."),
    ):  # fmt: skip
        with pytest.raises(UsageError) as error:
            request.config()
        assert error.value.message == message


def test_every_usual_name_leads_to_a_setting_that_is_there():
    names = set(field_names(RunConfig))
    for usual, meant in RunConfig.usual_names.items():
        assert " " in meant or meant in names, usual
        assert " " in meant or meant not in RunConfig.elsewhere, usual
