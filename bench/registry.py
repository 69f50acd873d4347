"""
The registry: which scenarios there are, found by import, refused early when they declare themselves wrongly.

A scenario is one file under ``scenarios/`` with one decorated class; nothing else is edited to add one. The decorator
checks what it can see before any cluster is touched, and names file and line.
"""

import dataclasses
import difflib
import importlib
import inspect
import pkgutil
import re
import types
import typing
from collections.abc import Callable, Iterator, Mapping
from typing import Any, TypeVar, dataclass_transform

from bench.errors import BadDeclaration, BadParameter, UnknownScenario
from bench.model.scenario import Scenario
from bench.requirements import all_requirement_ids

ScenarioType = TypeVar("ScenarioType", bound=type)

_ID = re.compile(r"[a-z][a-z0-9]*(-[a-z0-9]+)*")
_METHODS = ("needs", "run", "checks")
_PARAMETER_TYPES = (bool, int, float, str)


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Parameter:
    """A value that the user may set, with its type and default; the text of `default` is what `--set` would take."""

    name: str
    kind: str
    default: str


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Declaration:
    """A registered scenario."""

    id: str
    requirement: str
    claim: str
    description: str
    parameters: tuple[Parameter, ...]
    place: str
    factory: type

    def make(self, settings: Mapping[str, str]) -> Scenario:
        """
        The scenario with its parameters set from text.

        Raises:
            BadParameter: an unknown name, or a value that the parameter's type does not take.

        """
        hints = typing.get_type_hints(self.factory)
        values = {}
        for name, text in settings.items():
            self._refuse_unknown(name)
            values[name] = _parse(hints[name], text, f"{self.id}.{name}")
        try:
            made = self.factory(**values)
        except ValueError as error:
            raise BadParameter(f"{self.id}: {error}. See `bench show {self.id}`.") from error
        return typing.cast("Scenario", made)

    def _refuse_unknown(self, name: str) -> None:
        known = [parameter.name for parameter in self.parameters]
        if name not in known:
            near = difflib.get_close_matches(name, known, n=1)
            hint = f"did you mean {near[0]!r}?" if near else f"it has {', '.join(known) or 'none'}."
            raise BadParameter(f"Scenario {self.id} has no parameter {name!r}; {hint}")


class Registry:
    """Scenarios by id; each id once."""

    def __init__(self) -> None:
        self._declarations: dict[str, Declaration] = {}

    def add(self, declaration: Declaration) -> None:
        """
        Take a declaration in.

        Raises:
            BadDeclaration: the id is taken by a scenario at another place.

        """
        earlier = self._declarations.get(declaration.id)
        if earlier and earlier.place != declaration.place:
            raise BadDeclaration(f"{declaration.place}: the id {declaration.id!r} is taken by {earlier.place}")
        self._declarations[declaration.id] = declaration

    def get(self, scenario_id: str) -> Declaration:
        """
        The declaration of that id.

        Raises:
            UnknownScenario: there is none; the message names the nearest ids.

        """
        if scenario_id in self._declarations:
            return self._declarations[scenario_id]
        near = difflib.get_close_matches(scenario_id, self._declarations, n=1)
        hint = f"did you mean {near[0]!r}?" if near else "`bench list` shows all."
        raise UnknownScenario(f"There is no scenario {scenario_id!r}; {hint}")

    def __iter__(self) -> Iterator[Declaration]:
        return iter(sorted(self._declarations.values(), key=lambda each: each.id))

    def __len__(self) -> int:
        return len(self._declarations)


REGISTRY = Registry()


@dataclass_transform(kw_only_default=True, frozen_default=True)
def scenario(
    scenario_id: str, *, requirement: str = "", registry: Registry | None = None
) -> Callable[[ScenarioType], ScenarioType]:
    """
    Declare a scenario: a class with a docstring (its claim), typed fields with defaults, and needs, run, checks.

    The class becomes a frozen dataclass. `requirement` is the programme's id, or empty for a claim of our own.
    """

    def declare(cls: ScenarioType) -> ScenarioType:
        place = _place(cls)
        problem = _problem_of(cls, scenario_id, requirement)
        if problem:
            raise BadDeclaration(f"{place}: {cls.__name__}: {problem}")
        frozen = _frozen(cls)
        description = inspect.cleandoc(cls.__doc__ or "")
        declaration = Declaration(
            id=scenario_id,
            requirement=requirement,
            claim=" ".join(description.split("\n\n")[0].split()),
            description=description,
            parameters=tuple(_parameters(frozen)),
            place=place,
            factory=frozen,
        )
        (REGISTRY if registry is None else registry).add(declaration)
        return frozen

    return declare


