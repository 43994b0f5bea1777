"""Every number on the command line has bounds: absurd ones are refused before anything is done."""

import click
import pytest

from benchbcss.cli.main import cli


def numbers():
    """(command, option) of every number that a command of this distribution takes."""

    def below(group, context):
        for name in group.list_commands(context):
            command = group.get_command(context, name)
            inner = click.Context(command, info_name=name, parent=context)
            if isinstance(command, click.Group):
                yield from below(command, inner)
                continue
            for parameter in command.get_params(inner):
                if isinstance(
                    parameter.type, (click.types.IntParamType, click.types.FloatParamType)
                ):
                    yield pytest.param(
                        inner, parameter, id=f"{inner.command_path} {parameter.name}"
                    )

    yield from below(cli, click.Context(cli, info_name="benchbcss"))


ALL = list(numbers())


def test_there_are_some():
    names = {parameter.values[1].name for parameter in ALL}
    assert {"seeds", "seed", "jobs", "processes", "workers", "timeout", "mpp", "size"} <= names


@pytest.mark.parametrize("value", ["nan", "inf", "-inf", "1e999", "-1", str(10**30), "", "0x10"])
@pytest.mark.parametrize(("context", "parameter"), ALL)
def test_what_is_no_sensible_number_is_refused(context, parameter, value):
    with pytest.raises(click.BadParameter) as caught:
        parameter.type.convert(value, parameter, context)
    assert "is not in the range" in caught.value.message or repr(value) in caught.value.message
