"""The name of a network with a new last layer, `NAME+HEAD`, read without building anything."""

import re

WORD = re.compile(r"linear|loglinear|hidden([1-9]\d{0,4})", re.ASCII)
NAMED = re.compile(rf"[A-Za-z][\w.-]*\+({WORD.pattern})", re.ASCII)


def head_words(text: str) -> str:
    """`linear`, `log-linear` or `256 hidden units`: what a new last layer is; "" of a network without one."""
    match = NAMED.fullmatch(text)
    if match is None:
        return ""
    return f"{match[2]} hidden units" if match[2] else {"linear": "linear", "loglinear": "log-linear"}[match[1]]
