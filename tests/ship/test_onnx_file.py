"""What torch leaves in the process that exports."""

import io

import pytest

from saccade.ship.onnx_file import without_bar_threads


def test_a_bar_leaves_no_thread_no_lock_and_no_way_to_start_processes(monkeypatch: pytest.MonkeyPatch):
    bar = pytest.importorskip("tqdm").tqdm
    monkeypatch.setattr(bar, "monitor", None)
    monkeypatch.delattr(bar, "_lock", raising=False)
    monkeypatch.setattr("multiprocessing.RLock", lambda: pytest.fail("a lock for several processes was made"))
    interval_s = bar.monitor_interval
    assert interval_s > 0
    with without_bar_threads():
        assert list(bar(range(3), file=io.StringIO())) == [0, 1, 2]
    assert bar.monitor is None
    assert not hasattr(bar, "_lock")
    assert bar.monitor_interval == interval_s
