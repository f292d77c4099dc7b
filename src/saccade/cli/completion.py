"""`saccade completion SHELL`: the script by which a shell completes commands and options."""

import typer

from ..core.errors import UsageError, did_you_mean, printable
from .output import print_result

SHELLS = ("bash", "zsh", "fish")


def completion(
    shell: str = typer.Argument(metavar="SHELL", help="bash, zsh or fish."),
) -> None:
    """Print the script that completes commands and options in SHELL.

    In every new shell: eval "$(saccade completion bash)" in ~/.bashrc, the same with zsh in ~/.zshrc; for fish
    saccade completion fish > ~/.config/fish/completions/saccade.fish
    """
    if shell not in SHELLS:
        raise UsageError(
            f"There is no completion for '{printable(shell[:80])}'.{did_you_mean(shell, SHELLS)} "
            f"Shells: {', '.join(SHELLS)}."
        )
    from typer._completion_shared import get_completion_script

    print_result(get_completion_script(prog_name="saccade", complete_var="_SACCADE_COMPLETE", shell=shell).strip())
