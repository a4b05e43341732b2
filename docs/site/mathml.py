"""LaTeX to MathML at build time: the built pages need no script and no network for their formulas."""

from __future__ import annotations

import re
import unicodedata
from typing import Any

from docutils import nodes
from latex2mathml.converter import convert

__all__ = ["block", "formula", "inline", "skip"]

TAG = re.compile(r"\\tag\{([^}]*)\}")
ARG = re.compile(r"\\arg(?![A-Za-z])")  # a command that the converter does not know
BINOMIAL = re.compile(r"\\binom\s*(\w)(\w)")  # its exponent would become its own part
WORD = re.compile(
    r"(?<!<msub>)(?<!<msup>)(?<!<mfrac>)(?<!<munder>)(?<!<msubsup>)(<m[io]>[a-z]{2,6}</m[io]>)(?=<m(?:i|n|row|frac|over)\b)"
)  # log p, not logp
STYLED = re.compile(r'<mi mathvariant="(double-struck|script|bold)">(\w)</mi>')
FIRST = {
    "double-struck": "MATHEMATICAL DOUBLE-STRUCK",
    "script": "MATHEMATICAL SCRIPT",
    "bold": "MATHEMATICAL BOLD",
}


def formula(latex: str, display: bool) -> str:
    """MathML of a formula.

    Raises
    ------
    ValueError
        If a command is not understood.
    """
    latex = latex.replace("{gathered}", "{matrix}").replace("{aligned}", "{align*}")
    latex = BINOMIAL.sub(r"{\\binom{\1}{\2}}", latex)
    latex = ARG.sub(r"\\operatorname{arg}", latex)
    mathml = convert(latex.strip(), display="block" if display else "inline")
    mathml = re.sub(r"\\([{}|])", lambda m: m[1].replace("|", "‖"), mathml)  # it forgets them after \Big
    mathml = STYLED.sub(lambda m: f"<mi>{_letter(m[1], m[2])}</mi>", mathml)  # browsers know no such variants
    mathml = mathml.replace("<mo>&#x02016;", '<mo fence="false" stretchy="false">&#x02016;')
    for sign in ("&#x0002F;", "&#x0007C;", "|", "&#x0221E;"):  # / | ∞ stand close
        mathml = mathml.replace(f"<mo>{sign}", f'<mo lspace="0" rspace="0" stretchy="false">{sign}')
    mathml = WORD.sub(r'\1<mspace width="0.167em" />', mathml)
    if "\\" in re.sub(r"<annotation.*?</annotation>", "", mathml, flags=re.S):
        raise ValueError(f"formula not understood: {latex}")
    return mathml


def _letter(style: str, letter: str) -> str:
    kind = "CAPITAL" if letter.isupper() else "SMALL"
    for name in (
        f"{FIRST[style]} {kind} {letter.upper()}",
        f"{FIRST[style].split()[1]} {kind} {letter.upper()}",
    ):
        try:
            return unicodedata.lookup(name)
        except KeyError:  # some letters, like the real numbers' R, are elsewhere in Unicode
            continue
    return letter


def inline(self: Any, node: nodes.math) -> None:
    """Write a formula within a line."""
    self.body.append(formula(node.astext(), False))
    raise nodes.SkipNode


def block(self: Any, node: nodes.math_block) -> None:
    """Write a formula of its own; its number becomes an anchor."""
    latex = node.astext()
    number = TAG.search(latex)
    anchor = f'<span class="number" id="eq-{number[1]}">({number[1]})</span>' if number else ""
    mathml = formula(TAG.sub("", latex), True)
    self.body.append(f'<div class="formula"><div tabindex="0">{mathml}</div>{anchor}</div>')
    raise nodes.SkipNode


def skip(self: Any, node: nodes.Node) -> None:
    """Nothing is left to write."""
