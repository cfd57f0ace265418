"""A name for every part: registries that refuse mistakes, suggest the nearest name and find plug-ins."""

import dataclasses
import difflib
import importlib.metadata
import importlib.util
import inspect
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, Generic, TypeVar

from .errors import PluginWarning, RegistrationError, UnknownNameError, warn

T = TypeVar("T")
C = TypeVar("C", bound=type)


def suggestion(what: str, got: str, names: Iterable[str]) -> str:
    """One sentence about a name that is not in `names`: the name, the nearest one, and the list."""
    names = list(names)
    nearest = difflib.get_close_matches(got, names, n=1, cutoff=0.5)
    hint = f" Did you mean {nearest[0]!r}?" if nearest else ""
    return f"Unknown {what} {got!r}.{hint} Choose from: {', '.join(names)}."


def missing_package(member: str, package: str | None, extra: str | None) -> str:
    """One sentence if a member needs a package that is not installed, and which extra installs it; else nothing."""
    if package is None or importlib.util.find_spec(package) is not None:
        return ""
    return f"{member} needs the package {package}: pip install '{f'deflow[{extra}]' if extra else package}'."


class Registry(Mapping[str, type], Generic[T]):
    """The members of one kind of part, by name.

    A member is a subclass of one of `bases`: a part without arrays, which is its own configuration, or the frozen
    configuration of a part with arrays. Other packages add members through entry points in the group
    `deflow.<plural>`, which are loaded at the first look-up.
    """

    def __init__(self, kind: str, plural: str, bases: tuple[type, ...]):
        self.kind = kind
        """The kind in words: `trust region`."""
        self.plural = plural
        """The name of the package, and of the entry points' group after `deflow.`: `trust_regions`."""
        self.bases = bases
        """The abstract classes; every member derives from one of them."""
        self._members: dict[str, type] = {}
        self._distributions: dict[str, str] = {}
        self._plugins_loaded = False

    @property
    def choice(self) -> str:
        """The kind as it is written on the command line: `trust-region`."""
        return self.kind.replace(" ", "-")

    def register(self, name: str) -> Callable[[C], C]:
        """Class decorator: adds the class under `name` (lower case, words joined by hyphens).

        Defining the same class again (by running a notebook cell twice) replaces the first one.

        Raises:
            RegistrationError: If the name is missing, taken or malformed, or if the class is of another kind or still
                abstract, or if a field has no default.
        """
        if not isinstance(name, str):
            got = name.__qualname__ if isinstance(name, type) else repr(name)
            raise RegistrationError(f'Registering a {self.kind} takes a name: @register("a-name"), got {got}.')
        return lambda cls: self._add(name, cls, cls.__module__.partition(".")[0])

    def member(self, choice: Any) -> Any:
        """The part that a choice stands for: a registered name or a class with its defaults, a part as it is.

        Raises:
            TypeError: For anything else.
            UnknownNameError: For a name that is not registered.
        """
        if isinstance(choice, str):
            return self[choice]()
        if isinstance(choice, type) and issubclass(choice, self.bases):
            try:
                return choice()
            except TypeError as error:
                raise TypeError(
                    f"{choice.__name__} is made by its configuration, with the data's sizes: give "
                    f"{choice.__name__}Config(), or one of {', '.join(map(repr, self))}."
                ) from error
        if isinstance(choice, self.bases):
            return choice
        raise TypeError(self.refusal(choice))

    def refusal(self, choice: Any) -> str:
        """The sentence for something that is no member."""
        got = choice.__name__ if isinstance(choice, type) else repr(choice)
        return (
            f"The {self.kind} must be one of {', '.join(map(repr, self))} or an object of a class derived from "
            f"{' or '.join(base.__name__ for base in self.bases)}, got {got}."
        )

    def name_of(self, member: object) -> str:
        """The name under which a member (or its class) is registered."""
        cls = member if isinstance(member, type) else type(member)
        for name, registered in self._loaded().items():
            if _origin(registered) == _origin(cls):  # a class that a notebook's cell defined again is itself
                return name
        raise UnknownNameError(
            f"{cls.__qualname__} is not registered as a {self.kind}: "
            f'put @deflow.{self.plural}.register("a-name") above its class.'
        )

    def distribution(self, name: str) -> str:
        """The installed distribution or top-level module a member came from."""
        self[name]
        return self._distributions[name]

    def __repr__(self) -> str:
        return f"Registry({self.kind}: {', '.join(self)})"

    def __getitem__(self, name: str) -> type[T]:
        members = self._loaded()
        if name not in members:
            raise UnknownNameError(suggestion(self.kind, name, members))
        return members[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._loaded())

    def __len__(self) -> int:
        return len(self._loaded())

    def _loaded(self) -> dict[str, type]:
        if not self._plugins_loaded:
            self._plugins_loaded = True
            self._warn_of_other_groups()
            for point in importlib.metadata.entry_points(group=f"deflow.{self.plural}"):
                origin = point.dist.name if point.dist is not None else point.module
                try:
                    self._add(point.name, point.load(), origin)
                except Exception as error:
                    warn(
                        f"The {self.kind} {point.name!r} of {origin} could not be loaded and was skipped: "
                        f"{type(error).__name__}: {error}",
                        PluginWarning,
                    )
        return self._members

    def _warn_of_other_groups(self) -> None:
        """Warns of entry points in a group that is almost the kind's own, which is never read."""
        own = f"deflow.{self.plural}"
        for group in sorted(importlib.metadata.entry_points().groups):
            if group != own and _bare(group) == _bare(own):
                warn(
                    f"Entry points ({', '.join(sorted(importlib.metadata.entry_points(group=group).names))}) are in "
                    f"the group {group!r}, which is not read: {self.kind}s belong in {own!r}.",
                    PluginWarning,
                )

    def _add(self, name: str, cls: C, origin: str) -> C:
        if not name or name != name.lower().replace("_", "-").replace(" ", "-"):
            raise RegistrationError(
                f"The name {name!r} of a {self.kind} must be lower case, with hyphens between words."
            )
        if not (isinstance(cls, type) and issubclass(cls, self.bases)):
            expected = " or ".join(base.__name__ for base in self.bases)
            raise RegistrationError(f"The {self.kind} {name!r} must be a subclass of {expected}, got {cls!r}.")
        missing = _abstract_names(cls)
        if missing:
            raise RegistrationError(
                f"The {self.kind} {name!r} ({cls.__qualname__}) is still abstract: define {', '.join(missing)}."
            )
        if needed := _fields_without_defaults(cls):
            raise RegistrationError(
                f"The {self.kind} {name!r} ({cls.__qualname__}) has fields without a default ({', '.join(needed)}): "
                "give each one, so that the name alone is a choice."
            )
        previous = self._members.get(name)
        if previous is not None and _origin(previous) != _origin(cls):
            raise RegistrationError(
                f"The {self.kind} {name!r} is already registered, by {'.'.join(_origin(previous))}: "
                "choose another name."
            )
        self._members[name] = cls
        self._distributions[name] = origin
        return cls


def _origin(cls: type) -> tuple[str, str]:
    return cls.__module__, cls.__qualname__


def _bare(group: str) -> str:
    """A group's name without what is easily mistaken: case, hyphens, underscores and the plural."""
    return group.lower().replace("-", "").replace("_", "").removesuffix("s")


def _fields_without_defaults(cls: type) -> list[str]:
    fields = dataclasses.fields(cls) if dataclasses.is_dataclass(cls) else ()
    missing = dataclasses.MISSING
    return [f.name for f in fields if f.init and f.default is missing and f.default_factory is missing]


def _abstract_names(cls: type) -> list[str]:
    names = set(getattr(cls, "__abstractmethods__", ())) if inspect.isabstract(cls) else set()
    for attribute in ("__abstractvars__", "__abstractclassvars__"):
        names |= set(getattr(cls, attribute, ()))
    return sorted(names)
