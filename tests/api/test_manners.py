"""A library with manners: every verb leaves its process as it found it, whatever happens in it."""

import inspect
import json
import os
import signal
import subprocess
import sys
import threading
import warnings
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch
from tests.processes import PATIENCE_S, run_python

from saccade import api
from saccade.core.host_process import scoped_runtime
from saccade.core.runtime import RuntimeConfig, seeded, start
from saccade.data.sources.digits import Digits

HOST = Path(__file__).parent / "host.py"
SETTINGS = {"batch_size": 64, "runtime": {"num_threads": 1, "precision": "float32"}}
VERBS = {name for name in api.__all__ if inspect.isfunction(getattr(api, name))}


@pytest.fixture(scope="module")
def host(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, dict[str, list[str]]]]:
    """A folder, and what was changed in a process that is not ours: by the import and, by kind of path, by each verb.
    What it wrote lies in `str` and `pathlike`."""
    folder = tmp_path_factory.mktemp("host")
    environment = {name: value for name, value in os.environ.items() if name != "LD_LIBRARY_PATH"}
    command = [sys.executable, "-W", "ignore", str(HOST), str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE_S, env=environment)
    assert done.returncode == 0, done.stderr
    return folder, json.loads(done.stdout)


@pytest.fixture(scope="module")
def small() -> tuple[np.ndarray, np.ndarray]:
    """(image_NHW, label_N) of 300 digits."""
    digits = Digits()
    images = np.stack([digits.read(index) for index in range(300)])
    return images, np.array([digits.record(index).label for index in range(300)])


def weights(run: Path) -> bytes:
    return (run / "checkpoint-best" / "weights.safetensors").read_bytes()


def test_the_import_and_every_verb_leave_their_process_as_it_was_and_take_paths_as_text(host: tuple[Path, dict]):
    _, told = host
    assert told["import"] == {"import": []}
    assert told["str"] == {name: [] for name in VERBS}


def test_every_verb_takes_paths_that_are_neither_text_nor_path(host: tuple[Path, dict]):
    _, told = host
    assert told["pathlike"] == {name: [] for name in VERBS}


def test_what_a_host_has_set_changes_no_bit_of_a_run(host: tuple[Path, dict], tmp_path: Path):
    folder = host[0] / "str"
    request = api.TrainRequest(source=folder / "photos", epochs=1, settings=SETTINGS, out=tmp_path / "run")
    assert weights(api.train(request).run_dir) == weights(folder / "run")


def test_a_run_that_was_stopped_and_resumed_in_a_host_has_the_bits_of_one_that_was_not(host: tuple[Path, dict]):
    folder = host[0] / "str"
    assert weights(folder / "stops") == weights(folder / "run")


def facts() -> list[object]:
    return [
        torch.get_num_threads(),
        torch.are_deterministic_algorithms_enabled(),
        torch.utils.deterministic.fill_uninitialized_memory,
        torch.backends.cudnn.allow_tf32,
        [repr(entry) for entry in warnings.filters],
        dict(os.environ),
        torch.get_rng_state().tolist(),
        signal.getsignal(signal.SIGINT),
    ]


def change() -> None:
    start(RuntimeConfig(device="cpu", num_threads=1))
    torch.manual_seed(5)
    os.environ["SACCADE_TEST"] = "1"


def test_scopes_inside_each_other_give_back_what_each_found():
    torch.set_num_threads(2)
    outside = facts()
    with scoped_runtime():
        change()
        between = facts()
        with scoped_runtime():
            torch.set_num_threads(2)
            torch.use_deterministic_algorithms(False)
            torch.rand(3)
            os.environ.pop("SACCADE_TEST")
        assert facts() == between
    assert facts() == outside


def test_scopes_that_overlap_on_two_threads_give_back_what_the_first_found():
    """The one that began first ends first: what it found is left to the other."""
    torch.set_num_threads(2)
    outside = facts()
    has_begun, may_end = threading.Event(), threading.Event()

    def other() -> None:
        with scoped_runtime():
            change()
            has_begun.set()
            may_end.wait(60)

    thread = threading.Thread(target=other)
    with scoped_runtime():
        change()
        thread.start()
        assert has_begun.wait(60)
    assert torch.are_deterministic_algorithms_enabled()  # the other one still computes
    may_end.set()
    thread.join()
    assert facts() == outside


def test_what_two_threads_draw_is_what_each_draws_alone():
    def draws(seed: int) -> list[float]:
        with scoped_runtime(), seeded(seed):
            return [torch.rand(()).item() for _ in range(3000)]

    alone = [draws(seed) for seed in (1, 2)]
    interval_s = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        with ThreadPoolExecutor(2) as pool:
            assert list(pool.map(draws, (1, 2))) == alone
    finally:
        sys.setswitchinterval(interval_s)


