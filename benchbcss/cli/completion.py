"""``benchbcss completion``: the script that makes a shell complete names and options."""

from __future__ import annotations

import click

SHELLS = ("bash", "zsh", "fish")
_COMPINIT = "(( $+functions[compdef] )) || { autoload -Uz compinit && compinit -i; }"


@click.command()
@click.argument("shell", metavar="SHELL", type=click.Choice(SHELLS))
def completion(shell: str) -> None:
    """Print a script for SHELL (bash, zsh or fish) that completes commands, options and names.

    \b
    bash:  eval "$(benchbcss completion bash)"   in ~/.bashrc
    zsh:   eval "$(benchbcss completion zsh)"    in ~/.zshrc
    fish:  benchbcss completion fish > ~/.config/fish/completions/benchbcss.fish
    """
    from click.shell_completion import get_completion_class

    from benchbcss.cli.main import COMPLETE_VARIABLE, cli

    made = get_completion_class(shell)
    assert made is not None
    script = made(cli, {}, "benchbcss", COMPLETE_VARIABLE)
    if shell == "zsh":  # a plain .zshrc has not loaded what the script registers itself with
        click.echo(_COMPINIT)
    click.echo(script.source_template % script.source_vars())
