"""What was measured before a stop: every finished fit of the ladder is kept in the run as soon as it is there."""

import hashlib
import json
from pathlib import Path

import numpy as np

from ..core import atomic
from ..core.agreement import agreed, from_first
from ..core.ranks import ALONE, Ranks
from ..runs.measured import MeasuredFit, MeasuredFits, read_measured
from ..runs.names import MEASURED
from ..train.config import RunConfig
from .evidence import Answers


class Measurements:
    """Finished fits by name, in `run_dir`. Those of other images or another configuration are not found. All processes
    of a run know them; the first reads and writes."""

    def __init__(self, run_dir: Path, config: RunConfig, data_digest: str, ranks: Ranks = ALONE) -> None:
        self.path, self._ranks = run_dir / MEASURED, ranks
        key = hashlib.sha256(f"{data_digest} {config.digest()}".encode()).hexdigest()

        def read() -> bytes:
            found = read_measured(run_dir)
            known = found if found is not None and found.key == key else MeasuredFits(key=key, fits={})
            return known.model_dump_json().encode()

        self.known = MeasuredFits.model_validate_json(from_first(ranks, read))

    def find(self, name: str, num_judged: int) -> Answers | None:
        """What the fit `name` came to on `num_judged` images, if it was finished."""
        fit = self.known.fits.get(name)
        if fit is None or fit.num_judged != num_judged or len(fit.right) != 2 * -(-num_judged // 8):
            return None
        bits_M = np.unpackbits(np.frombuffer(bytes.fromhex(fit.right), np.uint8), count=fit.num_judged)
        return Answers(right_M=bits_M.astype(bool), seconds=fit.seconds, num_parameters=fit.num_parameters)

    def keep(self, name: str, answers: Answers) -> None:
        """Write what the fit `name` came to. Raises StorageError."""
        fit = MeasuredFit(
            right=np.packbits(answers.right_M).tobytes().hex(),
            num_judged=len(answers.right_M),
            seconds=round(answers.seconds, 3),
            num_parameters=answers.num_parameters,
        )
        self.known = self.known.model_copy(update={"fits": {**self.known.fits, name: fit}})
        with agreed(self._ranks):
            if self._ranks.is_first:
                atomic.write_text(self.path, json.dumps(self.known.model_dump(mode="json"), indent=1) + "\n")
