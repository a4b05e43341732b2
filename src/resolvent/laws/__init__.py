"""Limit laws of spectra, each given by its inverse map z(p), and the law of a largest eigenvalue."""

from resolvent.laws.finite_length import FiniteLength
from resolvent.laws.generalised import GeneralisedMarchenkoPastur
from resolvent.laws.inverse_map import InverseMap
from resolvent.laws.law import Law
from resolvent.laws.marchenko_pastur import MarchenkoPastur, MarchenkoPasturProduct
from resolvent.laws.separable import SeparableLaw
from resolvent.laws.tracy_widom import TracyWidom
from resolvent.laws.wachter import Wachter

__all__ = [
    "FiniteLength",
    "GeneralisedMarchenkoPastur",
    "InverseMap",
    "Law",
    "MarchenkoPastur",
    "MarchenkoPasturProduct",
    "SeparableLaw",
    "TracyWidom",
    "Wachter",
]
