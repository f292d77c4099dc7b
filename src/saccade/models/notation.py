"""A network as one line of text: `conv 8 f5 | pool | conv 16 f5 | pool | fc 120 | fc 84 | softmax`.

    line   = layer { "|" layer }
    layer  = word { option }  |  "res(" line ")" { option }  |  "cat(" line { ";" line } ")" { option }

f, s, p, d, g and n_c are the field's own letters (filter, stride, padding, dilation, groups, channels). This module
reads and writes the line; `notation_network` makes the network. A line may come from a stranger's checkpoint, so
everything in it is bounded and nothing in it is run.
"""

import re
from dataclasses import asdict, dataclass, field, fields, replace
from typing import Any, NoReturn

from ..core.errors import NotationError, did_you_mean, printable

ACTIVATIONS = ("relu", "linear", "tanh", "sigmoid", "relu6", "leaky", "elu", "gelu", "silu", "hardswish")
GROUPS = ("res", "cat")
# The options of every layer; "n" stands for the bare number behind the word.
OPTIONS: dict[str, tuple[str, ...]] = {
    "conv": ("n", "f", "s", "p", "d", "g", "same", "nobias", "bn", "activation", "x"),
    "pool": ("f", "s", "p", "same"),
    "avgpool": ("f", "s", "p", "same"),
    "gap": (),
    "flatten": (),
    "fc": ("n", "nobias", "bn", "activation", "x"),
    "dropout": ("n",),
    "bn": (),
    "lrn": (),
    "identity": (),
    "softmax": (),
    "res": ("activation", "x"),
    "cat": ("x",),
} | {name: () for name in ACTIVATIONS if name != "linear"}
ALIASES = {"maxpool": "pool", "dense": "fc"}
LETTERS = {"f": "kernel", "s": "stride", "p": "padding", "d": "dilation", "g": "groups"}
NEEDED = {"conv": "its number of channels, such as conv 16 f3", "fc": "its number of units, such as fc 120"}

MAX_CHARACTERS, MAX_LAYERS, MAX_DEPTH = 10_000, 2_000, 16
MAX_NUMBERS = {"n": 1_000_000, "f": 1_000, "s": 1_000, "p": 1_000, "d": 1_000, "g": 1_000_000, "x": 1_000}
TOO_MANY = f"A network in one line has at most {MAX_LAYERS:,} layers."
SHOWN = 100  # characters of the line that an error shows


@dataclass(frozen=True, kw_only=True)
class Layer:
    """One layer with every default filled in. `number` is its channels, units or dropout probability.

    `start` and `end` are its place in the line; two layers that say the same are equal wherever they stand.
    """

    kind: str
    number: float = 0
    kernel: int = 0
    stride: int = 1
    padding: int = 0
    same: bool = False
    dilation: int = 1
    groups: int = 1
    bias: bool = True
    norm: bool = False
    activation: str = "linear"
    branches: tuple[tuple["Layer", ...], ...] = ()
    start: int = field(default=0, compare=False)
    end: int = field(default=0, compare=False)


@dataclass(frozen=True)
class Token:
    """A word or one of `| ; ( )` with its place in the line."""

    text: str
    start: int

    @property
    def end(self) -> int:
        return self.start + len(self.text)


def num_layers(layer: Layer) -> int:
    """`layer` and all layers inside it."""
    return 1 + sum(num_layers(inner) for branch in layer.branches for inner in branch)


def parse(text: str) -> tuple[Layer, ...]:
    """The layers of a line, in order. Raises NotationError that points at the place."""
    if len(text) > MAX_CHARACTERS:
        raise NotationError(f"A network in one line has at most {MAX_CHARACTERS:,} characters, got {len(text):,}.")
    parser = _Parser(text)
    layers = parser.line(depth=0)
    if parser.next is not None:
        what = "This ')' closes nothing." if parser.next.text == ")" else "';' stands between branches of cat( ) only."
        fail(text, parser.next.start, parser.next.end, what)
    for layer in layers[:-1]:
        if layer.kind == "softmax":
            fail(text, layer.start, layer.end, "softmax gives the classes: nothing can follow it.")
    return layers


