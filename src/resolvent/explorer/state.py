"""What the page lets one set: controls with their limits, and the text of an address that holds them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qsl, urlencode

from resolvent.arguments import natural, number, one_of, require

__all__ = ["Answer", "Control", "Row", "Tab", "from_query", "read", "to_query"]


@dataclass(frozen=True)
class Control:
    """One value that can be set, with what the page allows.

    Parameters
    ----------
    name : str
        As messages and the address call it.
    label : str
        As the page calls it.
    default : float, int or str
        A whole number makes the control one of whole numbers.
    least, most, step : float
        Limits, which keep the page quick, and the slider's step.
    choices : tuple of str
        The allowed names, for a choice instead of a number.
    slider : bool, default True
        False leaves the number box alone.
    upto : tuple of (str, int), optional
        Another control that bounds the slider, and by how much it stays below.
    """

    name: str
    label: str
    default: Any
    least: float = 0.0
    most: float = 1.0
    step: float = 0.01
    choices: tuple[str, ...] = ()
    slider: bool = True
    upto: tuple[str, int] | None = None

    @property
    def whole(self) -> bool:
        """Whether only whole numbers are allowed."""
        return isinstance(self.default, int)

    def read(self, text: Any) -> Any:
        """Return the value of what was typed.

        Raises
        ------
        ValueError
            If it is no number or name that the control allows.

        Examples
        --------
        >>> Control("delta", "d/V", 0.5, 0.05, 4.0).read("0.75")
        0.75
        """
        if self.choices:
            return one_of(self.name, text, self.choices)
        if self.whole:
            value: Any = natural(self.name, _as_int(text), int(self.least))
        else:
            value = number(self.name, text)
        inside = self.least <= value <= self.most
        require(self.name, value, inside, f"between {self.least:g} and {self.most:g} in the explorer")
        return value


@dataclass(frozen=True)
class Row:
    """A number of the page: what theory says, and the simulation where there is one."""

    name: str
    theory: float
    simulation: float | None = None


@dataclass(frozen=True)
class Answer:
    """What a tab shows: figures as plotly's dictionaries (of arrays), numbers, and a remark."""

    figures: dict[str, dict[str, Any]]
    rows: list[Row]
    remark: str = ""


@dataclass(frozen=True)
class Tab:
    """A model on the page.

    Parameters
    ----------
    name, title, about : str
        In the address, on the tab, and under it.
    controls : tuple of Control
    captions : dict of str
        Caption of each figure, by its name.
    meanings : dict of str
        What each number of the table is, by the name of its row.
    model : callable
        Values to the model of the library; raises ``ValueError`` as the library does.
    python : callable
        Values to a program that builds the same model and prints the same numbers.
    simulate : callable
        Values to one finite draw, as JSON can hold it.
    answer : callable
        Values and a draw (or None) to what is shown.
    quick, later : callable and tuple of str, optional
        The answer without the figures called `later`, where these take more than a tenth of a second.
    """

    name: str
    title: str
    about: str
    controls: tuple[Control, ...]
    captions: dict[str, str]
    meanings: dict[str, str]
    model: Callable[[dict[str, Any]], Any]
    python: Callable[[dict[str, Any]], str]
    simulate: Callable[[dict[str, Any]], dict[str, Any]]
    answer: Callable[[dict[str, Any], dict[str, Any] | None], Answer]
    quick: Callable[[dict[str, Any], dict[str, Any] | None], Answer] | None = None
    later: tuple[str, ...] = ()

    def defaults(self) -> dict[str, Any]:
        """What the page starts with."""
        return {control.name: control.default for control in self.controls}


def read(controls: Sequence[Control], texts: Mapping[str, Any]) -> dict[str, Any]:
    """Return the values of what was typed, by name; what is missing keeps its default.

    Raises
    ------
    ValueError
        One line for every value that is refused.

    Examples
    --------
    >>> read([Control("length", "T", 50, 1, 200, 1)], {"length": "12"})
    {'length': 12}
    """
    values, refused = {}, []
    for control in controls:
        try:
            values[control.name] = control.read(texts.get(control.name, control.default))
        except ValueError as error:
            refused.append(str(error))
    if refused:
        raise ValueError("\n".join(refused))
    return values


def to_query(tab: str, values: Mapping[str, Any]) -> str:
    """Return the address's query that holds a tab and its values.

    Examples
    --------
    >>> to_query("pooled", {"delta": 0.5, "table": "mixture"})
    '?tab=pooled&delta=0.5&table=mixture'
    """
    return "?" + urlencode({"tab": tab, **values})


def from_query(query: str, tabs: Mapping[str, Tab]) -> tuple[str, dict[str, str], list[str]]:
    """Return tab, texts by name, and what of the query means nothing. Values are checked where they are used.

    Examples
    --------
    >>> from resolvent.explorer import TABS
    >>> from_query("?tab=pooled&delta=0.3&colour=red", TABS)
    ('pooled', {'delta': '0.3'}, ["the address has an unknown parameter 'colour'"])
    """
    given = dict(parse_qsl(query.lstrip("?"), keep_blank_values=True))
    name, refused = given.pop("tab", next(iter(tabs))), []
    try:
        one_of("tab", name, tuple(tabs))
    except ValueError as error:
        return next(iter(tabs)), {}, [str(error)]
    known = {control.name for control in tabs[name].controls}
    refused = [f"the address has an unknown parameter {other!r}" for other in given if other not in known]
    return name, {key: text for key, text in given.items() if key in known}, refused


def _as_int(text: Any) -> Any:
    try:
        return int(text) if isinstance(text, str) else text
    except ValueError:
        return text
