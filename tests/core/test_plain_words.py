"""No text of pydantic or typer reaches a person: each is turned into words of ours."""

from typing import Annotated, Any, Literal

import pytest
from pydantic import Field, TypeAdapter, ValidationError

from saccade.core.plain_words import broken_rule, rule_in_words

TEXTS = ("Input", "should", "valid", "parse", "instance", "required")


@pytest.mark.parametrize(
    ("kind", "value", "rule"),
    [
        (Annotated[int, Field(ge=1)], 0, "must be 1 or more"),
        (Annotated[float, Field(gt=0)], 0, "must be above 0"),
        (Annotated[float, Field(le=1)], 2, "must be 1 or less"),
        (Annotated[float, Field(lt=1)], 2, "must be below 1"),
        (int, "x", "must be a whole number"),
        (int, 1.5, "must be a whole number"),
        (int, None, "must be a whole number"),
        (int, "9" * 5000, "must be a whole number"),
        (float, "x", "must be a number"),
        (Annotated[float, Field(allow_inf_nan=False)], float("inf"), "must be a finite number"),
        (bool, "maybe", "must be true or false"),
        (bool, 7, "must be true or false"),
        (str, 7, "must be text"),
        (tuple[int, ...], 7, "must be a list"),
        (list[int], "x", "must be a list"),
        (dict[str, int], 7, "must be a table"),
        (dict[str, int], {1: 1}, "must be text"),
        (Literal["a", "b", "c"], "x", "must be one of: a, b, c"),
        (Literal["a"], "x", "must be one of: a"),
        (Annotated[tuple[int, ...], Field(max_length=2)], (1, 2, 3), "must have at most 2 entries"),
        (Annotated[list[int], Field(min_length=2)], [1], "must have at least 2 entries"),
        (Annotated[str, Field(max_length=2)], "abc", "must have at most 2 characters"),
        (Annotated[str, Field(min_length=2)], "a", "must have at least 2 characters"),
    ],
)
def test_each_kind_of_rule_has_its_words(kind: Any, value: Any, rule: str):
    with pytest.raises(ValidationError) as error:
        TypeAdapter(kind).validate_python(value)
    found = rule_in_words(error.value.errors(include_url=False)[0]["msg"])
    assert found == rule
    assert not any(word in found for word in TEXTS)


def test_what_was_received_stands_behind_the_rule():
    assert broken_rule("--epochs", "must be 1 or more", "0") == "--epochs must be 1 or more, not 0."
    assert broken_rule("'name'", "must be one of: a, b", "'c'") == "'name' must be one of: a, b; not 'c'."
    assert broken_rule("'model'", "is missing", "{}") == "'model' is missing."
