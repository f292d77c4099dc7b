"""What every route asks of: the models by name, the workers, the memory of bodies, and the counts."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
from starlette.requests import Request

from ...core.errors import ImageError, ModelError, brief
from ...ship.engine import Said, Seen, ServedModel
from ..body import BodyMemory, read_body
from ..limits import BodyLimits
from ..refusal import Reason, Refusal, wrong_field
from ..workers import Workers
from .metrics import Metrics


@dataclass(frozen=True, kw_only=True)
class Answered:
    """What a model says of N images, and the seconds of each stage but the waiting, which the workers count."""

    said: Said
    seconds: dict[str, float]
    rotated: bool = False
    notes: tuple[str, ...] = ()


@dataclass(kw_only=True)
class Service:
    """All that a server has."""

    models: dict[str, ServedModel]
    workers: Workers
    limits: BodyLimits = field(default_factory=BodyLimits)
    metrics: Metrics = field(default_factory=Metrics)

    def __post_init__(self) -> None:
        self.memory = BodyMemory(self.limits)

    def model(self, name: str | None) -> ServedModel:
        """The model `name`, or the only one. Raises Refusal."""
        if name is None:
            if len(self.models) > 1:
                raise wrong_field("This server has several models; the request names none.", self._names())
            return next(iter(self.models.values()))
        if name not in self.models:
            raise Refusal(Reason(404, "no_such_model", f"There is no model '{brief(name, 64)}'.", self._names()))
        return self.models[name]

    async def answer(
        self, request: Request, find: Callable[[bytes], tuple[ServedModel, Callable[[], Answered]]]
    ) -> tuple[ServedModel, Answered, float]:
        """Read the body, and let a worker do what `find` makes of it: (model, answer, seconds waited). Raises Refusal.

        `find` runs on the worker, too: a body is parsed where it holds nobody up.
        """
        self.workers.refuse_when_busy()
        with self.memory.holding() as held:
            content = await read_body(request, held, self.limits)
            (model, answered), waited_s = await self.workers.run(lambda: _found(find, content), request.receive)
        seconds = {"wait": waited_s, **answered.seconds}
        self.metrics.answered(model.name, seconds, len(answered.said.probability_NK))
        return model, answered, waited_s

    def _names(self) -> str:
        return f"Name one of: {', '.join(self.models)}."


def _found(
    find: Callable[[bytes], tuple[ServedModel, Callable[[], Answered]]], content: bytes
) -> tuple[ServedModel, Answered]:
    model, work = find(content)
    try:
        return model, work()
    except ImageError as error:
        raise Refusal(Reason(422, "bad_image", _sentence(error.reason), "Send another image.")) from None
    except ModelError:
        raise Refusal(Reason(500, "not_finite", "The model gives values that are not finite for this image.")) from None


def _sentence(reason: str) -> str:
    return brief(reason[:1].upper() + reason[1:], 500)


def answer_encoded(model: ServedModel, contents: Sequence[bytes], clock: Callable[[], float]) -> Answered:
    """The answer to encoded images, one after the other. Raises ImageError."""
    seconds = {"decode": 0.0, "prepare": 0.0, "infer": 0.0}
    found: list[Said] = []
    seen: list[Seen] = []
    for content in contents:
        seen.append(model.see(content))
        start = clock()
        found.append(model.answer(seen[-1].prepared))
        seconds["infer"] += clock() - start
        seconds["decode"] += seen[-1].decode_s
        seconds["prepare"] += seen[-1].prepare_s
        seen[-1].prepared.clear()
    return Answered(
        said=Said(
            np.concatenate([said.logits_NK for said in found]),
            np.concatenate([said.probability_NK for said in found]),
            np.concatenate([said.unlike_N for said in found if said.unlike_N is not None])
            if model.tells_unlike
            else None,
        ),
        seconds=seconds,
        rotated=any(image.rotated for image in seen),
        notes=tuple(note for image in seen for note in image.notes),
    )
