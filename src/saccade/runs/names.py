"""The files of a run directory: their names and the most bytes that are read of each.

run/
  config.toml             what was asked, where it differs from the defaults; it says that the run has begun
  found.json              what was found for it when the run began
  environment.json        versions and machine
  data.json               images by class and split
  measured.json           what was measured until now to choose the depth (transfer only)
  transfer.json           where fine-tuning starts (transfer only)
  metrics.jsonl           one line an event
  seen.safetensors        digests of the images that training saw
  added.json              where the images lie that add-class joined (add-class only)
  checkpoint-last/        manifest.json, weights.safetensors, state.safetensors
  checkpoint-best/        manifest.json, weights.safetensors, validation.safetensors, novelty.safetensors
  checkpoint-start/       manifest.json, weights.safetensors before fine-tuning (transfer only)
  evaluation.json         the verdict
  evaluation.safetensors  the outputs it was counted from
  marks.json              what a person said of judged images in the studio
  pictures.safetensors    the judged images that the report shows, small
  served/                 exports that servers read, by the digest of their weights
  report.html, ladder.svg, backbones.svg  for people; never read
run/ of a training with folds, besides
  folds/folds.toml        what was asked, and found.json
  folds/fold-1/, fold-2/  runs, each judged on images that it has not seen
  folds.json              what the folds gave
ensemble/
  ensemble.toml           what was asked, and found.json
  member-1/, member-2/    runs
  evaluation.json         the joint verdict; never read
"""

CONFIG = "config.toml"
FOUND = "found.json"
ENVIRONMENT = "environment.json"
DATA = "data.json"
MEASURED = "measured.json"
TRANSFER = "transfer.json"
METRICS_LOG = "metrics.jsonl"
SEEN = "seen.safetensors"
ADDED = "added.json"
EVALUATION = "evaluation.json"
EVALUATION_TENSORS = "evaluation.safetensors"
PICTURES = "pictures.safetensors"
MARKS = "marks.json"
REPORT = "report.html"
LADDER_PICTURE = "ladder.svg"
BACKBONE_PICTURE = "backbones.svg"

LAST, BEST, START = "checkpoint-last", "checkpoint-best", "checkpoint-start"
MANIFEST, WEIGHTS, STATE = "manifest.json", "weights.safetensors", "state.safetensors"
VALIDATION = "validation.safetensors"  # what the kept weights say of the validation images
BUNDLE = "saccade.json"  # of an export
SERVED = "served"  # of a run: exports that servers read, by the digest of their weights
NOVELTY = "novelty.safetensors"  # by what an image is known that is unlike those of training

UNLIKE_UNKNOWN = "unlike_training_unknown"  # key of metrics: why no image is told to be unlike those of training

ENSEMBLE_PLAN = "ensemble.toml"
FOLDS, FOLDS_PLAN, FOLDS_VERDICT = "folds", "folds.toml", "folds.json"

KB, MB, GB = 1 << 10, 1 << 20, 1 << 30
LIMIT_BYTES = {
    CONFIG: 256 * KB,  # 15 teachers with paths of 4,096 bytes fit three times
    ENSEMBLE_PLAN: 256 * KB,
    FOLDS_PLAN: 256 * KB,
    FOLDS_VERDICT: 1 * MB,
    FOUND: 1 * MB,
    ENVIRONMENT: 1 * MB,
    DATA: 128 * MB,  # 100,000 classes of 256 characters, and files that were left out
    MEASURED: 16 * MB,
    TRANSFER: 4 * MB,
    ADDED: 4 * MB,
    METRICS_LOG: 256 * MB,  # 100,000 epochs fit five times
    MANIFEST: 64 * MB,  # 100,000 classes of 256 characters fit twice
    EVALUATION: 256 * MB,  # names of a million judged images
    EVALUATION_TENSORS: 8 * GB,  # a million images of 1,000 classes fit twice
    SEEN: 1 * GB,  # 33 million images
    PICTURES: 32 * MB,
    MARKS: 64 * MB,
    WEIGHTS: 8 * GB,  # the largest network here has 0.6 GB
    STATE: 24 * GB,
    VALIDATION: 1 * GB,  # a quarter of a million images of 1,000 classes
    NOVELTY: 64 * MB,
    BUNDLE: 64 * MB,  # as the manifest
}
MAX_LINE_BYTES = 64 * KB  # of metrics.jsonl


def member_name(number: int) -> str:
    """The folder of an ensemble's member, counted from 1."""
    return f"member-{number}"


def fold_name(number: int) -> str:
    """The folder of the run that is judged on a fold, counted from 1."""
    return f"fold-{number}"
