"""Weights of the Hugging Face hub: one safetensors file, its config.json and its card, downloaded once, pinned.

Code, pickles and everything else that a repository may hold are not downloaded.
"""

from pathlib import Path

from ..core.addresses import hub_name, shown
from ..core.errors import WeightsError, printable
from ..core.hub_download import HubKind, download

HUB_PREFIX = "hub:"
CARDS = ["config.json", "README.md"]
USUAL_NAME = "model.safetensors"
PICKLES = (".bin", ".pth", ".pt", ".ckpt", ".pkl")
MODEL = HubKind(
    repo_type="model",
    noun="model",
    page="https://huggingface.co",
    instead="its .safetensors file",
    error=WeightsError,
)


def download_weights(text: str) -> tuple[Path, str]:
    """(the folder with the weight file and its cards, hub:OWNER/NAME@COMMIT) of hub:OWNER/NAME[@REVISION].

    Raises WeightsError.
    """
    asked = hub_name(text)
    if asked is None or asked.folder:
        raise WeightsError(
            f"'{shown(text)}' is not an address of weights on the hub.\n"
            f"Write hub:OWNER/NAME, and where needed @REVISION after it."
        )
    name, revision = asked.name, asked.revision or "main"
    folder = download(MODEL, name, revision, [USUAL_NAME, *CARDS])
    if not weights_in(folder):  # under another name, or not there at all
        folder = download(MODEL, name, folder.name, [_other_name(name, folder.name), *CARDS])
    return folder, f"hub:{name}@{folder.name}"


def is_on_this_machine(text: str) -> bool:
    """Whether the weight file and its config.json of hub:OWNER/NAME[@REVISION] lie in Hugging Face's cache."""
    import huggingface_hub

    asked = hub_name(text)
    if asked is None:
        return False
    found = (
        huggingface_hub.try_to_load_from_cache(asked.name, file, revision=asked.revision or None)
        for file in (USUAL_NAME, CARDS[0])
    )
    return all(isinstance(path, str) for path in found)


def is_offline() -> bool:
    """Whether HF_HUB_OFFLINE forbids to ask the hub."""
    import huggingface_hub.constants

    return bool(huggingface_hub.constants.HF_HUB_OFFLINE)


def weights_in(folder: Path) -> list[Path]:
    """The weight files that lie in `folder`."""
    return sorted(folder.glob("*.safetensors"))


def _other_name(name: str, commit: str) -> str:
    """The one safetensors file of a repository that has no model.safetensors. Raises WeightsError."""
    import huggingface_hub
    from huggingface_hub import errors

    where = f"hub:{name}"
    try:
        files = huggingface_hub.HfApi().list_repo_files(name, revision=commit)
    except (errors.HTTPError, errors.OfflineModeIsEnabled, OSError):  # type: ignore[attr-defined]
        raise WeightsError(
            f"{where} has no {USUAL_NAME} on this machine, and the hub does not answer.\n"
            f"Go online once, or give {MODEL.instead}."
        ) from None
    found = [file for file in files if file.endswith(".safetensors") and "/" not in file]
    if len(found) == 1:
        return found[0]
    page = f"{MODEL.page}/{name}"
    if found:
        shown = ", ".join(printable(file) for file in found[:3])
        raise WeightsError(f"{where} has {len(found)} weight files: {shown}.\nDownload the one you want from {page}.")
    pickles = [file for file in files if file.endswith(PICKLES)]
    if pickles:
        raise WeightsError(
            f"{where} has no .safetensors file, only pickles such as {printable(pickles[0])}.\n"
            f"Download it from {page}, then: saccade convert FILE --model NAME --out FILE.safetensors"
        )
    raise WeightsError(f"{where} has no .safetensors file.\nSee {page}.")
