"""MLflow: a run in the experiment "saccade", or the one of MLFLOW_EXPERIMENT_NAME, at MLFLOW_TRACKING_URI."""

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from .tracker import PROJECT, TrackedRun, Tracker

TAG = "saccade.run"
MAX_PARAMETER = 500  # characters of a value
RETRIES, MAX_RETRIES = "MLFLOW_HTTP_REQUEST_MAX_RETRIES", "2"  # its own 7 take four minutes, and a training waits


def open_tracker(run: TrackedRun) -> Tracker:
    """The run of the same key where there is one, else a new one."""
    from mlflow import MlflowClient
    from mlflow.entities import Param

    with _few_retries():
        return _opened(MlflowClient(), Param, run)


def _opened(client: Any, parameter: Any, run: TrackedRun) -> Tracker:
    name = os.environ.get("MLFLOW_EXPERIMENT_NAME", PROJECT)
    experiment = client.get_experiment_by_name(name)
    identifier = experiment.experiment_id if experiment is not None else client.create_experiment(name)
    found = client.search_runs([identifier], f"tags.`{TAG}` = '{run.key}'", max_results=1)
    if found:
        client.update_run(found[0].info.run_id, status="RUNNING")
        return _MLflow(client, found[0].info.run_id)
    begun = client.create_run(identifier, run_name=run.name, tags={TAG: run.key})
    parameters = [parameter(key, str(value)[:MAX_PARAMETER]) for key, value in run.settings.items()]
    client.log_batch(begun.info.run_id, params=parameters[:100])
    return _MLflow(client, begun.info.run_id)


@contextmanager
def _few_retries() -> Iterator[None]:
    """A server that does not answer is given up within seconds, unless the environment says how often it is asked."""
    if RETRIES in os.environ:
        yield
        return
    os.environ[RETRIES] = MAX_RETRIES
    try:
        yield
    finally:
        os.environ.pop(RETRIES, None)


class _MLflow:
    def __init__(self, client: Any, run_id: str) -> None:
        self._client, self._run_id = client, run_id

    def log(self, values: Mapping[str, float], step: int) -> None:
        """A point of each metric."""
        with _few_retries():
            for key, value in values.items():
                self._client.log_metric(self._run_id, key, value, step=step)

    def close(self, verdict: Mapping[str, float]) -> None:
        """The verdict as metrics; without one the run was stopped."""
        with _few_retries():
            for key, value in verdict.items():
                self._client.log_metric(self._run_id, key, value)
            self._client.set_terminated(self._run_id, "FINISHED" if verdict else "KILLED")
