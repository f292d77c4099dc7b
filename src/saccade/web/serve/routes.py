"""The routes of our own: one image to an answer, what is served, whether it is alive and ready, and its counts."""

import time
from collections.abc import Callable
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Route

from ...core.plain_numbers import whole_number
from ...core.types import Prediction
from ...ship.engine import Network, ServedModel
from ..body import image_in, refuse_media_type
from ..refusal import Reason, wrong_field
from .metrics import MEDIA_TYPE
from .service import Answered, Service, answer_encoded

TOP = 5  # classes in an answer, where nothing else is asked


def own_routes(service: Service) -> list[BaseRoute]:
    """All of them."""

    async def predict(request: Request) -> Response:
        query = {name: request.query_params.get(name) for name in ("top", "model")}
        refuse_media_type(request.headers)
        _number(query["top"])
        if query["model"] is not None:
            service.model(query["model"])
        headers = request.headers

        def find(content: bytes) -> tuple[ServedModel, Callable[[], Answered]]:
            image, fields = image_in(content, headers)
            query.update({name: fields[name] for name in query if query[name] is None and name in fields})
            _number(query["top"])
            model = service.model(query["model"])
            return model, lambda: answer_encoded(model, [image], time.perf_counter)

        model, answered, waited_s = await service.answer(request, find)
        return JSONResponse(_answer(model, answered, waited_s, _number(query["top"])))

    async def models(request: Request) -> Response:
        return JSONResponse({"models": [describe(model) for model in service.models.values()]})

    async def model(request: Request) -> Response:
        return JSONResponse(describe(service.model(request.path_params["name"])))

    async def healthz(request: Request) -> Response:
        return JSONResponse({"status": "alive"})

    async def readyz(request: Request) -> Response:
        if service.workers.is_draining:
            return Reason(503, "draining", "The server is about to end.", "Ask another one.").response("")
        return JSONResponse({"status": "ready"})

    async def metrics(request: Request) -> Response:
        text = service.metrics.text(service.workers.inside, service.workers.limit)
        return Response(text, media_type=MEDIA_TYPE)

    return [
        Route("/api/v1/predict", predict, methods=["POST"]),
        Route("/api/v1/models", models, methods=["GET"]),
        Route("/api/v1/models/{name}", model, methods=["GET"]),
        Route("/healthz", healthz, methods=["GET"]),
        Route("/readyz", readyz, methods=["GET"]),
        Route("/metrics", metrics, methods=["GET"]),
    ]


def describe(model: ServedModel) -> dict[str, Any]:
    """What a model says of itself. Of several networks, each has figures of its own, and all of them none."""
    networks = [
        {
            "digest": network.digest,
            "model": network.bundle.model,
            "preprocessing": network.bundle.preprocessing.model_dump(mode="json"),
            "metrics": network.bundle.metrics,
            "weights_sha256": network.bundle.provenance.get("weights_sha256"),
            "unlike_training": _unlike_json(network),
        }
        for network in model.networks
    ]
    first = networks[0] if len(networks) == 1 else {}
    return {
        "name": model.name,
        "digest": model.digest,
        "task": model.task.kind,
        "classes": list(model.classes),
        "preprocessing": first.get("preprocessing"),
        "metrics": first.get("metrics"),
        **({"half_width": model.task.half_width or None} if model.task.is_number else {}),
        "tells_unlike_training": model.tells_unlike,
        "networks": networks,
    }


def _unlike_json(network: Network) -> dict[str, float] | None:
    known = network.unlike_training
    return {"threshold": known.threshold, "share": known.share} if known else None


def _answer(model: ServedModel, answered: Answered, waited_s: float, top: int) -> dict[str, Any]:
    probability_K, unlike_N = answered.said.probability_NK[0], answered.said.unlike_N
    value, interval = model.task.number_of(probability_K)
    prediction = Prediction(
        key="",
        classes=model.classes,
        probabilities=() if value is not None else tuple(probability_K.tolist()),
        latency_ms=0.0,
        unlike_training=None if unlike_N is None else bool(unlike_N[0]),
        value=value,
        interval=interval,
        grade=model.task.grade_of(probability_K, model.classes),
    )
    labels = model.task.labels_of(probability_K, model.classes)
    return {
        "model": model.name,
        "digest": model.digest,
        **prediction.said_json(top),
        **({} if labels is None else {"labels": list(labels)}),
        "seconds": {name: round(value, 6) for name, value in {"wait": waited_s, **answered.seconds}.items()},
        "rotated": answered.rotated,
        "notes": list(answered.notes),
    }


def _number(text: str | None) -> int:
    """How many classes are asked for. Raises Refusal."""
    if text is None:
        return TOP
    found = whole_number(text)
    if not found:
        raise wrong_field("top must be a whole number from 1 on.", "Leave it out for 5.")
    return found
