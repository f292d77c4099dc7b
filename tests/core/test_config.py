"""Configurations: messages, overrides, TOML round trips, digests."""

import copy
import pickle
import tomllib
from pathlib import Path
from typing import Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import Field

from saccade.core.config import FrozenConfig, assignments, field_names, toml_text
from saccade.core.errors import ConfigError
from saccade.core.placed_setting import placed


class Inner(FrozenConfig):
    depth: int = Field(18, ge=1, description="layers")
    name: str = Field("resnet", description="name")
    sizes: tuple[float, ...] = Field((0.5, 1.0), description="numbers")


class Outer(FrozenConfig):
    seed: int = Field(0, description="seed")
    active: bool = Field(True, description="switch")
    model: Inner = Inner()


@pytest.mark.parametrize(
    ("assignment", "message"),
    [
        ("model.dept=3", "Unknown key 'model.dept'. Did you mean 'model.depth'?"),
        ("sed=3", "Unknown key 'sed'. Did you mean 'seed'?"),
        ("model.depth=0", "settings: 'model.depth' must be 1 or more, not 0."),
        ("seed=many", "settings: 'seed' must be a whole number, not 'many'."),
        ("model.depf.x=1", "Unknown key 'model.depf.x'. Keys: seed, active, model.depth, model.name, model.sizes."),
        ("model.policy=1", "Unknown key 'model.policy'. Keys of model: depth, name, sizes."),
        ("seed", "settings expect KEY=VALUE, for example optimizer.name=adam; got 'seed'."),
        ("zzzzzzzz=1", "Unknown key 'zzzzzzzz'. Keys: seed, active, model.depth, model.name, model.sizes."),
        ("seed.x=1", "Unknown key 'seed.x'. Did you mean 'seed'?"),
    ],
)
def test_a_wrong_override_says_what_is_wrong_and_what_is_near(assignment: str, message: str):
    with pytest.raises(ConfigError) as error:
        Outer().with_overrides([assignment])
    assert error.value.message == message


class Optional(FrozenConfig):
    limit: int | None = Field(None, description="number or none")
    size: int | Literal["auto"] = Field("auto", description="number or word")
    table: dict[str, float] = Field({}, description="numbers by name")


@pytest.mark.parametrize(
    ("config", "values", "message"),
    [
        (Outer, {"seed": True}, "'seed' must be a whole number, not True."),
        (Outer, {"seed": "3"}, "'seed' must be a whole number, not '3'."),
        (
            Outer,
            {"model": {"sizes": [0.5, True]}},
            "'model.sizes' must be a number, not [0.5, True].",
        ),
        (
            Outer,
            {"model": {"sizes": ["1e3"]}},
            "'model.sizes' must be a number, not ['1e3'].",
        ),
        (Optional, {"limit": False}, "'limit' must be a whole number, not False."),
    ],
)
def test_neither_truth_values_nor_texts_are_numbers(config: type[FrozenConfig], values: dict, message: str):
    with pytest.raises(ConfigError) as error:
        config.parse(values, "config.toml")
    assert error.value.message == f"config.toml: {message}"
    with pytest.raises(ConfigError) as error:
        config().with_overrides(values)
    assert error.value.message == f"settings: {message}"


def test_whole_numbers_stand_for_others_and_words_for_themselves():
    assert Outer.parse({"seed": 3.0, "model": {"sizes": [1, 2]}}) == Outer(seed=3, model=Inner(sizes=(1.0, 2.0)))
    assert Outer().with_overrides(["seed=1e2"]).seed == 100
    assert Optional.parse({"limit": None, "size": "auto"}) == Optional()
    assert Optional.parse({"limit": 2, "size": 4, "table": {"a": 1}}).size == 4


def test_overrides_reach_nested_values_and_keep_the_original():
    before = Outer()
    after = before.with_overrides(["model.depth=34", "model.name=vgg", "active=false", "model.sizes=[1, 2.5]"])
    assert after == Outer(active=False, model=Inner(depth=34, name="vgg", sizes=(1.0, 2.5)))
    assert before == Outer()


def test_a_table_of_settings_does_what_their_texts_do():
    typed = {"model": {"depth": 34, "name": Path("vgg"), "sizes": (1, 2.5)}, "active": False}
    texts = ["model.depth=34", "model.name=vgg", "model.sizes=[1, 2.5]", "active=false"]
    assert Outer().with_overrides(typed) == Outer().with_overrides(texts)
    assert Outer().with_overrides({"model.depth": 34}) == Outer().with_overrides("model.depth=34")
    assert Outer().with_overrides({}) == Outer().with_overrides([]) == Outer()


