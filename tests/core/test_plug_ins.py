"""What another distribution registers is looked at first, and what goes wrong in its code is told as its fault."""

import dataclasses
import functools
import os
import re
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from importlib.metadata import EntryPoint
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from tests.processes import run_python
from torch import nn

from saccade import api
from saccade.core import plug_ins
from saccade.core.config import FrozenConfig
from saccade.core.errors import ContractError, DataError, ModelError, SaccadeError, UsageError
from saccade.core.registry import Registry
from saccade.core.types import Preprocessing, Record
from saccade.data.augmentation import AUGMENTATIONS, NO_STRENGTHS, Augmentation, Colouring, Geometric, Pixel
from saccade.data.augmentation_policy import AugmentConfig
from saccade.data.augmenter import Augmenter
from saccade.data.scan import scan_source
from saccade.data.source import SOURCES, DataSource, SourceFormat
from saccade.models.architecture import MODELS, ModelSpec

NAMES = "its name must begin with a letter or a digit and go on with up to 63 of those and '.', '_' and '-', not "
KEYS = "its name is no key of a configuration: use letters, digits and _, and no name that means something else"
CORRECT = "Correct it there; saccade.testing checks what else it promises."
NETWORK, MIRROR, FOLDER = MODELS.get("lenet5"), AUGMENTATIONS.get("mirror"), SOURCES.get("folder")

Loads = Callable[[str], Registry[SimpleNamespace]]


@pytest.fixture
def loads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Loads]:
    """`loads(text)`: a registry of which a plug-in `odd` with that text, or none, is a part; not looked at yet."""
    (tmp_path / "no_things").mkdir()
    (tmp_path / "no_things" / "__init__.py").touch()
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(plug_ins, "_known", {})

    def make(text: str) -> Registry[SimpleNamespace]:
        if text:
            (tmp_path / "odd_plug_in.py").write_text(text)
        point = EntryPoint(name="odd", value="odd_plug_in", group="saccade.things")
        monkeypatch.setattr("saccade.core.registry.entry_points", lambda group: [point])
        registry: Registry[SimpleNamespace] = Registry("thing", "things", "no_things")
        monkeypatch.setattr("tests.core.test_plug_ins.REGISTRY", registry, raising=False)
        return registry

    yield make
    for name in ("odd_plug_in", "no_things"):
        sys.modules.pop(name, None)


ADD = "from types import SimpleNamespace as Thing\nfrom tests.core.test_plug_ins import REGISTRY\n"


@pytest.mark.parametrize(
    ("text", "words", "line"),
    [
        ("import nobody", "ModuleNotFoundError: No module named 'nobody'", 1),
        ("\nraise RuntimeError('no\\nmore')", "RuntimeError: no", 2),
        ("\n\nint('x')", "ValueError: invalid literal for int() with base 10: 'x'", 3),
        ("def (:", "SyntaxError: invalid syntax (odd_plug_in.py, line 1)", 1),
        ("raise SystemExit(0)", "SystemExit: 0", 1),
        ("", "ModuleNotFoundError: No module named 'odd_plug_in'", 0),
    ],
)
def test_a_plug_in_that_cannot_be_loaded_is_named_each_time(loads: Loads, tmp_path: Path, text: str, words: str, line):
    registry = loads(text)
    where = f"Where: {tmp_path}/odd_plug_in.py, line {line}.\n" if line else ""
    for _ in range(2):
        with pytest.raises(ContractError) as error:
            registry.names()
        assert error.value.message == (
            f"The plug-in 'odd' cannot be loaded: {words}.\n{where}"
            "Correct or update it, or be without it: pip uninstall its distribution"
        )


def test_what_a_plug_in_prints_is_no_part_of_a_result(loads: Loads, capsys: pytest.CaptureFixture[str]):
    assert loads(ADD + "print('hello')\nREGISTRY.add(Thing(name='a'), __name__)").names() == ["a"]
    assert capsys.readouterr() == ("", "hello\n")


