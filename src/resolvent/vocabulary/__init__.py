"""Vocabularies as they are: token frequencies, correlated embeddings, and the spectrum of a real table and corpus."""

from resolvent.vocabulary.corpus import counts_law, token_covariance
from resolvent.vocabulary.frequencies import class_frequencies, zipf
from resolvent.vocabulary.modes import Modes, VocabularySpikes

__all__ = ["Modes", "VocabularySpikes", "class_frequencies", "counts_law", "token_covariance", "zipf"]