def fail(text: str, start: int, end: int, what: str, hint: str = "") -> NoReturn:
    """Raise NotationError: `what`, the line, carets below the characters from `start` to `end`, `hint`."""
    shown = "".join(character if " " <= character <= "~" else "?" for character in re.sub(r"\s", " ", text))
    first = max(0, min(start - SHOWN // 2, len(shown) - SHOWN))
    before, after = "..." if first else "", "..." if first + SHOWN < len(shown) else ""
    last = min(max(end, start + 1), first + SHOWN)
    carets = " " * (len(before) + start - first) + "^" * max(1, last - start)
    lines = [what, f"  {before}{shown[first : first + SHOWN]}{after}".rstrip(), f"  {carets}", hint]
    raise NotationError("\n".join(line for line in lines if line))


def as_config(layers: tuple[Layer, ...]) -> list[dict[str, Any]]:
    """The layers as JSON values: what differs from the defaults, branches as lists of lists."""
    plain = Layer(kind="")
    config = []
    for layer in layers:
        values = {key: value for key, value in asdict(layer).items() if key not in ("start", "end", "branches")}
        entry = {key: value for key, value in values.items() if value != getattr(plain, key)}
        if layer.branches:
            entry["branches"] = [as_config(branch) for branch in layer.branches]
        config.append(entry)
    return config


def write(layers: tuple[Layer, ...]) -> str:
    """A line that `parse` reads back to equal layers; every activation is written out."""
    return " | ".join(_write_layer(layer) for layer in layers)


def _write_layer(layer: Layer) -> str:
    words = [layer.kind]
    if layer.branches:
        words = [f"{layer.kind}( {' ; '.join(write(branch) for branch in layer.branches)} )"]
    options = OPTIONS[layer.kind]
    if "n" in options:
        words.append(f"{layer.number:g}" if layer.kind == "dropout" else f"{int(layer.number)}")
    for letter, name in LETTERS.items():
        is_default = getattr(layer, name) == next(f.default for f in fields(Layer) if f.name == name)
        if letter in options and (not is_default or (letter == "s" and "pool" in layer.kind)):
            words.append(f"{letter}{getattr(layer, name)}")
    words += ["same"] * layer.same + ["bn"] * layer.norm + ["nobias"] * ("nobias" in options and not layer.bias)
    words += [layer.activation] * ("activation" in options)
    return " ".join(words)


class _Parser:
    """Recursive descent over the tokens of one line."""

    def __init__(self, text: str) -> None:
        self.text = text
        self._tokens = [Token(match[0], match.start()) for match in re.finditer(r"[|;()]|[^\s|;()]+", text)]
        self._position = 0

    @property
    def next(self) -> Token | None:
        return self._tokens[self._position] if self._position < len(self._tokens) else None

    def take(self) -> Token:
        token = self._tokens[self._position]
        self._position += 1
        return token

    def line(self, depth: int, is_residual: bool = False) -> tuple[Layer, ...]:
        """Layers up to a `;`, a `)` or the end. The sum of a res group precedes the nonlinearity, so its last layer
        is linear unless an activation is written."""
        layers = self.layer(depth)
        size = sum(map(num_layers, layers))
        while self.next and self.next.text == "|":
            self.take()
            more = self.layer(depth)
            size += sum(map(num_layers, more))
            if size > MAX_LAYERS:
                fail(self.text, more[0].start, more[0].end, TOO_MANY)
            layers += more
        usual = ["relu"] * (len(layers) - 1) + ["linear" if is_residual and layers[-1].kind != "res" else "relu"]
        return tuple(
            layer if layer.activation else replace(layer, activation=default)
            for layer, default in zip(layers, usual, strict=True)
        )

    def layer(self, depth: int) -> list[Layer]:
        """A layer as often as its x says; an activation that is not written is empty."""
        token = self.next
        if token is None or token.text in "|;()":
            start = token.start if token else len(self.text.rstrip())
            fail(self.text, start, start + 1, "A layer is missing here.", f"Layers: {', '.join(OPTIONS)}.")
        self.take()
        kind = ALIASES.get(token.text.lower(), token.text.lower())
        if kind not in OPTIONS:
            glued = re.fullmatch(r"(conv|fc|dense)([0-9]{1,7})", token.text.lower())
            hint = f" Did you mean '{glued[1]} {glued[2]}'?" if glued else did_you_mean(kind, [*OPTIONS, *ALIASES])
            hint = hint or f" Layers: {', '.join(OPTIONS)}."
            fail(self.text, token.start, token.end, f"Unknown layer '{printable(token.text)}'.{hint}")
        branches = self._branches(kind, token, depth) if kind in GROUPS else ()
        values: dict[str, Any] = {}
        while self.next and self.next.text not in "|;()":
            self._option(kind, self.take(), values)
        if self.next and self.next.text == "(":
            hint = "Only res( ... ) and cat( ... ; ... ) hold other layers."
            fail(self.text, self.next.start, self.next.end, f"'(' cannot stand after {kind}.", hint)
        repeats = values.pop("repeats", 1)
        layer = self._complete(kind, token, values, branches)
        if repeats * num_layers(layer) > MAX_LAYERS:  # before anything multiplies: x1000 may stand in x1000
            fail(self.text, layer.start, layer.end, TOO_MANY)
        return [layer] * repeats

    def _branches(self, kind: str, word: Token, depth: int) -> tuple[tuple[Layer, ...], ...]:
        if depth >= MAX_DEPTH:
            fail(self.text, word.start, word.end, f"Groups stand inside each other at most {MAX_DEPTH} deep.")
        if self.next is None or self.next.text != "(":
            example = "res( conv 16 f3 same )" if kind == "res" else "cat( conv 16 f1 ; conv 16 f3 same )"
            fail(self.text, word.start, word.end, f"{kind} needs its layers in brackets: {example}.")
        opening = self.take()
        branches = [self.line(depth + 1, is_residual=kind == "res")]
        while self.next and self.next.text == ";" and kind == "cat":
            self.take()
            branches.append(self.line(depth + 1))
        if self.next is None:
            fail(self.text, opening.start, opening.end, "This '(' is never closed.")
        if self.next.text == ";":
            fail(self.text, self.next.start, self.next.end, "res( ) has one branch; cat( ... ; ... ) has several.")
        self.take()
        return tuple(branches)

    def _option(self, kind: str, token: Token, values: dict[str, Any]) -> None:
        name, value = self._read_option(kind, token)
        if name in values:
            fail(self.text, token.start, token.end, f"{kind} is given its {name} twice.")
        if {"padding", "same"} <= {name, *values}:
            fail(self.text, token.start, token.end, "Give either same or p, not both.")
        values[name] = value

    def _read_option(self, kind: str, token: Token) -> tuple[str, Any]:
        """(field, value) of an option of `kind`."""
        options, word = OPTIONS[kind], token.text.lower()
        if word in ACTIVATIONS and "activation" in options:
            return "activation", word
        if word in ("same", "nobias", "bn") and word in options:
            return {"same": ("same", True), "nobias": ("bias", False), "bn": ("norm", True)}[word]
        if kind == "dropout":
            return "number", self._probability(token)
        match = re.fullmatch(r"([fspdgx]?)([0-9]{1,9})", word)
        letter = match[1] or "n" if match else ""
        if not match or letter not in options:
            takes = [option for option in options if option not in ("n", "activation")]
            takes += [f"an activation ({', '.join(ACTIVATIONS)})"] * ("activation" in options)
            hint = f"It takes: {', '.join(takes)}." if takes else "It takes none."
            if ALIASES.get(word, word) in OPTIONS:
                hint = f"A layer of its own has '|' in front of it: | {word}"
            fail(self.text, token.start, token.end, f"{kind} has no option '{printable(token.text)}'.", hint)
        number, least = int(match[2]), 0 if letter == "p" else 1
        if not least <= number <= MAX_NUMBERS[letter]:
            what = "The number" if letter == "n" else letter
            fail(
                self.text, token.start, token.end, f"{what} must be {least} to {MAX_NUMBERS[letter]:,}, got {number:,}."
            )
        return {**LETTERS, "n": "number", "x": "repeats"}[letter], number

    def _probability(self, token: Token) -> float:
        if not re.fullmatch(r"0?\.[0-9]{1,6}|0", token.text):
            fail(
                self.text, token.start, token.end, "dropout takes a probability from 0 to below 1, such as dropout 0.5."
            )
        return float(token.text)

    def _complete(
        self, kind: str, word: Token, values: dict[str, Any], branches: tuple[tuple[Layer, ...], ...]
    ) -> Layer:
        """Fill in the defaults."""
        end = self._tokens[self._position - 1].end
        if kind in NEEDED and "number" not in values:
            fail(self.text, word.start, end, f"{kind} needs {NEEDED[kind]}.")
        if kind == "conv" and "kernel" not in values:
            fail(self.text, word.start, end, "conv needs the size of its filter, such as f3.")
        if kind in ("pool", "avgpool"):
            values.setdefault("kernel", 2)
            values.setdefault("stride", 1 if values.get("same") else values["kernel"])
        if kind == "dropout":
            values.setdefault("number", 0.5)
        if kind in ("conv", "fc", "res"):
            values.setdefault("activation", "")
        return Layer(kind=kind, branches=branches, start=word.start, end=end, **values)
