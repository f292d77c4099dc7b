"""Options as other tools call them, and what they are here: `--lr` is a setting, `--arch` is `--model`."""

import re
from collections.abc import Collection

# What an option is here: options, of which a command has at most one, or the setting it names.
_MODEL = ("--model", "--backbone")
OPTIONS = {
    **dict.fromkeys(
        ("--arch", "--architecture", "--net", "--network", "--model", "--model-name", "--backbone"), _MODEL
    ),
    **dict.fromkeys(("--size", "--img-size", "--imgsz", "--image-size", "--input-size", "--resolution"), ("--input",)),
    **dict.fromkeys(("--output", "--output-dir", "--out-dir", "--save-dir", "--project", "--name"), ("--out",)),
    **dict.fromkeys(("--num-epochs", "--epoch", "--n-epochs", "--max-epochs"), ("--epochs",)),
    **dict.fromkeys(("--checkpoint", "--ckpt", "--pretrained", "--weight"), ("--weights",)),
    **dict.fromkeys(("--freeze-layers", "--freeze-depth", "--unfreeze"), ("--freeze",)),
    **dict.fromkeys(("--topk", "--top-k", "--k"), ("--top",)),
    **dict.fromkeys(("--threshold", "--conf", "--confidence"), ("--min-confidence",)),
    **dict.fromkeys(("--cv", "--kfold", "--k-fold", "--num-folds"), ("--folds",)),
    **dict.fromkeys(("--nproc", "--nproc-per-node", "--world-size", "--num-processes"), ("--processes",)),
}
PRETRAINED = {"--weights", "--weight", "--pretrained", "--checkpoint", "--ckpt", "--freeze"}
SETTINGS = {
    **dict.fromkeys(("--lr", "--learning-rate", "--lr0", "--base-lr"), "optimizer.learning_rate"),
    **dict.fromkeys(("--batch", "--batch-size", "--bs"), "batch_size"),
    **dict.fromkeys(("--weight-decay", "--wd"), "optimizer.weight_decay"),
    **dict.fromkeys(("--opt", "--optimizer", "--optim"), "optimizer.name"),
    "--momentum": "optimizer.momentum",
    **dict.fromkeys(("--workers", "--num-workers", "--jobs"), "loader.threads"),
    **dict.fromkeys(("--threads", "--num-threads"), "runtime.num_threads"),
    **dict.fromkeys(("--device", "--gpu", "--gpus"), "runtime.device"),
    **dict.fromkeys(("--precision", "--amp", "--dtype"), "runtime.precision"),
    **dict.fromkeys(("--label-smoothing", "--smoothing"), "loss.label_smoothing"),
    **dict.fromkeys(("--val-split", "--validation-split", "--val-fraction"), "split.validation_fraction"),
    **dict.fromkeys(("--test-split", "--test-fraction", "--test-size"), "split.test_fraction"),
}
# The values of a setting that other tools write as they are written here; no other is repeated, since it would be
# refused: a GPU by its number, a percentage, another spelling.
NUMBER, FRACTION = r"(?=.*[1-9])\d*\.?\d+(e-?\d+)?", r"0?\.\d+"
ALIKE = {
    "optimizer.learning_rate": NUMBER,
    "optimizer.weight_decay": NUMBER,
    "optimizer.momentum": FRACTION,
    "optimizer.name": "sgd|nesterov|rmsprop|adam|adamw|muon",
    "batch_size": r"[1-9]\d{0,3}",
    "loader.threads": r"[1-9]\d?",
    "runtime.num_threads": r"[1-9]\d?",
    "runtime.device": r"auto|cpu|cuda(:\d)?|mps",
    "runtime.precision": "auto|float32|bfloat16",
    "loss.label_smoothing": FRACTION,
    "split.validation_fraction": FRACTION,
    "split.test_fraction": FRACTION,
}


def name_here(option: str, value: str, known: Collection[str], command: str) -> str:
    """What `option` of another tool, given with `value` ("": none), is in `command`, which has the options `known`; ""
    where it is nothing."""
    option = option.lower().replace("_", "-")
    if command == "train" and option in PRETRAINED:
        return "another command: 'saccade transfer SOURCE' begins with pretrained weights"
    for name in OPTIONS.get(option, ()):
        if name in known:
            return name
    if option in SETTINGS and "--set" in known:
        setting = SETTINGS[option]
        return f"--set {setting}={value if re.fullmatch(ALIKE[setting], value, re.ASCII) else 'VALUE'}"
    return ""
