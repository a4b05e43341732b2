"""A scikit-learn transformer from token sequences to pooled vectors, with weights over positions learned and guarded."""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn.base import BaseEstimator, ClassNamePrefixFeaturesOutMixin, TransformerMixin
from sklearn.utils.multiclass import type_of_target
from sklearn.utils.validation import check_is_fitted

from resolvent import weights as weighting
from resolvent.arguments import natural, number, one_of
from resolvent.estimators.against_mean import (
    class_labels,
    cross_validated,
    finite,
    folds_of,
    gain_and_error,
    labels_among,
)
from resolvent.estimators.rules import (
    FIXED,
    LABELLED,
    METHODS,
    SEVERAL_PASSES,
    Rule,
    diagnostics,
    enough,
    null_moments,
    rules_of,
)
from resolvent.token_moments import TokenMoments
from resolvent.token_sequences import SequenceError, TokenSequences

__all__ = ["METHODS", "PositionalPooling"]


class PositionalPooling(ClassNamePrefixFeaturesOutMixin, TransformerMixin, BaseEstimator):
    """Pool token sequences with weights over positions: x = sum_l w_l x_l.

    Mean pooling is the default, because on the last layer of a transformer nothing was measured to beat it: attention has
    mixed the positions already. Learned weights pay where position matters and tokens do not see each other (static
    tables, early layers), and where labels say so. Every fit says in `report_` what it did, and why.

    Any length is pooled by one rule. A token's position is its index among the real tokens, whichever side is padded;
    beyond position T tokens take the weight of position T; sums are divided by that of |w| over the tokens present.

    Parameters
    ----------
    method : str, default "mean"
        - ``"mean"``, ``"causal"`` (`resolvent.weights.causal`): nothing is learned.
        - ``"perron"``: leading non-negative vector of the positional Gram matrix off its diagonal
          (`resolvent.weights.spectral`). It follows the strongest structure that documents share, wanted or not.
        - ``"alternating"`` (`resolvent.weights.alternating`), its negative entries dropped: a tool of the theory.
        - ``"excess"``: as "perron", after the Gram matrix of `null` is taken off.
        - ``"excess-generalised"``: most excess per unit of the null's own Gram matrix, of either sign
          (`resolvent.weights.generalised`).
        - ``"supervised"``: most variance between classes per unit of that within, of either sign; needs labels.
        - ``"learned"``: least training loss of a ridge classifier, its penalty in units of the features' variance
          (`resolvent.weights.learned` with ``relative=True``); needs labels.
    positions : int, optional
        T; by default the largest number of tokens that at least half of the sequences reach.
    table : array, shape (V, d), optional
        Embeddings, of which X holds row numbers. `clone`, and so every grid search, copies it.
    null : array, sequence of arrays or TokenMoments, optional
        For the excess methods: sequences that say nothing, in the form of X (encode `resolvent.nulls.permute_tokens`),
        or their moments (made with ``gram=True``).
    ridge : "cv" or float, default "cv"
        Of the generalised methods, in units of the noise's mean diagonal; "cv" tries 0.1, 0.3 and 1 where there are
        labels, and takes 1 where there are none.
    gate : "auto" or bool, default "auto"
        Refuse weights of "perron", "excess" and "alternating" whose signs cancel (signed mass below 0.7). "auto" does so
        with a table only: on contextual embeddings the gate is blind, and it is never applied to the generalised
        methods, whose negative weights are right.
    validate : bool, default True
        With labels, keep the learned weights only if they beat mean pooling in cross-validation by more than one
        (corrected) standard error of balanced accuracy. The one gate that was found reliable, and a lenient one: weights
        that change nothing pass in one run of five to ten. "mean" does not look at labels.
    cv : int, default 5
        Folds.
    random_state : int, RandomState or None, default None
        Of the folds.

    Attributes
    ----------
    weights_ : array, shape (T,)
        Sum of magnitudes one.
    report_ : str
        What was done and why.
    chosen_ : str
        The method in use; "mean" where a guard refused the learned weights.
    diagnostics_ : dict
        Cosine of the learned weights to uniform ones, signed mass, and for the methods that weight by a positional Gram
        matrix the ratio of its two leading eigenvalues off the diagonal: printed numbers, not gates.
    validation_ : dict
        Balanced accuracies on the folds, by candidate; empty where nothing was validated.
    moments_ : TokenMoments or None
        What was accumulated, for the methods that use it.
    null_moments_ : TokenMoments or None
        Those of the null.
    classes_ : array or None
        Labels, for "supervised"; None after `fit_moments`.
    n_positions_, n_features_in_ : int
        T and d.

    References
    ----------
    docs/pooling_weights.md (what was measured), docs/theory/pooling_weights.md.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> y = rng.integers(0, 2, 300)
    >>> X = rng.standard_normal((300, 6, 5))
    >>> X[:, 0, 0] += 3 * y
    >>> pooling = PositionalPooling(method="supervised", random_state=0).fit(X, y)
    >>> bool(pooling.weights_[0] > 0.6), pooling.transform(X).shape
    (True, (300, 5))
    """

    moments_: TokenMoments | None
    null_moments_: TokenMoments | None

    def __init__(
        self,
        *,
        method: str = "mean",
        positions: int | None = None,
        table: Any = None,
        null: Any = None,
        ridge: Any = "cv",
        gate: Any = "auto",
        validate: bool = True,
        cv: int = 5,
        random_state: Any = None,
    ) -> None:
        self.method = method
        self.positions = positions
        self.table = table
        self.null = null
        self.ridge = ridge
        self.gate = gate
        self.validate = validate
        self.cv = cv
        self.random_state = random_state

    def fit(self, X: Any, y: Any = None, *, mask: Any = None) -> PositionalPooling:
        """Learn the weights.

        Parameters
        ----------
        X : array or sequence of arrays
            Token vectors (n, L, d), or a sequence of (L_i, d); with `table` ids (n, L), or a sequence of (L_i,).
            For files and streams see `fit_moments`.
        y : array, shape (n,), optional
            Class labels. Anything else (continuous targets) counts as no labels.
        mask : array, shape (n, L), optional
            True where there is a token, for padded sequences.

        Returns
        -------
        PositionalPooling

        Raises
        ------
        ValueError
            If parameters or shapes are wrong, values are not finite, labels or the null are missing, or no more
            sequences than positions have T tokens.
        """
        self._check()
        data = TokenSequences(X, mask, self.table, dtype=None)
        labels, classes = (None, None) if self.method == "mean" else class_labels(y, data.n)
        if labels is None and self.method in LABELLED:
            got = "None" if y is None else f"{type_of_target(y)} values"
            raise ValueError(f"y must hold class labels for method {self.method!r}, got {got}")
        folds = [] if labels is None or not self.validate else folds_of(labels, self.cv, self.random_state)
        self.classes_ = classes if self.method == "supervised" else None
        empty, own = self._empty(data, self.classes_), labels if self.method == "supervised" else None
        T, full = empty.length, data.lengths >= empty.length
        if self.method not in FIXED:
            enough(int(full.sum()), T)
            for rows in folds:
                enough(int(full.sum() - full[rows].sum()), T, f" besides each of {self.cv} folds")
        parts, self.moments_ = list[TokenMoments](), None
        if self.method in (*FIXED, *SEVERAL_PASSES):
            with np.errstate(invalid="ignore"):
                data.project(np.zeros(data.width))  # refuses what is not finite
        else:
            for rows in folds or [np.arange(data.n)]:
                try:
                    parts.append(empty.of(data.subset(rows), None if own is None else own[rows]))
                except SequenceError as error:  # counted within the fold
                    raise SequenceError(error.args[0], int(rows[error.sequence])) from None
            self.moments_ = sum(parts, empty)
        candidates = self._rules(T, data.width, several=bool(folds))
        found = {name: rule(data, labels, self.moments_) for name, rule in candidates.items()}
        self.validation_: dict[str, np.ndarray] = {}
        if labels is not None and folds:
            moments = [sum(parts[:k] + parts[k + 1 :], empty) if parts else None for k in range(len(folds))]
            self.validation_ = cross_validated(
                data, labels, folds, moments, {"mean": Rule("mean", T)} | candidates
            )
        return self._settle(found)

    def partial_fit(
        self, X: Any, y: Any = None, *, mask: Any = None, classes: Any = None
    ) -> PositionalPooling:
        """Count a batch in, and learn the weights from all batches so far; nothing is validated.

        Parameters
        ----------
        X, y, mask
            As in `fit`. T is set by `positions`, or by the first batch.
        classes : array, optional
            All labels there are; needed with the first batch for "supervised".

        Returns
        -------
        PositionalPooling

        Raises
        ------
        ValueError
            As in `fit`; also if the method needs several passes, or the width changes. What was accumulated stays.
        """
        self._check(one_pass=True)
        data = TokenSequences(X, mask, self.table, dtype=None)
        moments, known = getattr(self, "moments_", None), getattr(self, "classes_", None)
        first = moments is None
        if moments is None:
            if self.method == "supervised" and classes is None:
                raise ValueError(
                    "classes must list all labels in the first partial_fit of method 'supervised', got None"
                )
            known = np.unique(classes) if self.method == "supervised" else None
            moments = self._empty(data, known)
        labels = None if known is None else labels_among(known, y, data.n)
        moments = moments + moments.of(data, labels)
        rules = self._rules(moments.length, data.width, kept=not first)
        self.moments_, self.classes_ = moments, known
        return self._from_moments(moments, rules)

    def fit_moments(self, moments: TokenMoments) -> PositionalPooling:
        """Learn the weights from moments that were accumulated elsewhere, over files, streams or clusters.

        Parameters
        ----------
        moments : TokenMoments
            As `resolvent.accumulate.accumulate` returns them; made with ``gram=True`` (but for "mean" and "causal"), and
            with `classes` for "supervised". Sequences are then pooled batch by batch (`resolvent.sources.batches`).

        Returns
        -------
        PositionalPooling

        Raises
        ------
        ValueError
            If the moments are not of that kind, or hold no more sequences of T tokens than positions.

        Examples
        --------
        >>> from resolvent.accumulate import accumulate
        >>> rng = np.random.default_rng(0)
        >>> X = rng.standard_normal((300, 6, 5))
        >>> X[:, :2] += 3 * rng.standard_normal((300, 1, 5))
        >>> moments = accumulate(X, TokenMoments.empty("mean", 6, noise=False, gram=True)).moments
        >>> pooling = PositionalPooling(method="perron").fit_moments(moments)
        >>> bool(pooling.weights_[:2].sum() > 0.9)
        True
        """
        self._check(one_pass=True)
        if not isinstance(moments, TokenMoments):
            raise ValueError(f"moments must be TokenMoments, got {type(moments).__name__}")
        T = moments.length
        if self.positions is not None and natural("positions", self.positions) != T:
            raise ValueError(f"moments must be of positions = {self.positions} positions, got {T}")
        if moments.width is None:
            raise ValueError("moments must hold sequences, got none")
        if self.method == "supervised" and moments.classes < 2:
            raise ValueError(
                f"moments must be made with the number of classes for 'supervised', got {moments.classes}"
            )
        if self.method not in FIXED:
            if not moments.gram:
                raise ValueError(f"moments must be made with gram=True for {self.method!r}, got gram=False")
            enough(moments.position_count, T)
        rules = self._rules(T, moments.width)
        self.moments_, self.classes_ = moments, None
        return self._from_moments(moments, rules)

    def transform(self, X: Any, *, mask: Any = None) -> np.ndarray:
        """Pooled vectors, shape (n, d), in the floating type of the tokens (half precision becomes single)."""
        check_is_fitted(self, "weights_")
        data = TokenSequences(X, mask, self.table, dtype=None)
        if data.width != self.n_features_in_:
            raise ValueError(
                f"X must have {self.n_features_in_} features a token, as in fit, got {data.width}"
            )
        return finite(data.combine(data.weights(self.weights_)))

    def fit_transform(self, X: Any, y: Any = None, *, mask: Any = None) -> np.ndarray:
        """`fit`, then `transform` of the same sequences."""
        return self.fit(X, y, mask=mask).transform(X, mask=mask)

    @property
    def _n_features_out(self) -> int:
        return self.n_features_in_

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.two_d_array, tags.input_tags.three_d_array = False, True
        tags.target_tags.required = self.method in LABELLED
        return tags

    def _check(self, *, one_pass: bool = False) -> None:
        one_of("method", self.method, METHODS)
        if one_pass and self.method in SEVERAL_PASSES:
            raise ValueError(f"method {self.method!r} needs several passes over the data: use fit")
        natural("cv", self.cv, 2)
        if not (isinstance(self.ridge, str) and self.ridge == "cv"):
            number("ridge", self.ridge, least=0)
        if not (
            isinstance(self.gate, bool | np.bool_) or (isinstance(self.gate, str) and self.gate == "auto")
        ):
            raise ValueError(f"gate must be 'auto', True or False, got {self.gate!r}")
        if not isinstance(self.validate, bool | np.bool_):
            raise ValueError(f"validate must be True or False, got {self.validate!r}")
        if self.method.startswith("excess") and self.null is None:
            raise ValueError(
                f"null must be given for method {self.method!r}, got None: sequences that say nothing, or their moments"
            )

    def _empty(self, data: TokenSequences, classes: np.ndarray | None) -> TokenMoments:
        """No moments yet, of the kind that the method needs."""
        T = _usual(data.lengths) if self.positions is None else natural("positions", self.positions)
        count = 1 if classes is None else classes.size
        return TokenMoments.empty("mean", T, noise=False, gram=self.method not in FIXED, classes=count)

    def _rules(self, T: int, width: int, *, several: bool = False, kept: bool = False) -> dict[str, Rule]:
        """The rules to compare; the null is summed here, unless its moments are `kept` from before."""
        K = None
        if self.method.startswith("excess"):
            null = self.null_moments_ if kept else None
            null = null_moments(self.null, self.table, T, width) if null is None else null
            K, self.null_moments_ = null.positional_gram(), null
        else:
            self.null_moments_ = None
        gated = self.table is not None if isinstance(self.gate, str) else bool(self.gate)
        self.n_positions_, self.n_features_in_ = T, width
        return rules_of(self.method, T, ridge=self.ridge, several=several, gated=gated, null=K)

    def _settle(self, found: dict[str, tuple[np.ndarray, str]]) -> PositionalPooling:
        """Choose among the candidates and mean pooling, and say why."""
        T = self.n_positions_
        name = next(iter(found))
        if self.validation_:
            name = max(found, key=lambda one: self.validation_[one].mean())
        w, reason = found[name]
        self.weights_, self.chosen_ = w / np.abs(w).sum(), self.method
        seen = self.moments_ if self.method not in (*FIXED, *LABELLED) else None
        self.diagnostics_ = diagnostics(w, seen)
        cosine = self.diagnostics_["cosine to uniform"]
        lines = [f"{name}: {reason}"]
        if reason.startswith("uniform"):
            self.chosen_ = "mean"
        elif self.validation_:
            gain, error = gain_and_error(self.validation_[name] - self.validation_["mean"])
            text = f"{100 * gain:+.1f} ± {100 * error:.1f} points of balanced accuracy against mean pooling"
            lines.append(f"{text} on {self.cv} folds")
            if gain <= error:
                self.weights_, self.chosen_ = weighting.mean(T), "mean"
                lines.append("mean pooling is kept: no gain beyond one standard error")
        elif self.method not in FIXED:
            why = " (validate=False)" if not self.validate else ""
            lines.append(f"not validated against mean pooling{why}")
        if self.chosen_ == self.method and self.method != "mean":
            lines.append(
                f"cosine to uniform {cosine:.2f}, first weight {T * self.weights_[0]:.2f} and last "
                f"{T * self.weights_[-1]:.2f} times uniform"
            )
        self.report_ = "; ".join(lines)
        return self

    def _from_moments(self, moments: TokenMoments, rules: dict[str, Rule]) -> PositionalPooling:
        T, held = moments.length, moments.position_count
        self.validation_ = {}
        if self.method not in FIXED and held <= T:
            few = f"uniform: {held} sequences of T = {T} tokens so far, more than T are needed"
            self.weights_, self.chosen_, self.diagnostics_ = weighting.mean(T), "mean", {}
            self.report_ = f"{self.method}: {few}"
            return self
        return self._settle({name: rule(None, None, moments) for name, rule in rules.items()})


def _usual(lengths: np.ndarray) -> int:
    """The largest number of tokens that at least half of the sequences reach."""
    return int(np.sort(lengths)[(lengths.size - 1) // 2 + (lengths.size % 2 == 0)])
