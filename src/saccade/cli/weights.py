"""`saccade weights [NAME]`: the table of public weights, or one of them fetched."""

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import typer

from .output import format_table, print_json, print_result

if TYPE_CHECKING:
    from ..weights.public_table import PublicWeights


def weights(
    name: str = typer.Argument(
        "", metavar="NAME", show_default=False, help="A network, or weights such as resnet18.a1_in1k: fetch them."
    ),
    verify: bool = typer.Option(False, "--verify", help="Fetch all of the table and compare their digests."),
    as_json: bool = typer.Option(False, "--json", help="Print one JSON object."),
) -> None:
    """List public weights with licence and accuracy, or fetch those of NAME into Hugging Face's cache."""
    from ..weights.public_table import fetch, find_public, public_weights

    if not name and not verify:
        lines = public_weights()
        if as_json:
            print_json({"weights": [_facts(line) for line in lines]})
        else:
            print_result(_listed(lines))
        return
    wanted = public_weights() if verify else (find_public(name),)
    fetched = [fetch(line) for line in wanted]
    if as_json:
        print_json({"weights": [_facts(line.line) | _found(line) for line in fetched]})
        return
    for found in fetched:
        state = "as the table says" if found.line.is_verified else "not in the table yet"
        print_result(
            f"{found.path}\n"
            f"{found.address}: {found.line.network}, {found.line.licence}, {found.line.trained_on}\n"
            f"SHA-256 {found.sha256} ({state})"
        )


def _facts(line: "PublicWeights") -> dict[str, Any]:
    from ..weights.public_table import multiply_adds

    cost = multiply_adds(line)
    return asdict(line) | {"name": line.name, "is_verified": line.is_verified, "multiply_adds": cost}


def _found(found: Any) -> dict[str, Any]:
    return {"path": str(found.path), "address": found.address, "found_sha256": found.sha256}


def _listed(lines: "tuple[PublicWeights, ...]") -> str:
    from ..weights.public_table import multiply_adds

    rows = [
        (
            line.name,
            line.network,
            "-" if line.top1_percent is None else f"{line.top1_percent:.1f}",
            f"{line.input_px}",
            f"{(multiply_adds(line) or 0) / 1e9:.2f}",
            f"{line.megabytes:.0f}",
            line.licence + ("" if line.any_use else " (not for commercial use)"),
        )
        for line in lines
    ]
    heading = ("weights", "network", "top-1 %", "px", "G multiply-adds", "MB", "licence")
    unverified = sum(not line.is_verified for line in lines)
    told = [
        "Accuracy on ImageNet as timm publishes it (-: no head, for features); weights of ImageNet: mind the terms of "
        "its photos, too.",
        f"{unverified} of {len(lines)} are unverified: nobody has entered their digest yet. saccade weights --verify "
        "fetches and compares all.",
        "Fetch: saccade weights NAME. Use: saccade transfer PHOTOS --backbone NETWORK",
    ]
    return "\n".join([format_table(heading, rows, left=2), "", *told])