def test_one_module_cannot_register_a_name_twice_but_again(loads: Loads, tmp_path: Path):
    registry = loads(ADD + "REGISTRY.add(Thing(name='a'), __name__)\n" * 2)
    with pytest.raises(UsageError) as error:
        registry.names()
    assert error.value.message == "odd_plug_in registers the thing 'a' twice.\nGive each of the two a name of its own."
    again = loads(ADD + "REGISTRY.add(Thing(name='a'), __name__)\n")
    again.add(SimpleNamespace(name="a"), "odd_plug_in")  # as a cell of a notebook that is run again
    assert again.names() == ["a"]


@pytest.mark.parametrize(
    "entry", [SimpleNamespace(name="LeNet_5"), SimpleNamespace(name="b", also_called=("le-net5",))]
)
def test_another_spelling_of_a_name_that_is_taken_is_refused(loads: Loads, entry: SimpleNamespace):
    """A person who wrote it got neither of the two."""
    registry = loads(ADD + "REGISTRY.add(Thing(name='lenet5'), __name__)")
    assert registry.get("le-net5").name == "lenet5"
    with pytest.raises(UsageError) as error:
        registry.add(entry, "other")
    other = next(iter(getattr(entry, "also_called", ())), entry.name)
    assert error.value.message == (
        f"other registers the thing '{entry.name}', and '{other}' is another spelling of 'lenet5' of odd_plug_in.\n"
        "Rename one of them, or remove the one you do not need."
    )
    assert registry.get("le-net5").name == "lenet5"


def of_no_kind(name: str = "fog") -> Augmentation:
    values = {each.name: getattr(MIRROR, each.name) for each in dataclasses.fields(Augmentation)}
    return Augmentation(**values | {"name": name})


class Always(type(MIRROR.strengths())):  # type: ignore[misc]
    """Strengths that act by themselves."""

    @property
    def is_active(self) -> bool:
        return True


KINDS = "it must be one of Framing, Geometric, Warping, Colouring, Choosing, Pixel, Erasing, Mixing"
USELESS: list[tuple[Registry[Any], Any, str]] = [
    *((MODELS, dataclasses.replace(NETWORK, name=name), f": {NAMES}{name!r}") for name in ("", "my net", "a+b", 7)),
    (MODELS, dataclasses.replace(NETWORK, name="../x\x1b[31m"), f": {NAMES}'../x\\x1b[31m'"),
    (MODELS, print, ": it must be of the type Architecture, and is a value of type builtin_function_or_method"),
    (MODELS, type(NETWORK), ": it must be of the type Architecture, and is the class Architecture"),
    (MODELS, MIRROR, " 'mirror': it must be of the type Architecture, and is a value of type Geometric"),
    (MODELS, dataclasses.replace(NETWORK, name="x", summary=None), " 'x': 'summary' must be text, not None"),
    (MODELS, dataclasses.replace(NETWORK, name="x", build=5), " 'x': 'build' must be a function of 1 argument, not 5"),
    (
        MODELS,
        dataclasses.replace(NETWORK, name="x", also_called=("a", 5)),
        " 'x': 'also_called' must be a tuple, of which each is text, not ('a', 5)",
    ),
    (
        MODELS,
        dataclasses.replace(NETWORK, name="x", default_spec=None),
        " 'x': 'default_spec' must be of the type ModelSpec, not None",
    ),
    (
        MODELS,
        dataclasses.replace(NETWORK, name="x", default_spec=ModelSpec(num_classes=2, input_CHW=(8, 8))),  # type: ignore[arg-type]
        " 'x': 'default_spec' must have classes, channels, height and width, each 1 or more, not "
        "ModelSpec(num_classes=2, input_CHW=(8, 8))",
    ),
    *(
        (AUGMENTATIONS, dataclasses.replace(MIRROR, name=name), f" '{name}': {KEYS}")
        for name in ("my-fog", "my.fog", "border", "active", "copy", "model_dump")
    ),
    (AUGMENTATIONS, of_no_kind(), f" 'fog': {KINDS}, not a plain Augmentation"),
    (
        AUGMENTATIONS,
        dataclasses.replace(MIRROR, name="fog", strengths=FrozenConfig),
        " 'fog': 'strengths' must be a class made from Strengths, not <class 'saccade.core.config.FrozenConfig'>",
    ),
    (
        AUGMENTATIONS,
        dataclasses.replace(MIRROR, name="fog", strengths=Always),
        " 'fog': by the defaults of its strengths it changes images; give each the value that does nothing",
    ),
    (
        SOURCES,
        dataclasses.replace(FOLDER, name="fog", priority="high"),
        " 'fog': 'priority' must be a whole number, not 'high'",
    ),
    (SOURCES, dataclasses.replace(FOLDER, name="fog", example=None), " 'fog': 'example' must be text, not None"),
]


