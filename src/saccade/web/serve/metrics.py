"""What the server has done, as OpenMetrics text. Everything is counted on the event loop, so nothing is locked."""

from collections import Counter
from collections.abc import Mapping

MEDIA_TYPE = "application/openmetrics-text; version=1.0.0; charset=utf-8"
STAGES = ("wait", "decode", "prepare", "infer")


class Metrics:
    """Counts since the start."""

    def __init__(self) -> None:
        self.requests: Counter[tuple[str, int]] = Counter()  # by route and status
        self.answers: Counter[str] = Counter()  # requests that were answered, by model
        self.images: Counter[str] = Counter()  # in them
        self.failed: Counter[str] = Counter()  # requests of the Open Inference Protocol that were not, by model
        self.seconds: dict[str, Counter[str]] = {}  # by model, then by stage

    def answered(self, model: str, seconds: Mapping[str, float], num_images: int) -> None:
        """Count a request that was answered."""
        self.answers[model] += 1
        self.images[model] += num_images
        self.seconds.setdefault(model, Counter()).update(seconds)

    def text(self, inside: int, limit: int) -> str:
        """All of it, with how many requests are inside now and how many may be."""
        lines = ["# TYPE saccade_requests counter", "# HELP saccade_requests Requests by route and status."]
        lines += [
            f'saccade_requests_total{{route="{_label(route)}",status="{status}"}} {number}'
            for (route, status), number in sorted(self.requests.items())
        ]
        refused = sum(number for (_, status), number in self.requests.items() if status == 503)
        lines += ["# TYPE saccade_refused counter", "# HELP saccade_refused Requests answered 503."]
        lines += [f"saccade_refused_total {refused}"]
        lines += ["# TYPE saccade_images counter", "# HELP saccade_images Images answered, by model."]
        lines += [f'saccade_images_total{{model="{_label(name)}"}} {n}' for name, n in sorted(self.images.items())]
        lines += ["# TYPE saccade_stage_seconds counter", "# UNIT saccade_stage_seconds seconds"]
        lines += ["# HELP saccade_stage_seconds Time of answered requests by stage."]
        lines += [
            f'saccade_stage_seconds_total{{model="{_label(name)}",stage="{stage}"}} {stages[stage]:.6f}'
            for name, stages in sorted(self.seconds.items())
            for stage in STAGES
        ]
        lines += ["# TYPE saccade_inside gauge", "# HELP saccade_inside Requests waiting or running."]
        lines += [f"saccade_inside {inside}"]
        lines += ["# TYPE saccade_queue_limit gauge", "# HELP saccade_queue_limit Requests that may be inside."]
        lines += [f"saccade_queue_limit {limit}", "# EOF", ""]
        return "\n".join(lines)


def _label(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