@pytest.mark.parametrize(
    ("typed", "text"),
    [
        ({"model": {"dept": 3}}, "model.dept=3"),
        ({"sed": 3}, "sed=3"),
        ({"model": {"depth": 0}}, "model.depth=0"),
        ({"seed": "many"}, "seed=many"),
        ({"seed": {"x": 1}}, "seed.x=1"),
        ({"model": 3}, "model=3"),
    ],
)
def test_a_wrong_table_of_settings_is_told_as_its_text_is(typed: dict[str, object], text: str):
    messages = []
    for settings in (typed, [text]):
        with pytest.raises(ConfigError) as error:
            Outer().with_overrides(settings)
        messages.append(error.value.message)
    assert messages[0] == messages[1]


@pytest.mark.parametrize("place", ["--set", "--fit", "more.toml"])
def test_a_wrong_override_names_the_place_where_it_was_given(place: str):
    with pytest.raises(ConfigError) as error:
        Outer().with_overrides([*placed(["seed=1"], "--input"), *placed(["model.depth=0"], place)])
    assert error.value.message == f"{place}: 'model.depth' must be 1 or more, not 0."
    with pytest.raises(ConfigError) as error:
        Outer().with_overrides(placed(["seed"], place))
    assert error.value.message == f"{place} expects KEY=VALUE, for example optimizer.name=adam; got 'seed'."


@given(
    seed=st.integers(-(2**53), 2**53),
    depth=st.integers(1, 10**9),
    name=st.text(alphabet=st.characters(codec="utf-8"), max_size=30),
    sizes=st.lists(st.floats(allow_nan=False, allow_infinity=False), max_size=4),
)
def test_toml_reads_back_to_an_equal_configuration(seed: int, depth: int, name: str, sizes: list[float]):
    config = Outer(seed=seed, model=Inner(depth=depth, name=name, sizes=tuple(sizes)))
    assert Outer.parse(tomllib.loads(toml_text(config.model_dump(mode="json")))) == config
    assert Outer.parse(tomllib.loads(toml_text(config.differences()))) == config


def test_the_digest_changes_with_every_value_and_only_with_values():
    configs = [Outer(), Outer(seed=1), Outer(active=False), Outer(model=Inner(depth=19)), Outer(model=Inner(name="x"))]
    assert len({config.digest() for config in configs}) == len(configs)
    assert Outer(seed=0).digest() == Outer().digest()


def test_the_differences_are_the_values_that_are_not_the_defaults():
    class Whole(FrozenConfig):
        number: int = Field(description="required")
        outer: Outer = Field(description="required")
        other: Outer = Outer(seed=3)  # another default than that of its class

    assert Whole(number=0, outer=Outer()).differences() == {"number": 0, "outer": {}}
    changed = Whole(number=0, outer=Outer(model=Inner(depth=34)), other=Outer())
    assert changed.differences() == {"number": 0, "outer": {"model": {"depth": 34}}, "other": {}}
    assert Whole.parse(tomllib.loads(toml_text(changed.differences()))) == changed


def test_values_that_are_not_finite_are_refused():
    with pytest.raises(ConfigError, match=r"'model.sizes.0' must be a finite number, not nan\.$"):
        Outer.parse({"model": {"sizes": [float("nan")]}})


def test_leaves_are_listed_in_order():
    assert field_names(Outer) == ["seed", "active", "model.depth", "model.name", "model.sizes"]


class OneKind(FrozenConfig):
    height_px: int


class OtherKind(FrozenConfig):
    name: str


class Either(FrozenConfig):
    held: OneKind | OtherKind


def test_a_value_of_one_of_several_kinds_is_tried_as_each_however_it_is_checked():
    made, read = Either(held={"name": "a"}), Either.model_validate_json('{"held": {"name": "a"}}')  # type: ignore[arg-type]
    assert made.held == read.held == OtherKind(name="a")
    with pytest.raises(ConfigError, match=r"^Either: 'held\.height_px' is missing\.$"):
        Either(held={"depth": 1})  # type: ignore[arg-type]


def test_a_setting_keeps_its_place_through_copies_and_pickle():
    (setting,) = placed(["seed=3"], "--config")
    piped = pickle.loads(pickle.dumps(setting))  # noqa: S301 - our own
    for made in (copy.copy(setting), copy.deepcopy([setting])[0], piped):
        assert (made, made.place, type(made)) == ("seed=3", "--config", type(setting))


@pytest.mark.parametrize(("text", "number"), [(".5", 0.5), ("5.", 5.0), ("+.5e1", 5.0), ("2.E-1", 0.2)])
def test_a_number_may_begin_or_end_with_its_point(text: str, number: float):
    assert dict(assignments([f"a={text}"])) == {"a": number}