@pytest.mark.parametrize(("registry", "entry", "told"), USELESS)
def test_an_entry_that_nothing_could_use_is_refused_where_it_is_registered(
    registry: Registry[Any], entry: Any, told: str
):
    before = registry.names()
    with pytest.raises(ContractError) as error:
        registry.add(entry, "odd_plug_in")
    assert re.sub(r" at 0x\w+", "", error.value.message) == (
        f"The {registry.kind}{told.partition(':')[0]} that odd_plug_in registers cannot be used:"
        f"{told.partition(':')[2]}.\n{CORRECT}"
    )
    assert registry.names() == before


@dataclasses.dataclass(frozen=True, kw_only=True)
class WiderNetwork(type(NETWORK)):  # type: ignore[misc]
    """A plug-in's own kind of network, with fields that are nobody else's business."""

    hook: Callable[..., Any] = print
    bare: Callable = print  # type: ignore[type-arg]
    anything: Any = None
    pair: tuple[int, str] = (1, "a")
    width: float = 1
    late: int = dataclasses.field(init=False)


def needs_more(spec: ModelSpec, width: int) -> nn.Module:
    raise NotImplementedError


@functools.wraps(needs_more)
def wraps(spec: ModelSpec) -> nn.Module:
    return needs_more(spec, 2)


OWN = {each.name: getattr(NETWORK, each.name) for each in dataclasses.fields(NETWORK)}
COUNTED = ModelSpec(num_classes=np.int64(2), input_CHW=(3, np.int64(8), 8))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("registry", "entry"),
    [
        (MODELS, WiderNetwork(**OWN | {"name": "fog"})),
        (MODELS, dataclasses.replace(NETWORK, name="fog", build=wraps)),
        (MODELS, dataclasses.replace(NETWORK, name="fog", build=functools.partial(needs_more, width=2))),
        (MODELS, dataclasses.replace(NETWORK, name="fog", default_spec=COUNTED)),
        (MODELS, dataclasses.replace(NETWORK, name="fog", public_head=np.bool_(True))),
        (SOURCES, dataclasses.replace(FOLDER, name="fog", priority=np.int64(3))),
    ],
)
def test_an_entry_that_works_in_an_unusual_way_is_taken(
    registry: Registry[Any], entry: Any, monkeypatch: pytest.MonkeyPatch
):
    for own in ("_entries", "_origins", "_spellings"):
        monkeypatch.setattr(registry, own, dict(getattr(registry, own)))
    registry.add(entry, "odd_plug_in")
    assert registry.get("fog") is entry


class Needs(type(MIRROR.strengths())):  # type: ignore[misc]
    value: float


class Raises(type(MIRROR.strengths())):  # type: ignore[misc]
    @property
    def is_active(self) -> bool:
        raise KeyError("x")


