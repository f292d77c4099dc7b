"""`saccade models`: the networks that can be trained by name."""

import typer

from .output import format_table, print_json, print_result


def models(as_json: bool = typer.Option(False, "--json", help="Print one JSON object.")) -> None:
    """List the networks: what they are, where they come from, what they cost."""
    from ..models.architecture import MODELS

    entries = [MODELS.get(name) for name in MODELS]
    if as_json:
        print_json(
            {
                "models": [
                    {
                        "name": entry.name,
                        "summary": entry.summary,
                        "citation": entry.citation,
                        "input": list(entry.default_spec.input_CHW),
                        "classes": entry.default_spec.num_classes,
                        "parameters": entry.references[0].parameters if entry.references else None,
                        "multiply_adds": entry.references[0].multiply_adds if entry.references else None,
                        "public_weights": entry.rename_key is not None,
                    }
                    for entry in entries
                ]
            }
        )
        return
    rows = []
    for entry in entries:
        channels, height_px, width_px = entry.default_spec.input_CHW
        parameters = entry.references[0].parameters if entry.references else None
        size = f"{height_px}x{width_px}x{channels}"
        rows.append([entry.name, entry.summary, size, f"{parameters:,}" if parameters else "-"])
    print_result(format_table(["model", "what it is", "input", "parameters"], rows, left=2))