def test_a_verb_that_ends_on_another_thread_does_not_turn_back_the_draws_of_a_training():
    has_begun, may_end = threading.Event(), threading.Event()

    def other() -> None:
        with scoped_runtime():
            has_begun.set()
            may_end.wait(60)

    before = torch.get_rng_state()
    with scoped_runtime():
        thread = threading.Thread(target=other)
        thread.start()
        assert has_begun.wait(60)
        with seeded(3):
            alone = torch.rand(4).tolist()
        with seeded(3):
            first = torch.rand(2).tolist()
            may_end.set()
            thread.join()
            assert first + torch.rand(2).tolist() == alone
    assert torch.equal(torch.get_rng_state(), before)


def test_tf32_that_was_chosen_the_newer_way_is_put_back():
    code = """
import torch
from saccade.core.runtime import RuntimeConfig, start
from saccade.core.host_process import scoped_runtime
cudnn = torch.backends.cudnn
cudnn.conv.fp32_precision, cudnn.rnn.fp32_precision = "ieee", "tf32"
with scoped_runtime():
    start(RuntimeConfig(device="cpu"))
    assert cudnn.conv.fp32_precision != "tf32" and cudnn.rnn.fp32_precision != "tf32"
assert (cudnn.conv.fp32_precision, cudnn.rnn.fp32_precision) == ("ieee", "tf32")
"""
    done = run_python(["-c", code], Path.cwd())
    assert done.returncode == 0, done.stderr


def test_a_verb_called_in_the_middle_of_a_training_changes_nothing_of_it(
    small: tuple[np.ndarray, np.ndarray], tmp_path: Path
):
    class Curious(api.Silent):
        """Who asks another run in the middle of each step."""

        def step(self, epoch: int, batch: int, num_batches: int, means: object) -> None:
            before = facts()
            list(api.predict(tmp_path / "plain", [small[0][0]]))
            assert facts() == before

    settings = {**SETTINGS, "augment": {"shift": {"max_px": 2}}}
    plain = api.TrainRequest(source=small, epochs=1, settings=settings, out=tmp_path / "plain")
    api.train(plain)
    api.train(api.TrainRequest(source=small, epochs=1, settings=settings, out=tmp_path / "watched"), Curious())
    assert weights(tmp_path / "plain") == weights(tmp_path / "watched")


def test_a_training_on_another_thread_is_stopped_by_request_stop(small: tuple[np.ndarray, np.ndarray], tmp_path: Path):
    told: list[object] = []
    is_training = threading.Event()

    class Watch(api.Silent):
        def step(self, epoch: int, batch: int, num_batches: int, means: object) -> None:
            is_training.set()

    def work() -> None:
        before = torch.get_num_threads(), signal.getsignal(signal.SIGINT)
        try:
            api.train(api.TrainRequest(source=small, epochs=10_000, settings=SETTINGS, out=tmp_path / "run"), Watch())
        except api.Stopped as error:
            told.append(error.message)
        told.append(before == (torch.get_num_threads(), signal.getsignal(signal.SIGINT)))

    thread = threading.Thread(target=work)
    thread.start()
    assert is_training.wait(120)
    api.request_stop()
    thread.join(120)
    run = tmp_path / "run"
    assert told == [f"Stopped; everything is saved in {run}.\nGo on with: saccade train --resume --out {run}", True]


def test_a_signal_handler_from_outside_python_keeps_its_signal(monkeypatch: pytest.MonkeyPatch):
    from saccade.train.stop import StopSignal

    kept = signal.getsignal(signal.SIGTERM)
    real = signal.getsignal
    monkeypatch.setattr(signal, "getsignal", lambda number: None if number == signal.SIGINT else real(number))
    taken: list[int] = []
    put = signal.signal
    monkeypatch.setattr(signal, "signal", lambda number, handler: taken.append(number) or put(number, handler))
    with StopSignal():
        pass
    assert set(taken) == {signal.SIGTERM}
    assert real(signal.SIGTERM) is kept


def test_answers_between_which_the_host_changes_its_mind_are_the_same(
    small: tuple[np.ndarray, np.ndarray], tmp_path: Path
):
    run = api.train(api.TrainRequest(source=small, epochs=1, settings=SETTINGS, out=tmp_path / "run")).run_dir
    expected = [answer.logits for answer in api.predict(run, small[0][:70])]
    answers, found = api.predict(run, small[0][:70]), []
    for number, answer in enumerate(answers):
        found.append(answer.logits)
        torch.use_deterministic_algorithms(number % 2 == 0)
        torch.set_num_threads(1 + number % 2)
    torch.use_deterministic_algorithms(False)
    assert found == expected
    abandoned = api.predict(run, small[0])
    next(abandoned)
    before = facts()
    del abandoned
    assert facts() == before