def _frozen(cls: ScenarioType) -> ScenarioType:
    if "__dataclass_fields__" in vars(cls):
        return cls
    return typing.cast("ScenarioType", dataclasses.dataclass(frozen=True, kw_only=True)(cls))


def discover(package_name: str = "scenarios") -> Registry:
    """
    Import every module of the package, so that its scenarios register; those of the package.

    By name at run time: the bench does not depend on the scenarios that it runs.
    """
    package = importlib.import_module(package_name)
    for module in sorted(pkgutil.iter_modules(package.__path__), key=lambda each: each.name):
        importlib.import_module(f"{package_name}.{module.name}")
    found = Registry()
    for declaration in REGISTRY:
        if declaration.factory.__module__.startswith(f"{package_name}."):
            found.add(declaration)
    return found


def _place(cls: type) -> str:
    try:
        _, line = inspect.getsourcelines(cls)
        return f"{inspect.getsourcefile(cls)}:{line}"
    except (OSError, TypeError):
        return f"{cls.__module__}.{cls.__qualname__}"


def _problem_of(cls: type, scenario_id: str, requirement: str) -> str:
    """What is wrong with the declaration; empty where nothing is."""
    if not _ID.fullmatch(scenario_id):
        return f"the id {scenario_id!r} is not kebab-case (small letters, digits, single hyphens)"
    if requirement and requirement not in all_requirement_ids():
        near = difflib.get_close_matches(requirement, all_requirement_ids(), n=1)
        return f"no version of the programme has the requirement {requirement!r}" + (
            f"; did you mean {near[0]!r}?" if near else ""
        )
    if not (cls.__doc__ or "").strip():
        return "it has no docstring; its first paragraph is the claim"
    missing = [method for method in _METHODS if not callable(getattr(cls, method, None))]
    if missing:
        return f"it lacks {', '.join(missing)}; a scenario has needs, run and checks"
    return _problem_of_parameters(cls)


def _problem_of_parameters(cls: type) -> str:
    annotated = inspect.get_annotations(cls)
    for name, value in vars(cls).items():
        if name.startswith("_") or name in annotated or _is_behaviour(value):
            continue
        return f"the parameter {name!r} has no type; write `{name}: {type(value).__name__} = {value!r}`"
    hints = typing.get_type_hints(cls)
    for name in annotated:
        if name not in vars(cls):
            return f"the parameter {name!r} has no default; a scenario runs as it is"
        if not _is_parameter_type(hints[name]):
            return f"the parameter {name!r} is {hints[name]}; a parameter is bool, int, float, str or a tuple of one"
    return ""


def _is_behaviour(value: object) -> bool:
    return callable(value) or isinstance(value, property | staticmethod | classmethod | types.FunctionType)


def _is_parameter_type(kind: Any) -> bool:
    if typing.get_origin(kind) is tuple:
        arguments = typing.get_args(kind)
        return len(arguments) == 2 and arguments[1] is Ellipsis and arguments[0] in _PARAMETER_TYPES
    return kind in _PARAMETER_TYPES


def _parameters(cls: type) -> Iterator[Parameter]:
    for field in dataclasses.fields(cls):
        kind = typing.get_type_hints(cls)[field.name]
        yield Parameter(name=field.name, kind=_type_text(kind), default=parameter_text(field.default))


def _type_text(kind: Any) -> str:
    if typing.get_origin(kind) is tuple:
        return f"list of {typing.get_args(kind)[0].__name__}"
    return str(kind.__name__)


def parameter_text(value: object) -> str:
    """A parameter's value as `--set` takes it: lists joined by commas, flags as true and false."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, tuple):
        return ",".join(parameter_text(item) for item in value)
    return f"{value:g}" if isinstance(value, float) and f"{value:g}" == str(value).removesuffix(".0") else str(value)


def _parse(kind: Any, text: str, name: str) -> Any:
    if typing.get_origin(kind) is tuple:
        item = typing.get_args(kind)[0]
        return tuple(_parse(item, part.strip(), name) for part in text.split(",") if part.strip())
    try:
        return _PARSERS[kind](text)
    except (ValueError, KeyError) as error:
        raise BadParameter(f"{name}={text!r}: {_type_text(kind)} is needed.") from error


def _parse_float(text: str) -> float:
    value = float(text)
    if value != value or value in (float("inf"), float("-inf")):  # noqa: PLR0124  (NaN alone differs from itself)
        raise ValueError(text)
    return value


_FLAGS = {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}
_PARSERS: dict[Any, Callable[[str], Any]] = {
    bool: lambda text: _FLAGS[text.strip().lower()],
    int: int,
    float: _parse_float,
    str: str,
}
