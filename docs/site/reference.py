"""Pages of the API reference: every name that a module of the package lists in `__all__`."""

from __future__ import annotations

import importlib
import inspect
import pkgutil
import re
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

import click

__all__ = ["Reference", "reference"]

PACKAGE = "resolvent"
LEVELS = "=-~"  # underlines of headings


@dataclass
class Reference:
    """Where each public name is documented.

    Attributes
    ----------
    modules : dict
        Dotted name of each module to the names that it lists.
    home : dict
        Every public path, ``module.name``, to the shortest one, under which the name is documented.
    defined : dict
        That shortest path to the module on whose page it is.
    objects : dict
        That shortest path to the object itself.
    """

    modules: dict[str, list[str]] = field(default_factory=dict)
    home: dict[str, str] = field(default_factory=dict)
    defined: dict[str, str] = field(default_factory=dict)
    objects: dict[str, Any] = field(default_factory=dict)

    def units(self) -> list[str]:
        """Modules and packages right inside the package: one page each."""
        return sorted({name.split(".")[1] for name in self.modules if "." in name})

    def link(self, dotted: str) -> str | None:
        """Page and anchor, below the root of the site, of a public name, a module, or a member of a class."""
        if dotted in self.home:
            home = self.home[dotted]
            return f"api/{self.defined[home].split('.')[1]}.html#{home}"
        if dotted in self.modules:
            unit = dotted.split(".")[1] if "." in dotted else "index"
            return f"api/{unit}.html" + (f"#module-{dotted}" if dotted.count(".") > 1 else "")
        owner, _, member = dotted.rpartition(".")
        if owner in self.home and hasattr(self.objects[self.home[owner]], member):
            return (
                f"{self.link(owner)}.{member}"
                if _documented(self.objects[self.home[owner]], member)
                else None
            )
        return None

    def meant(self, name: str) -> str | None:
        """The same of a name as prose has it: `diagnosis.diagnose`, a class, or a member of one, by themselves."""
        owner, _, _ = name.partition(".")
        if owner == PACKAGE:
            return self.link(name)
        if not owner[0].isupper() or owner.isupper():  # one lower-case word is as often an argument
            return self.link(f"{PACKAGE}.{name}") if "." in name else None
        homes = {home for path, home in self.home.items() if path.rpartition(".")[2] == owner}
        if len(homes) != 1:
            return None
        home, member = homes.pop(), name.removeprefix(owner)
        field = member[1:] in getattr(
            self.objects[home], "__dataclass_fields__", {}
        )  # described with its class
        return self.link(home + member) or (self.link(home) if field else None)

    def page(self, unit: str) -> str:
        """The page of a unit."""
        start = f"{PACKAGE}.{unit}"
        inside = [n for n in self.modules if n.startswith(f"{start}.")]
        wanted = [self.defined[self.home[f"{start}.{n}"]] for n in self.modules[start]]  # most wanted first
        parts = [start, *sorted(inside, key=lambda n: (n not in wanted, n))]
        return "\n".join(line for name in parts for line in self._module(name))

    def _module(self, name: str) -> Iterator[str]:
        depth = name.count(".") - 1
        yield _heading(name.partition(".")[2], depth)
        if name in self.home:  # a function has the same path
            yield _anchor(f"module-{name}") + f"\n.. automodule:: {name}\n   :no-index:\n"
        else:
            yield f".. automodule:: {name}\n"
        if not depth:
            yield "Symbols: :doc:`notation </notation>`. All names: :doc:`index`.\n"
        here, gathered = [], []
        for listed in self.modules[name]:
            path = f"{name}.{listed}"
            (here if self.defined[self.home[path]] == name else gathered).append(path)
        for path in gathered:
            if self.home[path] != path:
                yield _anchor(path)
        if gathered:
            yield f"Gathered here: {', '.join(self._code(path) for path in gathered)}.\n"
        for path in here:
            home = self.home[path]
            for other, short in self.home.items():
                if short == home and other != home and other not in gathered and other.startswith(f"{name}."):
                    yield _anchor(other)
            yield from self._object(home)

    def _object(self, home: str) -> Iterator[str]:
        obj = self.objects[home]
        if inspect.isclass(obj):
            yield f".. autoclass:: {home}\n   :members:\n   :show-inheritance:\n"
        elif inspect.isroutine(obj):
            yield f".. autofunction:: {home}\n"
        else:  # a constant, or a command
            shown = repr(obj)
            value = f"\n   :value: {shown}" if len(shown) < 300 and "<" not in shown else ""
            module, _, name = home.rpartition(".")
            yield f".. py:data:: {name}\n   :module: {module}{value}\n"
            for words in _help(obj):
                yield ".. code-block:: text\n\n" + textwrap.indent(words, "   ") + "\n"

    def _code(self, path: str) -> str:
        return f"`{path.rpartition('.')[2]} <../{self.link(path)}>`__"

    def index(self) -> str:
        """The first page: every module with its names."""
        lines = [
            _heading("API reference", 0),
            "Every public name, under the shortest path that imports it. Symbols: :doc:`notation </notation>`.\n",
            _heading(PACKAGE, 1),
            "What most programs need.\n",
            ".. list-table::\n   :widths: auto\n",
        ]
        front = importlib.import_module(PACKAGE)
        for name in self.modules[PACKAGE]:
            if not name.startswith("__"):
                summary = first_line(getattr(front, name))
                lines.append(f"   * - {self._code(f'{PACKAGE}.{name}')}\n     - {summary}")
        lines += ["", _heading("All modules", 1), ".. list-table::\n   :widths: auto\n"]
        for module, names in sorted(self.modules.items()):
            if module != PACKAGE:
                here = ", ".join(self._code(f"{module}.{n}") for n in names)
                lines.append(f"   * - `{module.partition('.')[2]} <../{self.link(module)}>`__\n     - {here}")
        pages = "".join(f"   {unit}\n" for unit in self.units())
        return "\n".join(lines) + f"\n\n.. toctree::\n   :hidden:\n\n{pages}"


