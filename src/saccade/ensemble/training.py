"""Train an ensemble: several runs that differ by their seed alone, then judged together.

Killed anywhere, it goes on where it was: members that are finished stay, the one under way is resumed to the same bits,
and the joint verdict, which is cheap, is made again.
"""

import json
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field

from ..classify.classifier import open_classifier
from ..classify.evaluation import Evaluation
from ..classify.judge import judge
from ..classify.judged_images import JudgedImages
from ..core import atomic, lock
from ..core.agreement import agreed
from ..core.config import FrozenConfig
from ..core.display import Displayed
from ..core.errors import CheckpointError, Stopped, printable
from ..core.ranks import current_ranks
from ..core.runtime import environment, start
from ..runs.ensemble_folder import MAX_MEMBERS, REMEDY, is_finished, member_path, read_plan_settings, refuse_begun
from ..runs.files import refuse_link
from ..runs.names import ENSEMBLE_PLAN, EVALUATION
from ..runs.settings import with_found, write_settings
from ..train.config import RunConfig
from ..train.data_caveats import data_caveats
from ..train.prepare import Images, prepare_images
from ..train.progress import BegunOnce, OneOfSeveral, RunProgress
from ..train.resume_images import as_begun
from ..train.resume_references import resume_command
from ..train.run import compare_processes, held_run, train
from ..train.run_directory import RunFolder, refuse_unregistered
from ..train.scale import keep_threads
from ..train.side_by_side import stopped_together, train_side_by_side
from ..train.together import described_job, refuse_own_folders, write_job
from .distillation import load_teachers, unknown_teachers

JUDGED_ON = {"test": "the images held out", "validation": "the validation images", "train": "the training images"}


Size = Annotated[int, Field(ge=2, le=MAX_MEMBERS)]


class EnsemblePlan(FrozenConfig):
    """What an ensemble is made of."""

    num_members: Size = Field(description="runs that are trained, each with a seed of its own")
    data_digest: str = Field("", description="digest of the images and their split; found when it begins")
    run: RunConfig = Field(description="the first member; the others have the seeds after its own")

    def member_config(self, number: int) -> RunConfig:
        """The configuration of member `number`, counted from 1: its own seed, the split of the first one."""
        seed = self.run.seed if self.run.split.seed < 0 else self.run.split.seed
        values = self.run.model_dump(mode="json") | {"seed": self.run.seed + number - 1}
        values["split"] |= {"seed": seed}
        return RunConfig.parse(values, f"member {number} of the ensemble")


def read_plan(folder: Path) -> EnsemblePlan:
    """What the ensemble in `folder` was begun with. Raises ConfigError, or CheckpointError where it is damaged."""
    path = folder / ENSEMBLE_PLAN
    settings = read_plan_settings(folder)
    refuse_unregistered(settings, path, "run")
    return with_found(EnsemblePlan.parse(settings.values, printable(str(path))), settings, path, REMEDY)


@dataclass(frozen=True, kw_only=True, repr=False)
class EnsembleResult(Displayed):
    """What training an ensemble came to. `seconds` counts this start only."""

    path: Path
    plan: EnsemblePlan
    members: tuple[Path, ...]
    evaluation: Evaluation
    seconds: float

    def display_lines(self) -> list[str]:
        """The verdict of the members together, and where they lie."""
        return [*self.evaluation.display_lines(), f"Ensemble: {printable(str(self.path))}"]

    def as_json(self) -> dict[str, Any]:
        """The object of `train --ensemble N --json`, which also stands in `evaluation.json`."""
        return self.evaluation.as_json() | {
            "run": str(self.path),
            "num_members": self.plan.num_members,
            "seed": self.plan.run.seed,
            "seconds": round(self.seconds, 3),
        }


