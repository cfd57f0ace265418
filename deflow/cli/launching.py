"""A launcher from its name and its settings."""

from collections.abc import Sequence

from .. import launchers
from ..errors import UsageError
from ..registry import suggestion
from .help import field_docstrings
from .parsing import filled
from .values import flag_of, spelled, types_of


def launcher_of(name: str, settings: Sequence[str], *, early_stop: bool = False) -> launchers.AbstractLauncher:
    """The launcher of a name, with settings as NAME=VALUE; or the one that stops jobs early in its place.

    Raises:
        UnknownNameError: For a launcher that is not registered.
        UsageError: For a setting that it does not have, or a value of another type; or if it cannot stop jobs early.
    """
    cls = _stopping(name) if early_stop else launchers.registry[name]
    types, words = types_of(cls), list[str]()
    for each in settings:
        key, _, value = each.partition("=")
        flag = f"--{key.replace('_', '-')}"
        if flag not in types:
            said = {flag_of(field): " ".join(text.split()) for field, text in field_docstrings(cls).items()}
            listed = "; ".join(f"{name[2:]}: {said[name]}" for name in types if name in said)
            raise UsageError(
                f"{suggestion(f'setting of the launcher {name}', key, [one[2:] for one in types])} {listed}"
            )
        try:
            words += spelled([f"{flag}={value}"], types)
        except UsageError as error:
            raise UsageError(f"--launch: {str(error).removeprefix('--')}") from error
    return filled(cls, words, program=name)


def _stopping(name: str) -> type[launchers.AbstractLauncher]:
    """The launcher that stops jobs early, of that name or in its place."""
    launchers.registry[name]  # which says what is no launcher
    able = {
        called: cls
        for own, cls in launchers.registry.items()
        if issubclass(cls, launchers.AbstractStoppingLauncher)
        for called in (cls.instead_of, own)
    }
    if name not in able:
        raise UsageError(
            f"--early-stop: the launcher {name} stops no run early: give --launcher {' or '.join(able)}, or leave "
            "--early-stop out."
        )
    return able[name]
