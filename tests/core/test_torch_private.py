"""Private torch calls stand behind one adapter, which exists in this torch."""

import ast
from pathlib import Path

import pytest
import torch

import saccade
from saccade.core import torch_private

PACKAGE = Path(saccade.__file__).parent
ADAPTER = PACKAGE / "core" / "torch_private"


def private_uses(code: str) -> list[int]:
    """Lines that name something of torch that begins with an underscore, or an operator of its registry."""
    tree = ast.parse(code)
    ours: set[str] = set()  # names that stand for torch or a part of it
    lines: list[int] = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            parts = [alias for alias in node.names if alias.name.partition(".")[0] == "torch"]
            ours |= {alias.asname or "torch" for alias in parts}
            lines += [node.lineno for alias in parts if "._" in alias.name]
        elif isinstance(node, ast.ImportFrom) and not node.level and (node.module or "").partition(".")[0] == "torch":
            ours |= {alias.asname or alias.name for alias in node.names}
            names = [node.module or "", *(alias.name for alias in node.names)]
            lines += [node.lineno for name in names if name.startswith("_") or "._" in name]
    for node in ast.walk(tree):
        if not isinstance(node, ast.Attribute):
            continue
        parts, inner = [node.attr], node.value
        while isinstance(inner, ast.Attribute):
            parts.append(inner.attr)
            inner = inner.value
        is_private = node.attr.startswith("_") and not node.attr.startswith("__")
        if isinstance(inner, ast.Name) and inner.id in ours and (is_private or node.attr == "ops"):
            lines.append(node.lineno)
    return lines


def test_nothing_private_is_called_elsewhere():
    found = [
        f"{path.relative_to(PACKAGE)}:{line}"
        for path in sorted(PACKAGE.rglob("*.py"))
        if ADAPTER not in path.parents and "torch" in (text := path.read_text(encoding="utf-8"))
        for line in private_uses(text)
    ]
    assert found == []


@pytest.mark.parametrize(
    "line",
    [
        "import torch; torch._foreach_add(x, y)",
        "import torch; torch.cpu._is_amx_tile_supported()",
        "import torch; torch.ops.aten.convolution_backward",
        "import torch as t; t._C._set_deterministic_algorithms(True)",
        "import torch._dynamo",
        "from torch import distributed; distributed.distributed_c10d._set_pg_timeout(1, group)",
        "from torch import _foreach_add",
        "from torch._subclasses.fake_tensor import FakeTensorMode",
        "from torch.nn.modules.batchnorm import _BatchNorm",
    ],
)
def test_what_is_private_is_found(line: str):
    assert private_uses(line)


def test_what_is_documented_is_no_private_use():
    assert not private_uses("import torch\ntorch.nn.functional.conv2d(x, w)\nself._torch = torch.__version__")


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
