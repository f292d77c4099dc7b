"""What it was trained on, and how to do it again."""

import shlex
from typing import Any

from ..html import Child, Markup, element, folded, section, table
from ..record import RunRecord

MAX_BAD = 20


def data_section(record: RunRecord) -> Markup:
    """Images by class and split, how pixels become inputs, files that were left out."""
    data = record.data
    if not data:
        return section("data", "Data", element("p", {}, "The data summary is not in the run directory."))
    counts: dict[str, list[int]] = data.get("counts") or {}
    splits = [name for name in ("train", "validation", "test") if name in counts]
    rows: list[list[Child]] = [
        [name, *(f"{counts[split][k]:,}" for split in splits)] for k, name in enumerate(data.get("classes") or [])
    ]
    rows.append(["all", *(f"{sum(counts[split]):,}" for split in splits)])
    listing = table(["class", *splits], rows, "Images by class and split")
    modes = ", ".join(f"{number:,} {mode}" for mode, number in (data.get("modes") or {}).items())
    facts = [
        f"{data.get('num_samples', 0):,} images from '{record.source_name}'; split: {data.get('split')}.",
        f"Colour modes of the files: {modes}." if modes else "",
        f"{data['num_rotated']:,} photos carry a rotation, which was applied." if data.get("num_rotated") else "",
        _pixels(data.get("preprocessing") or {}),
    ]
    return section("data", "Data", *(element("p", {}, fact) for fact in facts if fact), _bad(data), listing)


def reproduce_section(record: RunRecord) -> Markup:
    """The command, what it ran on, and every setting."""
    provenance = record.manifest.provenance
    command = str(provenance.get("command", "")) or f"saccade train {shlex.quote(str(record.config.get('source', '')))}"
    environment = record.environment
    packages = environment.get("packages") or {}
    rows: list[list[Child]] = [
        ["seed", str(record.config.get("seed", provenance.get("seed", "")))],
        ["device", str(environment.get("device", "unknown"))],
        ["platform", str(environment.get("platform", "unknown"))],
        ["Saccade", str(environment.get("saccade", "unknown"))],
        ["Python", str(environment.get("python", "unknown"))],
        *([name, str(version)] for name, version in packages.items()),
        ["settings, digest", str(provenance.get("config_digest", "unknown"))[:16]],
        ["weights, SHA-256", _weights_digest(record)],
    ]
    return section(
        "reproduce",
        "Do it again",
        element("pre", {"tabindex": "0"}, element("code", {}, command)),
        table(["what", "value"], rows, "Seed, machine and versions", numeric_from=9),
        folded(
            "Every setting (config.toml)", element("pre", {"tabindex": "0"}, element("code", {}, record.config_text))
        ),
    )


def _pixels(values: dict[str, Any]) -> str:
    if not values:
        return ""
    size = f"{values.get('input_width_px')}x{values.get('input_height_px')}"
    resize = values.get("resize_px")
    way = f"short side to {resize} px, centre {size} cut out" if resize else f"resized to {size}"
    return f"What the network sees: {values.get('channels')}, {way}, {values.get('interpolation')}."


def _bad(data: dict[str, Any]) -> Markup | None:
    bad = data.get("bad_images") or []
    if not bad:
        return None
    rows: list[list[Child]] = [[str(entry.get("key")), str(entry.get("reason"))] for entry in bad[:MAX_BAD]]
    more = f" ({len(bad) - MAX_BAD:,} more are in data.json)" if len(bad) > MAX_BAD else ""
    return folded(
        f"{len(bad):,} files left out{more}", table(["file", "reason"], rows, "Files left out", numeric_from=9)
    )


def _weights_digest(record: RunRecord) -> str:
    weights = record.manifest.files.get("weights.safetensors")
    return weights.sha256[:16] if weights else "unknown"
