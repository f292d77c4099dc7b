"""The conventions that can be enforced: import rule, no cycles, no pickle, no torch behind `--help`."""

import ast
import re
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest
from tests.processes import PATIENCE_S

import saccade

REPOSITORY = Path(__file__).parent.parent
PACKAGE = Path(saccade.__file__).parent
MODULES = sorted(PACKAGE.rglob("*.py"))

# A package may import from its own layer's package and from every layer below it; siblings never import each other.
LAYERS = [
    {"core", "conv"},
    {"kernels"},
    {"data"},
    {"models"},
    {"evaluate", "runs"},
    {"weights"},
    {"classify", "design", "filters", "track"},
    {"train", "explain"},
    {"transfer", "preview", "testing", "survey", "ship"},
    {"ensemble", "folds", "audit"},
    {"report"},
    {"learn"},
    {"web"},
    {"api", "loaded"},
    {"cli", "estimators"},
]
# Siblings that build on each other inside one layer, each with its reason in docs/decisions.md.
ALLOWED_SIBLINGS: set[tuple[str, str]] = {
    ("conv", "core"),  # the arithmetic raises the errors of the one tree; core itself imports nothing
}


@cache
def tree_of(path: Path) -> ast.Module:
    """The parsed file: to parse all of them takes seconds, and many tests look at each."""
    return ast.parse(path.read_text(encoding="utf-8"))


@cache
def nodes_of(path: Path) -> tuple[ast.AST, ...]:
    """Every node of the parsed file."""
    return tuple(ast.walk(tree_of(path)))


def module_name(path: Path) -> str:
    parts = path.relative_to(PACKAGE).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


@cache
def imported_modules(path: Path, top_level_only: bool = False) -> frozenset[str]:
    """Dotted names inside the package that `path` imports, without the leading `saccade`."""
    nodes = tree_of(path).body if top_level_only else nodes_of(path)
    own = module_name(path).split(".") if module_name(path) else []
    base = own if path.name == "__init__.py" else own[:-1]
    found = set()
    for node in nodes:
        if isinstance(node, ast.Import):
            found |= {name.name.removeprefix("saccade.") for name in node.names if name.name.startswith("saccade.")}
        if isinstance(node, ast.ImportFrom) and node.level:
            prefix = base[: len(base) - node.level + 1]
            target = ".".join(prefix + (node.module.split(".") if node.module else []))
            found |= {f"{target}.{name.name}".strip(".") for name in node.names} | ({target} if target else set())
        elif isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("saccade."):
            found.add(node.module.removeprefix("saccade."))
    return frozenset(found)


def layer_of(name: str) -> int | None:
    top = name.split(".")[0]
    return next((number for number, layer in enumerate(LAYERS) if top in layer), None)


def test_every_module_has_a_layer():
    without = [name for name in map(module_name, MODULES) if layer_of(name) is None]
    assert sorted(without) == ["", "__main__"], "add it to LAYERS and to the design page"


def goes_downward(own: str, imported: str) -> bool:
    """Whether module `own` may import `imported`: from its own package, an allowed sibling or a lower layer."""
    own_layer, layer = layer_of(own), layer_of(imported)
    pair = (own.split(".")[0], imported.split(".")[0])
    return None in (own_layer, layer) or len(set(pair)) == 1 or layer < own_layer or pair in ALLOWED_SIBLINGS


def test_imports_go_downward_only():
    imports = [(module_name(path), imported) for path in MODULES for imported in imported_modules(path)]
    assert len(imports) > len(MODULES)
    assert [pair for pair in imports if not goes_downward(*pair)] == []


def test_the_package_has_no_import_cycle():
    names = {module_name(path) for path in MODULES}
    graph = {module_name(path): imported_modules(path) & names - {module_name(path)} for path in MODULES}
    finished: set[str] = set()

    def visit(name: str, trail: tuple[str, ...]) -> None:
        assert name not in trail, f"import cycle: {' -> '.join([*trail, name])}"
        if name not in finished:
            for imported in sorted(graph[name] - {""}):
                visit(imported, (*trail, name))
            finished.add(name)

    for name in sorted(graph):
        visit(name, ())


