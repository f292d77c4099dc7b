"""Which units of work are one process's: every N-th, counted from K. Nobody leads, and nobody waits for another."""

import re
from collections.abc import Mapping
from dataclasses import dataclass

from ..core.errors import UsageError, brief

ENVIRONMENT = "env"
SHARE = re.compile(r"([0-9]{1,9})/([0-9]{1,9})")
NUMBER = re.compile(r"[0-9]{1,9}")


@dataclass(frozen=True, kw_only=True)
class UnitShare:
    """Part `number` (from 0) of `of` equal parts."""

    number: int = 0
    of: int = 1

    def units(self, num_units: int) -> range:
        """The units of this part. Those of all parts together are each unit once."""
        return range(self.number, num_units, self.of)


def parse_share(text: str, environment: Mapping[str, str]) -> UnitShare:
    """The part that `text` names: K/N, everything where it is empty, or with `env` what the launcher's variables say.

    These are RANK and WORLD_SIZE (torchrun and what speaks its language), else those of a Slurm array; nothing is read
    from them unless `env` asks for it. Raises UsageError.
    """
    if not text:
        return UnitShare()
    if text == ENVIRONMENT:
        return _share_of_environment(environment)
    found = SHARE.fullmatch(text)
    if found is None or not int(found[1]) < int(found[2]):
        raise UsageError(
            f"--unit-of takes K/N, K from 0 to N - 1, or env; got '{brief(text, 80)}'.\n"
            f"The first of four processes takes --unit-of 0/4, the last --unit-of 3/4."
        )
    return UnitShare(number=int(found[1]), of=int(found[2]))


def _share_of_environment(environment: Mapping[str, str]) -> UnitShare:
    if "RANK" in environment and "WORLD_SIZE" in environment:
        return _checked(
            _number("RANK", environment), _number("WORLD_SIZE", environment), "the pair RANK and WORLD_SIZE"
        )
    if "SLURM_ARRAY_TASK_ID" in environment:
        place = _number("SLURM_ARRAY_TASK_ID", environment) - _number("SLURM_ARRAY_TASK_MIN", environment)
        step = max(1, _number("SLURM_ARRAY_TASK_STEP", {"SLURM_ARRAY_TASK_STEP": "1", **environment}))
        count = _number("SLURM_ARRAY_TASK_COUNT", environment)
        return _checked(place // step if place % step == 0 else count, count, "the Slurm array")
    if "JOB_COMPLETION_INDEX" in environment:
        raise UsageError(
            "--unit-of env: Kubernetes sets JOB_COMPLETION_INDEX, but not how many pods there are.\n"
            "Write both into the pod's arguments, for 8 completions: --unit-of $(JOB_COMPLETION_INDEX)/8"
        )
    raise UsageError(
        "--unit-of env: neither RANK and WORLD_SIZE (torchrun) nor SLURM_ARRAY_TASK_ID (a Slurm array) is set here.\n"
        "Give the part of this process: --unit-of K/N, K from 0 to N - 1."
    )


def _number(name: str, environment: Mapping[str, str]) -> int:
    text = environment.get(name, "")
    if NUMBER.fullmatch(text) is None:
        raise UsageError(
            f"--unit-of env: {name} is not a number: '{brief(text, 80)}'.\n"
            f"Give the part of this process: --unit-of K/N, K from 0 to N - 1."
        )
    return int(text)


def _checked(number: int, of: int, names: str) -> UnitShare:
    if not 0 <= number < of:
        raise UsageError(
            f"--unit-of env: {names} gives K = {number} and N = {of}, which is not a part of a whole.\n"
            f"Number an array evenly, as in --array=0-7; or give the part: --unit-of K/N, K from 0 to N - 1."
        )
    return UnitShare(number=number, of=of)
