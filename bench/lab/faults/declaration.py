"""What a fault is, as it is declared; and its arguments read from text."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from bench.errors import WrongUsage

Value = float | int | str


class Kind(StrEnum):
    """What text an argument takes."""

    TEXT = "text"
    NUMBER = "number"
    WHOLE = "whole number"


@dataclass(frozen=True, slots=True, kw_only=True)
class Argument:
    """One argument; without a default it must be given."""

    name: str
    help: str
    kind: Kind = Kind.TEXT
    default: Value | None = None
    choices: tuple[str, ...] = ()
    at_most: float | None = None
    """Of numbers, which are never below 0."""

    def read(self, text: str) -> Value:
        """The value that this text is; `WrongUsage` if it is none."""
        if self.choices and text not in self.choices:
            raise WrongUsage(f"{self.name}={text}: it is one of {', '.join(self.choices)}.")
        if self.kind is Kind.TEXT:
            return text
        try:
            value = int(text) if self.kind is Kind.WHOLE else float(text)
        except ValueError as error:
            raise WrongUsage(f"{self.name}={text}: it is a {self.kind}.") from error
        if not 0 <= value < float("inf"):
            raise WrongUsage(f"{self.name}={text}: it is not below 0 and finite.")
        if self.at_most is not None and value > self.at_most:
            raise WrongUsage(f"{self.name}={text}: it is at most {self.at_most:g}.")
        return value


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """One lie, or one way to break."""

    name: str
    does: str
    """What it makes the platform do, in one sentence."""
    arguments: tuple[Argument, ...] = ()
    must_fail: tuple[tuple[str, str], ...] = ()
    """Checks that must find it: the scenario's id, and the measurement that the check judges."""

    def read(self, given: Mapping[str, str]) -> dict[str, Value]:
        """Values of all arguments, from those that were given; `WrongUsage` for what does not fit."""
        known = {argument.name: argument for argument in self.arguments}
        for name in given:
            if name not in known:
                takes = ", ".join(known) or "none"
                raise WrongUsage(f"The fault {self.name} has no argument {name!r}; it has: {takes}.")
        values: dict[str, Value] = {}
        for name, argument in known.items():
            if name in given:
                values[name] = argument.read(given[name])
            elif argument.default is None:
                raise WrongUsage(f"The fault {self.name} wants {name}=…: {argument.help}.")
            else:
                values[name] = argument.default
        return values