def test_no_function_takes_arguments_it_does_not_name():
    functions = [
        (f"{path}:{node.lineno}: {node.name}", node.args.kwarg)
        for path in MODULES
        for node in nodes_of(path)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    ]
    assert len(functions) > len(MODULES)
    assert [f"{place} takes **{rest.arg}" for place, rest in functions if rest is not None] == []


def test_the_report_of_sizes_names_the_longest_of_each_kind():
    command = [sys.executable, REPOSITORY / "scripts" / "report-sizes", "1"]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=PATIENCE_S)
    lines = {path: path.read_text(encoding="utf-8").count("\n") for path in MODULES}
    longest = max(lines, key=lambda path: lines[path])
    titles = ["lines of a module", "lines of a function", "parameters of a function"]
    said = done.stdout.splitlines()
    assert [line.partition(":")[0] for line in said[::2]] == titles
    assert said[1].split() == [str(lines[longest]), str(longest.relative_to(PACKAGE))]


def test_every_module_says_what_it_is():
    silent = [str(path) for path in MODULES if tree_of(path).body and not ast.get_docstring(tree_of(path))]
    assert silent == [], "a module starts with a docstring"


def runs_code(node: ast.AST) -> bool:
    """Whether a node imports what unpickles, or calls `eval` or `exec`."""
    if isinstance(node, ast.Import | ast.ImportFrom):
        names = {getattr(node, "module", None), *(name.name for name in node.names)}
        return bool(names & {"pickle", "dill", "marshal", "shelve", "joblib", "cloudpickle"})
    return isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in {"eval", "exec"}


def test_nothing_can_run_code_from_a_file():
    assert [f"{path}:{node.lineno}" for path in MODULES for node in nodes_of(path) if runs_code(node)] == []
    assert all(any(map(runs_code, ast.walk(ast.parse(text)))) for text in ("import pickle", "exec('1')"))


# Who opens a file otherwise than by `core.plain_files.open_plain_file`, and why that file is not a stranger's.
OPENS_BY_ITSELF = {
    "core/plain_files.py": "the opener itself",
    "core/atomic.py": "writes, and syncs folders",
    "core/lock.py": "writes its own lock, and refuses a link",
    "data/sources/tar/store.py": "writes its own files, and refuses a link; reads them as all others",
    "data/sharding/place.py": "holds the folder that it writes to",
    "data/sharding/write.py": "writes its own file, under a name of its own",
    "core/processors.py": "the kernel's files on processors and limits",
    "core/process_facts.py": "the kernel's files on processes",
    "runs/log.py": "writes its own log, and refuses a link",
    "classify/answers_file.py": "writes its own file, and refuses a link",
    "survey/feature_file.py": "writes its own file, under a name of its own",
    "classify/exports.py": "writes its own files, in a folder that it made or under a name of its own",
    "cli/standard_streams.py": "the null device in the place of a closed stream, and stdout",
    "cli/launch.py": "writes what the agent reads, where the agent said",
    "cli/console.py": "the null device in the place of a closed stream",
    "learn/page.py": "files of the package",
    "learn/practice.py": "a file of the package, and one of scikit-learn's",
    "learn/residual.py": "a file of the package",
    "report/page.py": "a file of the package",
    "web/serve/app.py": "a file of the package",
    "web/studio/static_files.py": "files of the package",
    "ship/browser.py": "files of the package",
    "ship/web_runtime.py": "an archive in memory, whose digest is known",
    "train/recipes.py": "files of the package",
    "transfer/feature_plan.py": "files of the package",
    "weights/convert.py": "the answer of its own child, in a folder that nobody else enters",
    "web/studio/design/walks.py": "the photo that scikit-learn brings along",
    "weights/convert_child.py": "runs behind walls without the package; its parent has looked at the file",
}


def opens_a_file(call: ast.Call) -> bool:
    """Whether a call opens what lies under a name: `open`, `os.open`, `gzip.open`, `path.read_bytes` and their like."""
    function = call.func
    if isinstance(function, ast.Name):
        return function.id == "open"
    if not isinstance(function, ast.Attribute):
        return False
    owner = function.value.id if isinstance(function.value, ast.Name) else ""
    named = owner in {"os", "io", "gzip", "bz2", "lzma", "tarfile", "codecs", "path"} and function.attr == "open"
    in_memory = call.args and isinstance(call.args[0], ast.Call)  # np.load(io.BytesIO(...))
    loads = (owner, function.attr) in {("np", "load"), ("np", "fromfile"), ("np", "memmap"), ("zipfile", "ZipFile")}
    return named or function.attr in {"read_bytes", "read_text"} or (loads and not in_memory)


