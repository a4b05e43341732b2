"""A scikit-learn classifier for sequences of which few tokens matter: one attention layer, trained as in the theory.

score(X) = w·Xᵀsoftmax(β X q) + b. One full-batch gradient step moves (w, b), a second finds the direction of the
query q; q is then frozen and (w, b) fitted by a convex problem. All tokens at once are held by the caller only.
"""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedKFold
from sklearn.utils import check_random_state, column_or_1d
from sklearn.utils.metaestimators import available_if
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_is_fitted

from resolvent.arguments import natural, number, one_of
from resolvent.sparse_token.losses import LOSSES
from resolvent.token_sequences import TokenSequences, whitening

__all__ = ["SparseTokenClassifier"]

KAPPAS = (0.0, 0.25, 0.5, 1.0, 2.0, 4.0)
PENALTIES = tuple(10.0**k for k in range(-4, 3))  # of features of unit variance


class SparseTokenClassifier(ClassifierMixin, BaseEstimator):
    """Binary classifier of token sequences by one attention layer with a learned, frozen query.

    It pays where a few tokens, anywhere in the sequence, carry the label: pooling dilutes them. Where they do not,
    ``kappa="cv"`` falls back to mean pooling, trained on all samples. The theory's tokens are white noise and real
    embeddings are not, so tokens are whitened first; fitted attributes absorb that and act on plain tokens.

    Parameters
    ----------
    kappa : "cv", "gradient", number >= 0 or sequence of numbers, default "cv"
        Sharpness β‖q‖ of the attention to whitened tokens; 0 is mean pooling. "gradient" is the length that the
        gradient step gives, which depends on `rates`. Of several, and of 0, 1/4, 1/2, 1, 2 and 4 for "cv", the
        one of lowest cross-validated loss.
    regularisation : "cv", number > 0 or sequence of numbers, default "cv"
        λ of (1/n) sum_i l(y_i; score_i) + (λ/2)‖w‖²; "cv" tries 10⁻⁴ … 10² times the features' mean variance.
    loss : {"logistic", "square"}, default "logistic"
        log(1 + exp(−yu)) or (u − y)²/2. Only the first gives probabilities.
    query_share : float, default 0.5
        Share of the samples, strictly between 0 and 1, that the query is learned from. The read-out is fitted on
        the others, and they alone judge in cross-validation.
    reuse : bool, default False
        Fit the read-out on the query's samples too, of which the theory knows nothing.
    query_steps : int, default 1
        Gradient steps of q after the first step, which moves (w, b) only; from the second on all three move.
    rates : number > 0 or (eta_w, eta_b, eta_q), default 0.5
        Step sizes. With one step of q they change its direction little.
    inverse_temperature : float, default 1.0
        β > 0.
    balance : bool, default True
        Give both classes equal weight in the gradient steps (not in the read-out), so that what they have in common
        drops out of the query. The theory has False.
    whiten : bool or "scale", default True
        Centre tokens and whiten them by their covariance, or "scale" coordinates alone, or take them as they are.
    shrinkage : float, default 0.5
        Weight in [0, 1] of the identity, times the mean variance, in that covariance.
    table : array, shape (V, d), optional
        Embeddings, of which X holds row numbers.
    cv : int, default 5
        Folds >= 2.
    random_state : int, RandomState or None, default None
        Of the split and the folds.

    Attributes
    ----------
    query_, coef_, intercept_ : arrays, shape (d,), and float
        score = coef_·Xᵀsoftmax(inverse_temperature · X query_) + intercept_, for tokens as they are given.
    kappa_, regularisation_ : float
        As used.
    held_out_loss_ : dict
        Lowest cross-validated loss of each kappa; empty where there was nothing to choose.
    report_ : str
        A short account of the fit.
    classes_, n_features_in_ : array, shape (2,), and int
        The labels, the second being y = +1, and d.

    References
    ----------
    Barnfield, Cui and Lu [barnfield2026]_, section 3; whitening, balance and choice of kappa are ours.

    Examples
    --------
    >>> from resolvent.sparse_token import SparseTokens
    >>> X, y, mask = SparseTokens(10, 1, 6.0, 0.5).sample(600, dimension=30, rng=0)
    >>> SparseTokenClassifier(random_state=0).fit(X[:400], y[:400]).score(X[400:], y[400:]) > 0.9
    True
    """

    def __init__(
        self,
        *,
        kappa: Any = "cv",
        regularisation: Any = "cv",
        loss: str = "logistic",
        query_share: float = 0.5,
        reuse: bool = False,
        query_steps: int = 1,
        rates: Any = 0.5,
        inverse_temperature: float = 1.0,
        balance: bool = True,
        whiten: Any = True,
        shrinkage: float = 0.5,
        table: Any = None,
        cv: int = 5,
        random_state: Any = None,
    ) -> None:
        self.kappa = kappa
        self.regularisation = regularisation
        self.loss = loss
        self.query_share = query_share
        self.reuse = reuse
        self.query_steps = query_steps
        self.rates = rates
        self.inverse_temperature = inverse_temperature
        self.balance = balance
        self.whiten = whiten
        self.shrinkage = shrinkage
        self.table = table
        self.cv = cv
        self.random_state = random_state

    def fit(self, X: Any, y: Any, mask: Any = None) -> SparseTokenClassifier:
        """Learn query and read-out.

        Parameters
        ----------
        X : array, shape (n, L, d), or sequence of arrays, shapes (L_i, d)
            Token embeddings; with `table` integers, of shapes (n, L) or (L_i,).
        y : array, shape (n,)
            Labels of two classes.
        mask : array of bool or of 0 and 1, shape (n, L), optional
            True where there is a token (everywhere, by default); what padding holds is never used.

        Raises
        ------
        ValueError
            If a setting or the data is not as described.
        RuntimeError
            If a read-out does not converge.
        """
        kappas, grid, rates = self._checked()
        data = TokenSequences(X, mask, self.table)
        self.classes_, signs = _signs(y, data.n)
        self.n_features_in_ = data.width
        random = check_random_state(self.random_state)
        early = self._early(signs, random)
        white = whitening(data, self.whiten, self.shrinkage)
        centre, root = white
        q = self._descend(data, signs, early, white, rates)
        norm = float(np.linalg.norm(q))
        if norm == 0:  # sequences of one token, say: every kappa is mean pooling
            kappas, norm = [0.0], 1.0
        along = root @ q / norm
        scores = data.project(along)  # up to a shift, of which the softmax knows nothing

        def features(kappa: float) -> tuple[np.ndarray, np.ndarray]:
            """Features of all samples, and who may train on them: everyone, where no query was used."""
            f = (data.combine(data.softmax(kappa * scores)) - centre) @ root
            return f, ~early | (bool(self.reuse) or kappa == 0)

        if kappas is None:
            kappas = [float(self.inverse_temperature * norm)]
        losses: dict[float, float] = {}
        if grid is not None and len(kappas) == len(grid) == 1:
            kappa, penalty = kappas[0], grid[0]
        else:
            kappa, penalty, losses = self._choose(kappas, grid, features, signs, ~early, random)
        f, rows = features(kappa)
        w, b = _read_outs(f[rows], signs[rows], [penalty], self.loss)
        self.kappa_, self.regularisation_, self.held_out_loss_ = kappa, penalty, losses
        self.query_ = along * (kappa / self.inverse_temperature)
        self.coef_ = root @ w[0]
        self.intercept_ = float(b[0] - centre @ self.coef_)
        spread = (1 / data.sums(data.softmax(kappa * scores) ** 2)).mean()
        self.report_ = (
            f"{data.n} samples of {data.lengths.mean():.1f} tokens of dimension {data.width}: "
            f"{early.sum()} for the query, {rows.sum()} for the read-out\n"
            + "".join(f"kappa {k:<5.3g} held-out {self.loss} loss {l:.4f}\n" for k, l in losses.items())
            + f"used: kappa {kappa:.3g}, regularisation {penalty:.3g}; attention spreads over {spread:.1f} tokens"
        )
        return self

    def decision_function(self, X: Any, mask: Any = None) -> np.ndarray:
        """Scores, shape (n,); above 0 for the second class."""
        data, a = self._attend(X, mask)
        return data.sums(a * data.project(self.coef_)) + self.intercept_

    def predict(self, X: Any, mask: Any = None) -> np.ndarray:
        """Labels, shape (n,)."""
        positive = self.decision_function(X, mask) > 0
        return self.classes_[positive.astype(int)]

    @available_if(lambda self: self.loss == "logistic")
    def predict_proba(self, X: Any, mask: Any = None) -> np.ndarray:
        """Probabilities of the two classes, shape (n, 2); for the logistic loss only."""
        u = self.decision_function(X, mask)
        return np.exp(-np.logaddexp(0, np.column_stack([u, -u])))

    def score(self, X: Any, y: Any, mask: Any = None, sample_weight: Any = None) -> float:
        """Accuracy."""
        return float(np.average(self.predict(X, mask) == np.asarray(y), weights=sample_weight))

    def attention(self, X: Any, mask: Any = None) -> Any:
        """Weights of the tokens: shape (n, L), zero where padded; for a sequence of arrays a list of (L_i,)."""
        data, a = self._attend(X, mask)
        if data.real is None:
            return np.split(a, data.starts[1:-1])
        out = np.zeros(data.real.shape)
        out[data.real] = a
        return out

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.classifier_tags.multi_class = False
        tags.input_tags.two_d_array, tags.input_tags.three_d_array = False, True
        return tags

    def _attend(self, X: Any, mask: Any) -> tuple[TokenSequences, np.ndarray]:
        check_is_fitted(self)
        data = TokenSequences(X, mask, self.table)
        if data.width != self.n_features_in_:
            raise ValueError(
                f"X must have {self.n_features_in_} features a token, as in fit, got {data.width}"
            )
        return data, data.softmax(self.inverse_temperature * data.project(self.query_))

    def _checked(self) -> tuple[list[float] | None, list[float] | None, list[float]]:
        """Kappas (None: the gradient's), penalties (None: multiples of the features' variance), and rates."""
        one_of("loss", self.loss, tuple(LOSSES))
        for name in ("reuse", "balance", "whiten"):
            value, words = getattr(self, name), ["scale"] * (name == "whiten")
            if not (isinstance(value, bool | np.bool_) or (isinstance(value, str) and value in words)):
                raise ValueError(
                    f"{name} must be {' or '.join(map(repr, [True, False, *words]))}, got {value!r}"
                )
        if not 0 < number("query_share", self.query_share) < 1:
            raise ValueError(f"query_share must be strictly between 0 and 1, got {self.query_share!r}")
        if not 0 <= number("shrinkage", self.shrinkage) <= 1:
            raise ValueError(f"shrinkage must be between 0 and 1, got {self.shrinkage!r}")
        number("inverse_temperature", self.inverse_temperature, above=0)
        natural("query_steps", self.query_steps)
        natural("cv", self.cv, 2)
        rates = _numbers("rates", self.rates, above=0)
        if len(rates) not in (1, 3):
            raise ValueError(f"rates must be one number > 0 or three, got {self.rates!r}")
        kappas = None if isinstance(self.kappa, str) and self.kappa == "gradient" else list(KAPPAS)
        if kappas and not (isinstance(self.kappa, str) and self.kappa == "cv"):
            kappas = _numbers("kappa", self.kappa, least=0)
        automatic = isinstance(self.regularisation, str) and self.regularisation == "cv"
        grid = None if automatic else _numbers("regularisation", self.regularisation, above=0)
        return kappas, grid, rates * (3 // len(rates))

    def _early(self, signs: np.ndarray, random: Any) -> np.ndarray:
        """Which samples the query is learned from: the same share of both classes."""
        early = np.zeros(signs.size, dtype=bool)
        for own in (np.flatnonzero(signs < 0), np.flatnonzero(signs > 0)):
            if own.size < 2:
                raise ValueError(f"y must hold at least two samples of each class, got {own.size}")
            share = int(np.clip(round(self.query_share * own.size), 1, own.size - 1))
            early[random.permutation(own)[:share]] = True
        return early

    def _descend(
        self, data: TokenSequences, signs: Any, early: Any, white: Any, rates: list[float]
    ) -> np.ndarray:
        """Query, for whitened tokens, after full-batch gradient descent of (w, b, q) from zero."""
        weight = early / early.sum()
        if self.balance:
            weight = early / np.where(signs > 0, early[signs > 0].sum(), early[signs < 0].sum()) / 2
        centre, root = white
        w, b, q = np.zeros(data.width), 0.0, np.zeros(data.width)
        for _ in range(1 + self.query_steps):
            a = data.softmax(self.inverse_temperature * data.project(root @ q))
            f = (data.combine(a) - centre) @ root
            h = weight * LOSSES[self.loss].first(signs, f @ w + b)
            values = data.project(root @ w)
            pull = a * (values - np.repeat(data.sums(a * values), data.lengths)) * np.repeat(h, data.lengths)
            slope = self.inverse_temperature * root @ data.combine(pull).sum(axis=0)
            w, b, q = w - rates[0] * (h @ f), b - rates[1] * h.sum(), q - rates[2] * slope
        return q

    def _choose(
        self, kappas: list[float], grid: Any, features: Any, signs: np.ndarray, late: np.ndarray, random: Any
    ) -> tuple[float, float, dict[float, float]]:
        """Kappa and penalty of lowest loss on folds that no training has seen, and the lowest loss of each kappa."""
        late = np.flatnonzero(late)
        rarer = int(min((signs[late] > 0).sum(), (signs[late] < 0).sum()))
        if self.cv > rarer:
            raise ValueError(
                f"cv must be at most {rarer}, the rarer class's samples for the read-out, got {self.cv}"
            )
        cut = StratifiedKFold(self.cv, shuffle=True, random_state=random)
        folds = [late[held_out] for _, held_out in cut.split(late, signs[late])]
        best = {}
        for kappa in sorted(set(kappas)):
            f, rows = features(kappa)
            penalties = grid or [c * float(f[rows].var(axis=0).mean() or 1) for c in PENALTIES]
            total = np.zeros(len(penalties))
            for held_out in folds:
                train = rows.copy()
                train[held_out] = False
                w, b = _read_outs(f[train], signs[train], penalties, self.loss)
                total += LOSSES[self.loss].value(signs[held_out, None], f[held_out] @ w.T + b).sum(axis=0)
            best[kappa] = float(total.min() / late.size), penalties[int(total.argmin())]
        kappa = min(best, key=lambda one: best[one][0])
        return kappa, best[kappa][1], {one: lowest for one, (lowest, _) in best.items()}


def _numbers(name: str, value: Any, **limits: float) -> list[float]:
    several = np.iterable(value) and not isinstance(value, str)
    checked = [number(name, one, **limits) for one in (value if several else [value])]
    if not checked:
        raise ValueError(f"{name} must hold at least one number, got none")
    return checked


def _signs(y: Any, n: int) -> tuple[np.ndarray, np.ndarray]:
    """The two classes, and ±1 for each sample."""
    y = column_or_1d(y)
    check_classification_targets(y)
    classes, index = np.unique(y, return_inverse=True)
    if y.size != n or classes.size != 2:
        raise ValueError(
            f"y must hold {n} labels, as X, of exactly two classes, got {y.size} of {classes.size}"
        )
    return classes, 2 * index - 1


def _read_outs(
    f: np.ndarray, signs: np.ndarray, grid: list[float], loss: str
) -> tuple[np.ndarray, np.ndarray]:
    """Minimisers of (1/n) sum_i l(y_i; w·f_i + b) + (λ/2)‖w‖² for each λ, shapes (m, d) and (m,)."""
    penalties = np.asarray(grid)
    if loss == "square":
        centre = f.mean(axis=0)
        values, vectors = np.linalg.eigh((f - centre).T @ (f - centre) / len(f))
        along = vectors.T @ ((f - centre).T @ signs) / len(f)
        w = (along / (np.maximum(values, 0) + penalties[:, None])) @ vectors.T
        return w, signs.mean() - w @ centre
    scale = np.sqrt(f.var(axis=0).mean()) or 1.0
    model = LogisticRegression(warm_start=True, tol=1e-6, max_iter=10_000)
    w, b = np.empty((penalties.size, f.shape[1])), np.empty(penalties.size)
    for k in np.argsort(-penalties):  # the strongest penalty is the quickest, and starts the next
        model.set_params(C=scale**2 / (penalties[k] * len(f)))
        with warnings.catch_warnings():
            warnings.simplefilter("error", ConvergenceWarning)
            try:
                model.fit(f / scale, signs)
            except ConvergenceWarning as error:
                raise RuntimeError(
                    f"no convergence of the read-out with λ = {penalties[k]:.3g}: {error}"
                ) from None
        w[k], b[k] = model.coef_[0] / scale, model.intercept_[0]
    return w, b
