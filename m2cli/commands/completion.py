"""`m2 completion`: the script that completes m2's verbs and options in a shell."""

from __future__ import annotations

import click
from click.shell_completion import get_completion_class

_SHELLS = ("bash", "zsh", "fish")


@click.command()
@click.argument("shell", type=click.Choice(_SHELLS))
def completion(shell: str) -> None:
    """Print the script that completes m2's verbs and options in your shell.

    \b
    Examples:
      m2 completion bash > ~/.local/share/bash-completion/completions/m2
      m2 completion zsh  > "${fpath[1]}/_m2"
      m2 completion fish > ~/.config/fish/completions/m2.fish
    """
    make = get_completion_class(shell)
    if make is not None:
        m2 = click.get_current_context().find_root().command
        click.echo(make(m2, {}, "m2", "_M2_COMPLETE").source())