def test_files_of_strangers_are_opened_in_one_way():
    opened = [
        (path.relative_to(PACKAGE).as_posix(), node.lineno)
        for path in MODULES
        for node in nodes_of(path)
        if isinstance(node, ast.Call) and opens_a_file(node)
    ]
    others = [place for place in opened if place[0] not in OPENS_BY_ITSELF]
    assert others == [], "use core.plain_files.open_plain_file, which no pipe or device can hang"


def test_a_percentage_has_a_space_before_its_sign():
    """Everywhere `99.2 %`: Python's own format of a share, `{share:.1%}`, writes `99.2%`."""
    share = re.compile(r"\{[^{}]*:[^{}]*%\}")
    written = [
        f"{path.relative_to(PACKAGE).as_posix()}:{number}"
        for path in MODULES
        for number, line in enumerate(path.read_text().splitlines(), 1)
        if share.search(line)
    ]
    assert share.search('f"{share:.1%}"')
    assert not share.search('f"{100 * share:.1f} %"')
    assert written == []


def test_the_command_line_does_not_import_torch_or_numpy_at_module_level():
    heavy = {"torch", "numpy", "cv2", "sklearn", "PIL", "pydantic"}
    for path in sorted(set((PACKAGE / "cli").glob("*.py")) - {PACKAGE / "cli" / "agent.py"}):  # --processes imports it
        tree = tree_of(path)
        for node in tree.body:
            names = set()
            if isinstance(node, ast.Import):
                names = {name.name.split(".")[0] for name in node.names}
            if isinstance(node, ast.ImportFrom) and node.module and not node.level:
                names = {node.module.split(".")[0]}
            assert not names & heavy, f"{path.name}:{node.lineno}"
        inside = imported_modules(path, top_level_only=True)
        below = {name for name in inside if name.split(".")[0] in PACKAGE_LAYERS_BELOW_CLI}
        late = {name for name in below if name != "core.errors" and not name.startswith("core.errors.")} - AT_START
        assert not late, f"{path.name} imports {late} before it runs"


PACKAGE_LAYERS_BELOW_CLI = set().union(*LAYERS[:-1])
AT_START = {"core.addresses", "core.addresses.http_allowed"}  # the standard library alone
AT_START |= {"core.own_process", "core.own_process.own_process"}
AT_START |= {f"core.display{name}" for name in ("", ".fitted", ".paragraph", ".table_lines", ".text_width")}
AT_START |= {"core.durations", "core.durations.between_words"}
AT_START |= {f"core.placed_setting{name}" for name in ("", ".PlacedSetting", ".placed")}


def test_the_public_api_is_what_it_says_and_comes_on_demand():
    assert saccade.__all__ == ["__version__", "api", "load", "Model", "SaccadeClassifier", "SaccadeFeatures"]
    assert saccade.api.train.__module__ == "saccade.api"
    defined = {name for name, value in vars(saccade.api).items() if getattr(value, "__module__", "") == "saccade.api"}
    assert {name for name in defined if not name.startswith("_")} <= set(saccade.api.__all__)
    assert all(hasattr(saccade.api, name) for name in saccade.api.__all__)
    with pytest.raises(AttributeError, match="^module 'saccade' has no attribute 'trian'$"):
        saccade.trian  # noqa: B018
    lean = "import saccade, sys; assert 'torch' not in sys.modules; saccade.api.table; assert 'torch' in sys.modules"
    subprocess.run([sys.executable, "-c", lean], check=True, timeout=PATIENCE_S)


def test_loading_shares_memory_between_threads_so_no_small_dev_shm_can_break_it():
    imported = {
        (path.name, name)
        for path in (PACKAGE / "data").rglob("*.py")
        for node in nodes_of(path)
        if isinstance(node, ast.Import | ast.ImportFrom)
        for name in [getattr(node, "module", None) or "", *(alias.name for alias in node.names)]
    }
    assert ("reader_threads.py", "threading") in imported
    assert not [
        pair for pair in imported if pair[1].split(".")[0] == "multiprocessing" or pair[1] == "torch.utils.data"
    ]
