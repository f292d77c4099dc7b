"""What a checker of values says, in our words: `must be 1 or more`. The one place that knows its texts.

Both pydantic, which checks configurations and files, and typer, which checks options, write such texts.
"""

import re

_RULES: tuple[tuple[str, str], ...] = (
    (r"Input should be greater than or equal to (\S+)", r"must be \1 or more"),
    (r"Input should be greater than (\S+)", r"must be above \1"),
    (r"Input should be less than or equal to (\S+)", r"must be \1 or less"),
    (r"Input should be less than (\S+)", r"must be below \1"),
    (r"Input should be a finite number", "must be a finite number"),
    (r"Input should be a valid (?:integer|int)\b.*", "must be a whole number"),
    (r"Unable to parse input string as an integer.*", "must be a whole number"),
    (r"'.*' is not a valid integer\b.*", "must be a whole number"),  # older typer
    (r"'.*' is not a valid float\b.*", "must be a number"),
    (r"Input should be a valid (?:number|float)\b.*", "must be a number"),
    (r"Input should be a valid boolean.*", "must be true or false"),
    (r"Input should be a valid string.*", "must be text"),
    (r"Input should be a valid (?:tuple|list|set|array).*", "must be a list"),
    (r"Input should be (?:a valid dictionary|an object).*", "must be a table"),
    (r"(?:Input is not a valid|Input should be a valid) path.*", "must be a path"),
    (r"Field required", "is missing"),
    (r"\w+ should have at most (\d+) items?.*", r"must have at most \1 entries"),
    (r"\w+ should have at least (\d+) items?.*", r"must have at least \1 entries"),
    (r"String should have at most (\d+) characters?", r"must have at most \1 characters"),
    (r"String should have at least (\d+) characters?", r"must have at least \1 characters"),
    (r"Keys should be strings", "must have text as keys"),
)
_CHOICE = re.compile(r"Input should be ((?:'[^']*'(?:, | or )?)+)")
_OF_OUR_OWN = "Value error, "


def rule_in_words(text: str) -> str:
    """A rule that follows the name of a value, such as `must be a whole number`; a text of our own as it is."""
    if text.startswith(_OF_OUR_OWN):
        return text.removeprefix(_OF_OUR_OWN)
    if choice := _CHOICE.fullmatch(text):
        return "must be one of: " + ", ".join(re.findall("'([^']*)'", choice[1]))
    for pattern, words in _RULES:
        if found := re.fullmatch(pattern, text, re.DOTALL):
            return found.expand(words)
    return f"is not valid ({text[:1].lower()}{text[1:]})"


def broken_rule(name: str, rule: str, received: str) -> str:
    """`epochs must be 1 or more, not 0.`: what `name` breaks; `received` may be empty, and is then left out."""
    if not rule.startswith("must "):
        return f"{name} {rule}."
    comma = ";" if ": " in rule else ","
    return f"{name} {rule}{comma} not {received}." if received else f"{name} {rule}."