@pytest.mark.parametrize(
    ("strengths", "told"),
    [
        (Needs, "its strengths cannot be made without values (ConfigError); give each a default"),
        (Raises, "by the defaults of its strengths it does not say whether it acts (KeyError)"),
    ],
)
def test_strengths_that_fail_are_told_with_their_augmentation(strengths: Any, told: str):
    with pytest.raises(ContractError) as error:
        AUGMENTATIONS.add(dataclasses.replace(MIRROR, name="fog", strengths=strengths), "odd_plug_in")
    assert error.value.message == (
        f"The augmentation 'fog' that odd_plug_in registers cannot be used: {told}.\n{CORRECT}"
    )


def test_a_plug_in_that_another_thread_loads_leaves_stdout_alone(loads: Loads):
    """Two threads that change it could not both put it back."""
    registry = loads(ADD + "import sys\nREGISTRY.add(Thing(name='a', stdout=sys.stdout), __name__)")
    with ThreadPoolExecutor(1) as pool:
        assert pool.submit(registry.get, "a").result().stdout is sys.stdout


def test_names_that_a_configuration_has_for_itself_are_those_of_its_class():
    own = {name for name in vars(AugmentConfig) if not name.startswith("_")} | set(AugmentConfig.__annotations__)
    taken = {name for name in own if hasattr(FrozenConfig, name)}
    assert own - taken - set(AUGMENTATIONS) == set(NO_STRENGTHS)


@pytest.fixture
def registered(monkeypatch: pytest.MonkeyPatch) -> Callable[[Registry[Any], Any], None]:
    """Enter something under its name for one test, as a plug-in of this module."""
    monkeypatch.setattr(plug_ins, "_known", {__name__.partition(".")[0]: "The plug-in 'odd' of odd-things"})

    def add(registry: Registry[Any], entry: Any) -> None:
        monkeypatch.setitem(registry._entries, entry.name, entry)
        monkeypatch.setitem(registry._origins, entry.name, __name__)

    return add


def test_a_network_of_a_plug_in_is_tried_before_it_is_trained(registered: Any, tmp_path: Path):
    def trained(build: Callable[[ModelSpec], Any]) -> str:
        registered(MODELS, dataclasses.replace(NETWORK, name="odd", build=build))
        request = api.TrainRequest(
            source="digits", model="odd", epochs=1, out=tmp_path / "run", settings={"input.size_px": 8}
        )
        with pytest.raises(ModelError) as error:
            api.train(request)
        assert not (tmp_path / "run").exists()
        return error.value.message

    def flat(num: int) -> nn.Module:
        return nn.Sequential(nn.Flatten(), nn.Linear(64, num))

    assert trained(lambda spec: None) == (
        f"The network odd of {__name__} cannot be used: its build gives a value of type NoneType, not a "
        "torch.nn.Module.\nCorrect it there."
    )
    assert trained(lambda spec: flat(3)) == (
        "odd turns 2 images into (2, 3); 10 classes need (2, 10) logits.\n"
        "Give its last layer 10 outputs, and remove the softmax after it."
    )
    assert trained(lambda spec: flat(10).half()) == (
        "Sequential: '1.weight' is float16; weights are float32.\n"
        "Give network.float(); runtime.precision chooses the arithmetic."
    )
    assert trained(lambda spec: nn.Flatten()).startswith("odd has no weights that are trained")


NO_ARRAY, NOT_FINITE = "gives a value of type NoneType", "gives a value that is not finite, not finite numbers"


