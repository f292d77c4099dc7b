"""`saccade augmentations`: what can be done to training images, and the named policies."""

import typer

from .output import format_table, print_json, print_result


def augmentations(as_json: bool = typer.Option(False, "--json", help="Print one JSON object.")) -> None:
    """List the augmentations with their values, and the policies with their sources."""
    from ..data.augmentation import AUGMENTATIONS
    from ..data.augmentation_policy import POLICIES

    entries = [AUGMENTATIONS.get(name) for name in AUGMENTATIONS]
    if as_json:
        print_json(
            {
                "augmentations": [
                    {
                        "name": entry.name,
                        "summary": entry.summary,
                        "source": entry.source,
                        "kind": type(entry).__name__.lower(),
                        "values": [
                            {"name": key, "default": field.default, "description": field.description}
                            for key, field in entry.strengths.model_fields.items()
                        ],
                    }
                    for entry in entries
                ],
                "policies": [
                    {"name": policy.name, "source": policy.source, "values": policy.values()}
                    for policy in POLICIES.values()
                ],
            }
        )
        return
    rows = []
    for entry in entries:
        for number, (key, field) in enumerate(entry.strengths.model_fields.items()):
            rows.append([entry.name if number == 0 else "", key, str(field.default), str(field.description)])
    names = [[policy.name, policy.source] for policy in POLICIES.values()]
    print_result(
        f"{format_table(['augmentation', 'value', 'default', 'meaning'], rows, left=4)}\n\n"
        f"{format_table(['policy', 'for what, and from where'], names, left=2)}\n\n"
        f"See one: saccade preview SOURCE --policy NAME --out preview.png\n"
        f"Train with one: saccade train SOURCE --policy NAME"
    )
