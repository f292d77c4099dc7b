"""Configurations: messages, overrides, TOML round trips, digests."""

import tomllib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import Field

from saccade.core.config import FrozenConfig, field_names, toml_text
from saccade.core.errors import ConfigError


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
        (
            "model.depth=0",
            "--set: 'model.depth' is not valid: Input should be greater than or equal to 1; received 0.",
        ),
        (
            "seed=many",
            "--set: 'seed' is not valid: Input should be a valid integer, unable to parse string as an integer; "
            "received 'many'.",
        ),
        ("seed", "--set expects KEY=VALUE, for example optimizer.name=adam; got 'seed'."),
        ("zzzzzzzz=1", "Unknown key 'zzzzzzzz'. Keys: seed, active, model.depth, model.name, model.sizes."),
        ("seed.x=1", "Unknown key 'seed.x'. Did you mean 'seed'?"),
    ],
)
def test_a_wrong_override_says_what_is_wrong_and_what_is_near(assignment: str, message: str):
    with pytest.raises(ConfigError) as error:
        Outer().with_overrides([assignment])
    assert error.value.message == message


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
    assert messages[0] == messages[1].replace("--set: ", "settings: ")


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
    with pytest.raises(ConfigError, match=r"'model.sizes.0' is not valid: Input should be a finite number"):
        Outer.parse({"model": {"sizes": [float("nan")]}})


def test_leaves_are_listed_in_order():
    assert field_names(Outer) == ["seed", "active", "model.depth", "model.name", "model.sizes"]
