"""Private torch calls stand behind one adapter, which exists in this torch."""

import re
from pathlib import Path

import torch

import saccade
from saccade.core import torch_private

PACKAGE = Path(saccade.__file__).parent
PRIVATE = re.compile(r"\btorch(\.[a-z]+)*\._[A-Za-z]|from torch[.\w]*\._|from torch[.\w]* import _|\btorch\.ops\.")


def test_nothing_private_is_called_elsewhere():
    adapters = {"torch_private.py", "torch_tracing.py"}
    found = [
        f"{path.relative_to(PACKAGE)}:{number}"
        for path in sorted(PACKAGE.rglob("*.py"))
        if path.name not in adapters
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1)
        if PRIVATE.search(line)
    ]
    assert found == []


def test_the_pattern_finds_what_it_looks_for():
    for line in (
        "torch._foreach_add(x, y)",
        "torch.cpu._is_amx_tile_supported()",
        "torch.ops.aten.convolution_backward",
    ):
        assert PRIVATE.search(line)
    assert PRIVATE.search("from torch._subclasses.fake_tensor import FakeTensorMode")
    assert not PRIVATE.search("torch.nn.functional.conv2d(x, w)")


def test_the_kernels_do_what_torch_documents():
    draw = torch.Generator().manual_seed(0)
    left, right = ([torch.randn(3, 4, generator=draw) for _ in range(3)] for _ in range(2))
    for got, a, b in zip(torch_private.foreach_add(left, right, alpha=0.5), left, right, strict=True):
        torch.testing.assert_close(got, a + 0.5 * b)
    for got, a, b in zip(torch_private.foreach_lerp(left, right, 0.25), left, right, strict=True):
        torch.testing.assert_close(got, torch.lerp(a, b, 0.25))
    targets = [torch.empty(3, 4) for _ in left]
    torch_private.foreach_copy_(targets, left)
    assert all(torch.equal(target, source) for target, source in zip(targets, left, strict=True))


def test_the_switch_is_torchs_own():
    before = torch.are_deterministic_algorithms_enabled(), torch.is_deterministic_algorithms_warn_only_enabled()
    try:
        torch_private.set_deterministic(True, warn_only=True)
        assert torch.are_deterministic_algorithms_enabled()
        assert torch.is_deterministic_algorithms_warn_only_enabled()
    finally:
        torch_private.set_deterministic(*before)


def test_the_suite_has_passed_with_this_torch():
    release = torch.__version__.partition("+")[0]
    assert release in torch_private.TRIED_WITH, f"torch {release} is new: run the whole suite with it, then add it"