def first_line(obj: Any) -> str:
    """First paragraph of what an object says of itself, safe in reStructuredText."""
    text = " ".join((inspect.getdoc(obj) or "").partition("\n\n")[0].split())
    return re.sub(r"(?<!`)`([^`]+)`(?!`)", r"``\1``", text.replace("|", "\\|").replace("*", "\\*"))


def _help(obj: Any, parent: Any = None) -> Iterator[str]:
    """What a command says to ``--help``, then what each of its commands says."""
    if isinstance(obj, click.Command):
        path = PACKAGE if obj.name == "main" else obj.name if parent else f"{PACKAGE} {obj.name}"
        settings = {**obj.context_settings, "max_content_width": 88, "terminal_width": 88}
        context = click.Context(obj, parent=parent, info_name=path, **settings)
        yield obj.get_help(context)
        for inner in getattr(obj, "commands", {}).values():
            yield from _help(inner, context)


def _heading(text: str, level: int) -> str:
    return f"{text}\n{LEVELS[level] * len(text)}\n"


def _anchor(path: str) -> str:
    return f'.. raw:: html\n\n   <span id="{path}"></span>\n'


def _documented(owner: Any, member: str) -> bool:
    return bool(inspect.getdoc(getattr(owner, member, None))) and not member.startswith("_")


@lru_cache
def reference() -> Reference:
    """The reference of the installed package."""
    found = Reference()
    package = importlib.import_module(PACKAGE)
    names = [
        m.name for m in pkgutil.walk_packages(package.__path__, f"{PACKAGE}.") if "__main__" not in m.name
    ]
    modules = {name: importlib.import_module(name) for name in [PACKAGE, *names]}
    real: dict[str, str] = {}  # public path to where the name is defined
    for name, module in modules.items():
        found.modules[name] = list(module.__all__)
        for listed in module.__all__:
            obj = getattr(module, listed)
            if not inspect.ismodule(obj) and not listed.startswith("__"):
                here = (
                    getattr(obj, "__module__", None)
                    if inspect.isclass(obj) or inspect.isroutine(obj)
                    else None
                )
                real[f"{name}.{listed}"] = f"{here}.{listed}" if here in modules else f"{name}.{listed}"
    shortest: dict[str, str] = {}
    for path, where in real.items():
        if where not in shortest or path.count(".") < shortest[where].count("."):
            shortest[where] = path
    for path, where in real.items():
        found.home[path] = home = shortest[where]
        found.defined[home] = where.rpartition(".")[0]
        module_name, _, listed = path.rpartition(".")
        found.objects[home] = getattr(modules[module_name], listed)
    return found
