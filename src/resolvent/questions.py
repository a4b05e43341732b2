"""What each figure asks, what theory answers, how it was simulated, and where that is derived: the report's text."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["QUESTIONS", "Question"]


@dataclass(frozen=True)
class Question:
    """The text beside one figure of the report.

    Parameters
    ----------
    asked, theory, simulation : str
    derived : str
        Page and section of the documentation.
    code : tuple of str
        Files of the package that hold the theory, relative to it.
    """

    asked: str
    theory: str
    simulation: str
    derived: str
    code: tuple[str, ...]


POOLED, SPARSE = "docs/theory/pooled.md", "docs/theory/sparse_token.md"
IN_CONTEXT, ELLIPTICAL = "docs/theory/in_context.md", "docs/theory/elliptical.md"

QUESTIONS = {
    "heat_map": Question(
        "How large a signal does it take, with how large a vocabulary?",
        "Below a phase boundary the leading component ignores the signal; above it, their overlap is a closed form. Better "
        "weights move the boundary towards weaker signals.",
        "The overlap on a grid of signals and vocabularies, with nothing fitted.",
        f"{POOLED}, section 4",
        ("spikes.py", "models/pooled.py"),
    ),
    "spectra": Question(
        "What do the eigenvalues of pooled sequences look like?",
        "The bulk follows the free product of two Marchenko–Pastur laws, scaled by kappa; one eigenvalue leaves it, at a "
        "place that is known.",
        "All eigenvalues of one draw for each weighting.",
        f"{POOLED}, sections 3 and 4",
        ("laws/inverse_map.py", "spikes.py"),
    ),
    "alignment": Question(
        "How well does the leading component align with the signal, and what do weights gain?",
        "The squared overlap depends on the weights through one number, their snr; optimal weights have the largest.",
        "The overlap over a grid of signals, for prefix positions and for a pattern of signs.",
        f"{POOLED}, sections 4 and 5",
        ("spikes.py", "weights/given.py", "models/pooled.py"),
    ),
    "critical_signal": Question(
        "From which signal on is there anything to find?",
        "The critical signal is a closed form in snr, delta and gamma; it may be zero, where the table's own class means "
        "already show.",
        "Scaled overlap curves of two dimensions cross at the transition: the crossing is measured.",
        f"{POOLED}, section 4",
        ("spikes.py",),
    ),
    "ridge": Question(
        "How accurate is a classifier on pooled features?",
        "The test accuracy of ridge regression is an exact function of the same few numbers.",
        "Classifiers trained on finite samples and tested on fresh sequences; learned weights beside the fixed ones.",
        f"{POOLED}, section 6",
        ("models/ridge.py",),
    ),
    "real_tables": Question(
        "Is the bulk of a real embedding table noise?",
        "A table of noise has a Marchenko–Pastur bulk; with correlated rows, a product of two.",
        "No draws: laws are fitted to real tables, and what lies outside is counted.",
        "docs/real_tables.md",
        ("bulk.py", "diagnosis.py"),
    ),
    "published": Question(
        "Where does the published formula hold?",
        "It is exact for a table whose noise averages to zero inside each class. In the Gaussian-mixture table the class "
        "means add to the spike and tilt it away from the signal.",
        "Both tables are drawn and held against both formulas.",
        f"{POOLED}, section 2",
        ("spikes.py",),
    ),
    "finite_size": Question(
        "How large must a dimension be for the limit to hold?",
        "Errors fall as powers of d; averages are off by at most c/d away from the transition.",
        "Rates over dimensions, biases at random settings, and very short sequences.",
        f"{POOLED}, section 7",
        ("compare.py",),
    ),
    "agreement": Question(
        "Does the theory hold at settings nobody chose?",
        "Largest eigenvalue, second eigenvalue and overlap are predicted for any aspect ratios, positions and weights.",
        "Twenty settings drawn at random, both table conventions in turn; the wrong convention must fail.",
        f"{POOLED}, sections 4 and 7",
        ("compare.py", "models/pooled.py"),
    ),
    "static_null": Question(
        "How many components does text have that says nothing?",
        "None: whitened by token noise, which counts alone give, permuted text has a Marchenko–Pastur bulk and nothing else.",
        "Tokens permuted across documents, so that only positions and frequencies are left.",
        "docs/theory/diagnosis.md, section 3",
        ("nulls.py",),
    ),
    "salad_null": Question(
        "What is the null of a transformer, which mixes tokens itself?",
        "Whitened by other documents of permuted tokens, an empty document has the Wachter law's edge, and nothing above it.",
        "Held-out documents of permuted tokens, then growing shares of real text.",
        "docs/theory/diagnosis.md, section 4",
        ("salad.py",),
    ),
    "components": Question(
        "Which rule counts the real components of a matrix?",
        "A rule is right where its law is that of the noise: with a product bulk, the two-factor law.",
        "Samples without a spike and with three, counted by every rule.",
        "docs/theory/diagnosis.md, sections 1 and 2",
        ("counting.py", "diagnosis.py"),
    ),
    "learning_curves": Question(
        "How many samples does attention save in finding rare tokens?",
        "Test error and training loss of each classifier are exact in the limit; vectorising needs L times the samples.",
        "Read-outs trained at finite size, on queries learned in two gradient steps.",
        f"{SPARSE}, sections 3 and 4",
        ("sparse_token/readout.py", "sparse_token/query.py"),
    ),
    "query_alignment": Question(
        "Do two gradient steps find the signal?",
        "The cosine of the query with the signal is exact at any number of samples, and tends to 1 as C/alpha.",
        "Two steps on finite samples, with given and with best step sizes.",
        f"{SPARSE}, section 3",
        ("sparse_token/query.py",),
    ),
    "separability": Question(
        "How many samples can each classifier separate?",
        "Capacities are exact; attention's grows with the signal and with the query's alignment.",
        "Linear programming finds the longest separable prefix of a stream of samples.",
        f"{SPARSE}, section 6",
        ("sparse_token/capacity.py",),
    ),
    "oracle_error": Question(
        "What can the best classifier of each kind reach in long sequences?",
        "Pooling fails once the signal is diluted; attention needs a signal of order log L only.",
        "Tuned attention and the likelihood ratio, on fresh draws.",
        f"{SPARSE}, section 2",
        ("sparse_token/oracle.py",),
    ),
    "crossover": Question(
        "When does attention with a poor query lose to plain pooling?",
        "Errors of both are exact, so that the boundary is a curve in signal and alignment.",
        "Pairs of classifiers on the same draws.",
        f"{SPARSE}, section 5",
        ("sparse_token/readout.py", "models/sparse_token.py"),
    ),
    "equivalence": Question(
        "What does a layer trained on prompts learn?",
        "One step of preconditioned gradient descent; its preconditioner and risk are closed forms, the same for H3.",
        "Layers with all their parameters, trained on fresh prompts, and the step read out of them.",
        f"{IN_CONTEXT}, sections 3 and 4",
        ("models/in_context.py", "in_context_training/training.py"),
    ),
    "task_correlation": Question(
        "What are examples worth that know of the query or the task?",
        "The exact risk for retrieved and aligned prompts; counting each example more than once approximates it.",
        "Optimal attention on fresh prompts.",
        f"{IN_CONTEXT}, sections 5 and 6",
        ("in_context/correlated.py",),
    ),
    "low_rank": Question(
        "What does a layer of low rank lose, and what does LoRA regain?",
        "The best preconditioner of any rank is known, and so is the best change of one.",
        "The same preconditioners on fresh prompts.",
        f"{IN_CONTEXT}, section 7",
        ("in_context/adaptation.py",),
    ),
    "drift": Question(
        "What if tasks drift within a prompt?",
        "H3 weighs the recent past more and gains by it; its best weights and all risks are exact.",
        "Fresh prompts of drifting tasks, with Kalman's filter as the bound.",
        f"{IN_CONTEXT}, sections 4 and 8",
        ("models/in_context.py", "in_context/tasks.py"),
    ),
    "bad_minima": Question(
        "Does training always reach the optimum?",
        "From starts that keep keys blind to labels and values blind to features, yes; elsewhere attention has bad local minima.",
        "Descent on the exact risk of all parameters from many starts.",
        f"{IN_CONTEXT}, section 11",
        ("in_context_training/descent.py",),
    ),
    "nadaraya_watson": Question(
        "Where does a stretched metric help kernel regression?",
        "Where the function varies along few coordinates; where all count alike it cannot.",
        "Regression on finite samples by every metric.",
        f"{ELLIPTICAL}, section 1",
        ("elliptical/kernel_regression.py",),
    ),
    "metric_snr": Question(
        "What does a metric gain in attention-pooled tokens?",
        "The snr at every temperature is exact; a diagonal metric gains only if the signal lies on few coordinates.",
        "Pooled tokens drawn at finite size.",
        f"{ELLIPTICAL}, sections 3 and 4",
        ("models/elliptical.py",),
    ),
    "spurious_outlier": Question(
        "Does an outlier prove a signal?",
        "Not with a stretched metric: it makes one by itself, along the stretched coordinate.",
        "Draws with and without a signal; only the correlation with the label tells them apart.",
        f"{ELLIPTICAL}, section 8",
        ("models/elliptical.py",),
    ),
    "depth_similarity": Question(
        "Do tokens grow alike with depth, and less so with elliptical attention?",
        "None is computed here: the claim is a published one about trained networks.",
        "Small transformers trained with several metrics and controls.",
        ELLIPTICAL,
        ("torch/attention.py", "torch/transformer.py"),
    ),
    "elliptical_claims": Question(
        "Which published claims for elliptical attention reproduce, against controls?",
        "None is computed here: each claim says which of two networks does better.",
        "Paired networks, equal in all but the metric, judged by t-tests.",
        f"{ELLIPTICAL}, “Claims, reproduced or not”",
        ("torch/attention.py",),
    ),
    "pooling_static": Question(
        "Do learned pooling weights help on static embeddings of text?",
        "Weights are exact in the model; real text need not follow it, hence the guards.",
        "No draws: accuracies on real documents and on controls made of them.",
        "docs/theory/pooling_weights.md",
        ("estimators/positional_pooling.py",),
    ),
    "pooling_contextual": Question(
        "Do learned pooling weights help on a transformer's tokens?",
        "Weights are exact in the model; a transformer has mixed positions before they are pooled, which the model has not.",
        "No draws: accuracies on real documents and on planted controls.",
        "docs/theory/pooling_weights.md",
        ("estimators/positional_pooling.py",),
    ),
    "finite_length": Question(
        "What changes when sequences are short?",
        "Bulk and spike depart by order 1/T_eff², in closed form; below T_eff = 2 equations on a tree say how far.",
        "Edge, outlier and overlap against the length of the sequence.",
        "docs/theory/finite_length.md, sections 2 to 4",
        ("laws/finite_length.py", "finite_length.py", "population_dynamics.py"),
    ),
    "error_bars": Question(
        "How far may one finite sample lie from the limit?",
        "Outlier, overlap and edge have standard errors and 95 % intervals in closed form, away from the transition.",
        "The share of draws inside the intervals, at rising signals and at random settings.",
        "docs/theory/fluctuations.md, sections 2 to 5",
        ("fluctuations.py", "error_bars.py"),
    ),
    "query_outliers": Question(
        "What does attention with one fixed query show, and what does it make up?",
        "Every outlier has a name: the signal's, the query's own, composition, heavy tokens, the mean; some carry no signal.",
        "Softmax and cosh attention on sampled tokens, beside the best fixed weights.",
        "docs/theory/attention_query.md, sections 5 to 7",
        ("query_attention/outliers.py", "models/query_attention.py"),
    ),
    "several_classes": Question(
        "What if tokens come in more than two classes?",
        "One spike for each direction between class means, and as many modes of the table's own noise.",
        "Outliers and overlaps of three classes, close spikes, and correlations that depend on the class.",
        "docs/theory/classes.md, sections 2 to 4",
        ("models/classes.py", "class_positions.py"),
    ),
    "mixed_correlations": Question(
        "What if every sequence has correlations of its own?",
        "The spectrum knows their mean alone; its spread, and the accuracy of a classifier, do not.",
        "Two mixtures of one mean: spectra, their spread, and ridge classifiers.",
        "docs/theory/classes.md, section 5",
        ("positions.py", "mixed_positions.py"),
    ),
    "real_vocabulary": Question(
        "What do token frequencies and correlated noise change, and do real vocabularies follow?",
        "One map holds both; from a real table and token counts it predicts the pooled spectrum, nothing fitted.",
        "Zipf-like and anisotropic tables, then permuted and real text.",
        "docs/theory/vocabulary.md, sections 2 to 7",
        ("laws/separable.py", "models/vocabulary.py", "vocabulary/corpus.py"),
    ),
    "depth_and_heads": Question(
        "How deep should causal attention be, and what do value matrices cost?",
        "Depth has a best value for each prefix; a random value matrix is one more Marchenko–Pastur factor.",
        "Stacks with and without value matrices: spectra and alignments.",
        "docs/theory/depth.md, sections 1 to 3",
        ("heads.py", "models/value_layers.py"),
    ),
    "loss_landscape": Question(
        "Where do weights end that are learned together with a classifier?",
        "Within a prefix the loss is least at spread weights or at one position; the penalty decides which.",
        "Weights learned at finite size, ridge and logistic classifiers on fresh sequences.",
        "docs/theory/downstream.md, sections 1 to 3",
        ("downstream/landscape.py", "downstream/convex.py", "downstream/ridge.py"),
    ),
}
