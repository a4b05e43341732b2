"""Limit laws of spectra, each given by its inverse map z(p)."""

from resolvent.laws.inverse_map import InverseMap
from resolvent.laws.law import Law
from resolvent.laws.marchenko_pastur import MarchenkoPastur, MarchenkoPasturProduct

__all__ = ["InverseMap", "Law", "MarchenkoPastur", "MarchenkoPasturProduct"]
