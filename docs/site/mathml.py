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
    r"(?<!<msub>)(?<!<msup>)(?<!<mfrac>)(?<!<munder>)(?<!<msubsup>)(<m[io]>[a-z]{2,6}</m[io]>)(?=<m(?:i|n|row|frac|over|sub|sup|subsup|sqrt)\b)"
)  # log p, not logp
OPERATOR = re.compile(
    r"(</(?:mi|mn|msub|msup|msubsup|mrow|mfrac|mover)>)?((?:<munder>|<msub>)?)<mo>([a-z]{2,6})</mo>"
)
RELATIONS = {"&#x0007E;": "&#x0223C;", "&#x02AB0;": "&#x02AB0;", "&#x02AAF;": "&#x02AAF;"}  # ∼ ⪰ ⪯
PLUS_MINUS = re.compile(r"(?<=</mn>)<mi>&#x000B1;</mi>(?=<m)")  # 0.3 ± 0.1, not h±
TALL = re.compile(r'<(msup|msub|msubsup)>(<mo [^>]*minsize="([\d.]+)em"[^>]*>[^<]*</mo>)')
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
        close = f'<mo lspace="0" rspace="0" stretchy="false">{sign}'
        mathml = mathml.replace(f"<mo>{sign}", close).replace(f'<mo stretchy="false">{sign}', close)
    for letter, sign in RELATIONS.items():
        mathml = mathml.replace(f"<mi>{letter}</mi>", f"<mo>{sign}</mo>")
    mathml = PLUS_MINUS.sub("<mo>&#x000B1;</mo>", mathml)
    mathml = WORD.sub(r'\1<mspace width="0.167em" />', mathml)
    mathml = OPERATOR.sub(_operator, mathml)
    mathml = TALL.sub(_tall, mathml)
    if "\\" in re.sub(r"<annotation.*?</annotation>", "", mathml, flags=re.S):
        raise ValueError(f"formula not understood: {latex}")
    return mathml


def _operator(found: re.Match[str]) -> str:
    """Thin spaces about tr, min and the like, where browsers put thick ones."""
    left, right = ("0.167em" if there else "0" for there in (found[1], found[2]))
    return f'{found[1] or ""}{found[2]}<mo lspace="{left}" rspace="{right}">{found[3]}</mo>'


def _tall(found: re.Match[str]) -> str:
    """The exponent of a tall bracket beside it: browsers do not stretch a bracket that is its base."""
    height, depth = (float(found[3]) / 2 + shift for shift in (0.25, -0.25))
    return f'{found[2]}<{found[1]}><mspace width="0" height="{height:.2f}em" depth="{depth:.2f}em" />'


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