def train_members(plan: EnsemblePlan, path: Path, resume: bool, progress: RunProgress, command: str) -> EnsembleResult:
    """Train, or go on training, the members of `plan` in `path`, and judge them together.

    Several processes train members side by side, each in one of them, and judge together. Raises what a training
    raises, RunInUseError where another process trains it, and Stopped with the command to go on with the whole
    ensemble.
    """
    started_s = time.monotonic()
    ranks = current_ranks()
    with agreed(ranks):
        lock.refuse_held(path)
        runtime = start(plan.run.runtime)
        images = prepare_images(plan.member_config(1), runtime, progress.note, progress.scan)
        if resume:
            images = as_begun(images, member_path(path, 1), plan.run, plan.data_digest)
    compare_processes(images, runtime, progress.note)
    plan = plan if resume else plan.model_copy(update={"run": keep_threads(plan.run, runtime)})
    with held_run(RunFolder(path=path), ranks):
        refuse_own_folders(ranks, path)
        job = {} if ranks.is_alone else environment(runtime) | described_job(ranks)
        with agreed(ranks):
            plan = _begin(plan, path, resume, images, job)
        members = _train_all(plan, path, images, progress, command)
        evaluation = _judge(plan, members, images)
        result = EnsembleResult(
            path=path, plan=plan, members=members, evaluation=evaluation, seconds=time.monotonic() - started_s
        )
        with agreed(ranks):
            if ranks.is_first:
                atomic.write_text(path / EVALUATION, json.dumps(result.as_json(), allow_nan=False) + "\n")
    return result


def _begin(plan: EnsemblePlan, path: Path, resume: bool, images: Images, job: dict[str, object]) -> EnsemblePlan:
    """Write what the ensemble is made of, or check that the images are still those: the folder is ours now."""
    if resume and plan.data_digest != images.digest() and not images.begun:
        raise CheckpointError(
            f"The images in {printable(plan.run.source)} are not those this ensemble began with.\n"
            f"Put the images back as they were, or start a new ensemble with another --out."
        )
    if resume:
        return plan
    asked, plan = plan, plan.model_copy(update={"data_digest": images.digest()})
    if current_ranks().is_first:
        refuse_begun(path)  # again: another process may have begun one while the images were read
        write_job(path, job)
        write_settings(path / ENSEMBLE_PLAN, asked, plan)
    return plan


def _train_all(plan: EnsemblePlan, path: Path, images: Images, progress: RunProgress, command: str) -> tuple[Path, ...]:
    """Train the members that are not finished, in however many processes there are."""
    members = tuple(member_path(path, number) for number in range(1, plan.num_members + 1))
    ranks, progress = current_ranks(), BegunOnce(progress)

    def train_one(number: int, own: Sequence[int]) -> str:
        progress.note(f"member {number} of {plan.num_members}, seed {plan.member_config(number).seed}")
        watched = OneOfSeveral(progress, own.index(number) + 1, len(own))
        member = members[number - 1]
        stop_exit_code = _train_member(member, plan.member_config(number), images, watched, command)
        if stop_exit_code and (number != own[-1] or not ranks.is_alone):
            raise _stopped(plan.run, member, stop_exit_code)
        return ""

    def is_done(number: int) -> bool:
        refuse_link(members[number - 1], "ensemble")
        return is_finished(members[number - 1])

    try:
        train_side_by_side(ranks, range(1, plan.num_members + 1), is_done, train_one)
    except Stopped as error:
        if error.message:
            raise
        raise stopped_together(plan.run, path, error) from None
    return members


def _train_member(member: Path, config: RunConfig, images: Images, progress: RunProgress, command: str) -> int:
    """Train one member, or go on with it; the exit code of a stop that was asked for after its last step, else 0."""
    folder = RunFolder(path=member)
    folder = RunFolder(path=member, resume=folder.has_run)
    try:
        return train(config, folder, progress, command, images, load_teachers).stop_exit_code
    except Stopped as error:
        raise _stopped(config, member, error.exit_code) from None


def _stopped(config: RunConfig, member: Path, exit_code: int) -> Stopped:
    where = printable(str(member.parent))
    error = Stopped(
        f"Stopped in {member.name}; everything is saved in {where}.\n"
        f"Go on with: {resume_command(config, member.parent)}"
    )
    error.exit_code = exit_code
    return error


def _judge(plan: EnsemblePlan, members: tuple[Path, ...], images: Images) -> Evaluation:
    split = images.split.judged_part
    held_out = JudgedImages(
        source=images.source,
        source_text=plan.run.source,
        index_N=images.split.indices(split),
        judged_on=JUDGED_ON[split],
        caveats=(*data_caveats(images, split), *unknown_teachers(plan.run)),
        copied_N=images.split.copied_N,
        kind="training" if split == "train" else "held-out",
    )
    started_s = time.monotonic()
    return judge(open_classifier(members, plan.run.runtime), members, held_out, started_s)
