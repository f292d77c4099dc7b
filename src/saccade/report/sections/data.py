"""What it was trained on, and how to reproduce it."""

import shlex

from ...core.types import SPLITS, Preprocessing
from ...data.images.bands import bands_words
from ...data.images.preprocess import fit_words
from ...runs.names import WEIGHTS
from ...runs.summary import DataSummary, Environment
from ..html import Child, Markup, element, folded, section, table
from ..record import RunRecord

MAX_BAD = 20


def data_section(record: RunRecord) -> Markup:
    """Images by class and split, how pixels become inputs, files that were left out."""
    data = record.data
    if data is None:
        return section("data", "Data", element("p", {}, "The data summary is not in the run directory."))
    splits = [name for name in SPLITS if name in data.counts]
    rows: list[list[Child]] = [
        [name, *(f"{data.counts[split][k]:,}" for split in splits)] for k, name in enumerate(data.classes)
    ]
    if data.num_images:  # an image may have several labels, or none
        rows.append(["images", *(f"{data.num_images.get(split, 0):,}" for split in splits)])
    else:
        rows.append(["all", *(f"{sum(data.counts[split]):,}" for split in splits)])
    listing = table(["class", *splits], rows, "Images by class and split")
    facts = data_facts(data, record.source_name)
    return section("data", "Data", *(element("p", {}, fact) for fact in facts), left_out_files(data), listing)


def data_facts(data: DataSummary, source_name: str) -> list[str]:
    """Sentences on the images, their files, and what the network sees of them."""
    modes = ", ".join(f"{number:,} {mode}" for mode, number in data.modes.items())
    facts = [
        f"{data.num_samples:,} images from '{source_name}'; split: {data.split or 'unknown'}.",
        f"Colour modes of the files: {modes}." if modes else "",
        f"{data.num_rotated:,} photos carry a rotation, which was applied." if data.num_rotated else "",
        _pixels(data.preprocessing) if data.preprocessing else "",
    ]
    return [fact for fact in facts if fact]


def reproduce_section(record: RunRecord) -> Markup:
    """The command, what it ran on, and what was asked."""
    provenance = record.manifest.origin
    command = provenance.command or f"saccade train {shlex.quote(record.config.source)}"
    environment = record.environment or Environment()
    seed = record.config.seed if record.config.seed is not None else provenance.seed
    rows: list[list[Child]] = [
        ["seed", str(seed)],
        ["device", environment.device],
        ["platform", environment.platform],
        ["Saccade", environment.saccade],
        ["Python", environment.python],
        *_versions(environment),
        ["settings, digest", (provenance.config_digest or "unknown")[:16]],
        ["weights, SHA-256", _weights_digest(record)],
    ]
    return section(
        "reproduce",
        "Reproduce",
        element("pre", {"tabindex": "0"}, element("code", {}, command)),
        table(["what", "value"], rows, "Seed, machine and versions", numeric_from=9),
        folded(
            "What was asked, where it differs from the defaults (config.toml)",
            element("pre", {"tabindex": "0"}, element("code", {}, record.config_text)),
        ),
    )


def _versions(environment: Environment) -> list[list[Child]]:
    return [[name, version] for name, version in environment.packages.items()]


def _pixels(seen: Preprocessing) -> str:
    channels = bands_words(seen) if seen.has_bands else seen.channels
    return f"What the network sees: {channels}, {fit_words(seen)}, {seen.interpolation}."


def left_out_files(data: DataSummary) -> Markup | None:
    """The files that were left out, by name, with the reason; None where there are none."""
    bad = data.bad_images
    if not bad:
        return None
    rows: list[list[Child]] = [[entry.key, entry.reason] for entry in bad[:MAX_BAD]]
    more = f" ({len(bad) - MAX_BAD:,} more are in data.json)" if len(bad) > MAX_BAD else ""
    return folded(
        f"{len(bad):,} unreadable file{'s' * (len(bad) > 1)} left out{more}",
        table(["file", "reason"], rows, "Files that were left out", numeric_from=9),
    )


def _weights_digest(record: RunRecord) -> str:
    weights = record.manifest.files.get(WEIGHTS)
    return weights.sha256[:16] if weights else "unknown"