@pytest.mark.parametrize(
    ("kind", "function", "result", "told"),
    [
        (Geometric, "matrices", np.eye(3), "gives float64 of the shape (3, 3), not numbers of the shape (2, 3, 3)"),
        (Geometric, "matrices", None, f"{NO_ARRAY}, not numbers of the shape (2, 3, 3)"),
        (Geometric, "matrices", np.full((2, 3, 3), np.nan), NOT_FINITE),
        (Colouring, "matrices", np.full((2, 3, 4), np.inf), NOT_FINITE),
        (Colouring, "matrices", np.eye(3, 4), "gives float64 of the shape (3, 4), not numbers of the shape (2, 3, 4)"),
        (Pixel, "num_draws", 1.5, "gives 1.5, not a whole number from 0"),
        (Pixel, "num_draws", -1, "gives -1, not a whole number from 0"),
        (Pixel, "change", None, f"{NO_ARRAY}, not uint8 of the shape (8, 8, 1)"),
        (
            Pixel,
            "change",
            np.zeros((8, 8, 1)),
            "gives float64 of the shape (8, 8, 1), not uint8 of the shape (8, 8, 1)",
        ),
        (
            Pixel,
            "change",
            np.zeros((8, 1), np.uint8),
            "gives uint8 of the shape (8, 1), not uint8 of the shape (8, 8, 1)",
        ),
    ],
)
def test_what_an_augmentation_gives_is_not_stretched_or_rounded_to_fit(
    monkeypatch: pytest.MonkeyPatch, kind: type[Augmentation], function: str, result: Any, told: str
):
    """NumPy would: one matrix for all images, floats cut off, a line for a picture."""
    values = {each.name: getattr(MIRROR, each.name) for each in dataclasses.fields(Augmentation)}
    usual = {"change": lambda drawn, row, image_HWC, scene: image_HWC} if kind is Pixel else {}
    entry = kind(**usual | values | {function: lambda *given: result})
    monkeypatch.setitem(AUGMENTATIONS._entries, "mirror", entry)
    grey = Preprocessing(channels="grey", input_height_px=8, input_width_px=8, mean=(0.5,), std=(0.5,))
    augmenter = Augmenter(AugmentConfig.parse({"mirror": {"probability": 1}}), grey, 0)

    def augmented() -> None:
        plan = augmenter.plan(0, np.arange(2))
        augmenter.finish(plan, np.zeros((2, 8, 8, 1), np.uint8), np.zeros(2, np.int64), 2)

    with pytest.raises(ContractError) as error:
        augmented()
    assert error.value.message == (
        f"The augmentation 'mirror' of saccade.data.augment.mirror breaks a promise: its {function} {told}.\n"
        "Leave it out, or correct it there; saccade.testing.check_augmentation('mirror') tells more."
    )


class Odd(DataSource):
    """Twelve images of two classes, of which `changes` are other than they should be."""

    name, digest, classes = "odd", "odd", ("a", "b")

    def __init__(self, changes: dict[str, Any]) -> None:
        self.changes = changes
        for name in ("name", "digest", "classes"):
            if name in changes:
                setattr(self, name, changes[name])

    def __len__(self) -> int:
        return self.changes.get("len", 12)  # type: ignore[no-any-return]

    def record(self, index: int) -> Record:
        if "record" in self.changes:
            return self.changes["record"]  # type: ignore[no-any-return]
        return Record(key=str(index), label=index % 2)

    def read(self, index: int) -> np.ndarray:
        pixels = np.full((8, 8), 20 * index, np.uint8)
        return self.changes.get("read", pixels)  # type: ignore[no-any-return]


LABEL = "which is no number of its 2 classes"
WRONG_RECORDS: list[tuple[Any, str]] = [
    (("a", 0), "is a value of type tuple, not a Record"),
    (Record(key=5, label=0), "has a key that is no text: 5"),  # type: ignore[arg-type]
    (Record(key="a", label=2), f"has the label 2, {LABEL}"),
    (Record(key="a", label=-1), f"has the label -1, {LABEL}"),
    (Record(key="a", label="b"), f"has the label 'b', {LABEL}"),  # type: ignore[arg-type]
    (Record(key="a", label=-1, labels=(0, 5)), f"has the label 5, {LABEL}"),
    (Record(key="a", label=0, split="dev"), "has the split 'dev', which is none of train, validation, test, or None"),
    (Record(key="a", label=0, group=5), "has a group that is no text: 5"),  # type: ignore[arg-type]
]


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"name": None}, "its 'name' must be text, not None"),
        ({"digest": 5}, "its 'digest' must be text, not 5"),
        ({"classes": None}, "its 'classes' must be a tuple of texts, not None"),
        ({"classes": ("a", 5)}, "its 'classes' must be a tuple of texts, not ('a', 5)"),
        ({"len": 2.5}, "its length is no number of images ('float' object cannot be interpreted as an integer)"),
        ({"len": -1}, "its length is no number of images (__len__() should return >= 0)"),
        *(({"record": record}, f"its record(0) {told}") for record, told in WRONG_RECORDS),
    ],
)
def test_a_source_that_says_what_cannot_be_true_is_refused_before_anything_is_read(
    changes: dict[str, Any], told: str, registered: Any
):
    what = f"cannot be used: {told}.\nCorrect it there; saccade.testing.check_source says what else a source promises."
    with pytest.raises(DataError) as error:
        api.inspect(Odd(changes))
    assert error.value.message == f"The source {__name__}.Odd {what}"
    entry = SourceFormat(
        name="odd",
        summary="odd images",
        example="odd:",
        recognises=lambda text: text == "odd:",
        open=lambda text: Odd(changes),
        priority=0,
    )
    registered(SOURCES, entry)
    with pytest.raises(DataError) as error:
        api.inspect("odd:")
    assert error.value.message == f"The source 'odd' of {__name__} {what}"


def test_a_format_that_opens_nothing_is_named(registered: Any):
    registered(SOURCES, dataclasses.replace(FOLDER, name="odd", priority=0, recognises=bool, open=lambda text: None))
    with pytest.raises(DataError) as error:
        api.inspect("odd:")
    assert error.value.message.startswith(
        f"The source 'odd' of {__name__} cannot be used: it must be made from DataSource.\n"
    )


def test_what_a_source_reads_that_is_no_image_is_one_bad_image():
    with pytest.raises(DataError) as error:
        scan_source(Odd({"read": None}), 1)
    assert (
        "0: its source gives a value of type NoneType, not the bytes of a file or its pixels; " in error.value.message
    )
    assert api.inspect(Odd({"read": np.array([None])})).num_unreadable == 12


OPENS = """from saccade.data.source import SourceFormat, register

def opened(text):
    return {}[text]

register(SourceFormat(name="fog", summary="fog", example="fog:", recognises=lambda text: text == "fog:", open=opened,
                      priority=0), __name__)
"""


def test_a_plug_in_that_fails_is_told_by_the_command_with_its_line(tmp_path: Path):
    place = tmp_path / "site"
    (place / "fog-1.0.dist-info").mkdir(parents=True)
    (place / "fog_plug_in.py").write_text(OPENS)
    (place / "fog-1.0.dist-info" / "METADATA").write_text("Metadata-Version: 2.1\nName: fog\nVersion: 1.0\n")
    (place / "fog-1.0.dist-info" / "entry_points.txt").write_text("[saccade.sources]\nfog = fog_plug_in\n")
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(place), *sys.path])}
    done = run_python(["-m", "saccade", "inspect", "fog:"], tmp_path, environment)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == (
        "error: The plug-in 'fog' of fog fails: KeyError: 'fog:'.\n"
        f"Where: {place}/fog_plug_in.py, line 4.\n"
        "Correct or update it; --debug shows the whole way there.\n"
    )
    shown = run_python(["-m", "saccade", "inspect", "fog:", "--debug"], tmp_path, environment)
    assert shown.stderr.rstrip().endswith("KeyError: 'fog:'")


def test_a_fault_of_our_own_is_never_told_as_one_of_a_plug_in(registered: Any, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(plug_ins, "_known", {"odd_plug_in": "The plug-in 'odd'"})
    with pytest.raises(SaccadeError) as error:
        MODELS.get("nobody")
    assert plug_ins.told_of_plug_in(error.value) is None
