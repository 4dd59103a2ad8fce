"""What was reviewed: by which rules a name comes to stand on the list, and why some never will.

A rule names a module, or a class all of whose kind in a package were read, and the line that it gives. Looked for in
each class: what unpickling runs (``__setstate__``, ``__new__``, ``__reduce__``), what deleting runs (``__del__``), what
it hands to native code, and whether an attribute is a path, a program, or the text of one.

Never listed, whoever asks:

- what loads or runs: ``pickle.loads``, ``joblib.load``, ``numpy.load``, ``numpy.fromfile``, ``eval``;
- what gives access to more than it was given: ``getattr``, ``operator.*``, ``types.*``, and ``functools.partial`` of
  all functions but one;
- ``scipy.stats`` distributions: their ``__setstate__`` hands ``_parse_arg_template`` of the state to ``exec``;
- ``xgboost`` and ``lightgbm`` boosters: their state is a pointer, or bytes for a parser in C++ that was not written for
  strangers; both have serializers of their own, whose formats are read by checked parsers;
- ``pandas`` frames and indexes: block managers are native, and trust the places that a pickle gives them;
- ``numpy.random.Philox``: its state has a position in a buffer that nobody checks;
- ``PyFuncDistance``: it holds a callable, and calls it from native code;
- callback and display classes, ``sklearn.utils.parallel``, ``sklearn.datasets``: not part of a fitted model.
"""

from __future__ import annotations

PLAIN = """
builtins bool value
builtins bytearray call:bytearray
builtins bytes value
builtins complex call:span
builtins dict value
builtins float value
builtins frozenset call:members
builtins int value
builtins list value
builtins object value
builtins range call:span
builtins set call:members
builtins slice call:span
builtins str value
builtins tuple value
collections Counter call:counter items
collections OrderedDict call:none items
collections defaultdict call:factory items
collections deque call:queue appends
datetime date call:octets
datetime datetime call:octets
datetime time call:octets
datetime timedelta call:span
datetime timezone call:zone
decimal Decimal call:digits
"""

NUMPY = """
numpy dtype call:dtype
numpy ndarray part
numpy.ma MaskedArray part
numpy.ma.core MaskedArray part
numpy.ma.core _mareconstruct call:masked
numpy.random._mt19937 MT19937 part
numpy.random._pcg64 PCG64 part
numpy.random._pcg64 PCG64DXSM part
numpy.random._sfc64 SFC64 part
numpy.random._pickle __bit_generator_ctor call:bits check:bits
numpy.random._pickle __generator_ctor call:random
numpy.random._pickle __randomstate_ctor call:random build:any
numpy.random.bit_generator SeedSequence part
numpy.random.bit_generator __pyx_unpickle_SeedSequence call:seed
"""
CORES = "numpy._core", "numpy.core"  # numpy 2 and 1
CORE = """
{core}.multiarray _reconstruct call:array
{core}.multiarray scalar call:scalar
{core}.numeric _frombuffer call:frombuffer
"""
NUMPY_TYPES = (
    *("bool_", "bool", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64", "intp", "uintp"),
    *("float16", "float32", "float64", "longdouble", "complex64", "complex128", "str_", "bytes_", "object_", "number"),
    *("integer", "floating", "longlong", "ulonglong", "datetime64", "timedelta64"),
)
# Functions of arrays that neither call nor read anything else; ufuncs are the same by their kind, and are found by it.
NUMPY_FUNCTIONS = (
    *("mean", "median", "sum", "std", "var", "prod", "min", "max", "amin", "amax", "average", "ptp", "cumsum", "diff"),
    *("nanmean", "nanmedian", "nansum", "nanstd", "nanvar", "nanmin", "nanmax", "clip", "round", "nan_to_num", "ravel"),
    *(
        "argmax",
        "argmin",
        "sort",
        "argsort",
        "unique",
        "transpose",
        "reshape",
        "atleast_2d",
        "asarray",
        "array",
        "real",
    ),
)

SCIPY = """
scipy._lib.array_api_compat.numpy._aliases asarray value
scipy.interpolate._bsplines BSpline new build:fields check:spline
"""
SPARSE = {
    "scipy.sparse._csr": ("csr_matrix", "csr_array"),
    "scipy.sparse._csc": ("csc_matrix", "csc_array"),
}

# Native classes of scikit-learn, by their module: read one by one.
NATIVE = """
sklearn.tree._tree Tree call:tree check:nodes
sklearn.neighbors._kd_tree KDTree part check:ball
sklearn.neighbors._kd_tree KDTree64 part check:ball
sklearn.neighbors._kd_tree KDTree32 part check:ball
sklearn.neighbors._kd_tree newObj call:newobj
sklearn.neighbors._ball_tree BallTree part check:ball
sklearn.neighbors._ball_tree BallTree64 part check:ball
sklearn.neighbors._ball_tree BallTree32 part check:ball
sklearn.neighbors._ball_tree newObj call:newobj
sklearn.metrics._dist_metrics newObj call:newobj
sklearn.utils.validation check_array value
functools partial call:checker check:checker
"""
METRICS = (
    *(
        "Euclidean",
        "SEuclidean",
        "Manhattan",
        "Chebyshev",
        "Minkowski",
        "Mahalanobis",
        "Hamming",
        "Canberra",
        "BrayCurtis",
    ),
    *("Jaccard", "Dice", "RogersTanimoto", "RussellRao", "SokalMichener", "SokalSneath", "Haversine"),
)
# Every class of these modules takes numbers and has no state but them.
NUMBERS_ONLY = ("sklearn._loss._loss", "sklearn.linear_model._sgd_fast")

# Plain Python classes beside the estimators that fitted ones hold: attributes only, no code when they are built.
HELPERS = {
    "sklearn._loss.link": ("IdentityLink", "Interval", "LogLink", "LogitLink", "HalfLogitLink", "MultinomialLogit"),
    "sklearn._loss.loss": (
        *("AbsoluteError", "ExponentialLoss", "HalfBinomialLoss", "HalfGammaLoss", "HalfMultinomialLoss"),
        *(
            "HalfPoissonLoss",
            "HalfSquaredError",
            "HalfTweedieLoss",
            "HalfTweedieLossIdentity",
            "HuberLoss",
            "PinballLoss",
        ),
    ),
    "sklearn.calibration": ("_CalibratedClassifier",),
    "sklearn.cluster._birch": ("_CFNode", "_CFSubcluster"),
    "sklearn.cluster._bisect_k_means": ("_BisectingTree",),
    "sklearn.ensemble._hist_gradient_boosting.predictor": ("TreePredictor",),
    "sklearn.gaussian_process.kernels": "*",
    "sklearn.metrics._scorer": ("_PassthroughScorer", "_Scorer", "_CurveScorer", "_MultimetricScorer"),
    "sklearn.model_selection._split": "*",
    "sklearn.neural_network._stochastic_optimizers": ("AdamOptimizer", "SGDOptimizer"),
    "sklearn.utils._metadata_requests": ("MetadataRequest", "MethodMetadataRequest", "MetadataRouter"),
}
BUNCH = "sklearn.utils._bunch Bunch new items build:fields\n"

# Numeric functions that are handed about: scores, metrics, kernels. None takes a callable's name, a path or a program.
FUNCTIONS = {
    "sklearn.cluster._kmeans": ("_kmeans_single_lloyd", "_kmeans_single_elkan"),
    "sklearn.feature_selection._mutual_info": ("mutual_info_classif", "mutual_info_regression"),
    "sklearn.feature_selection._univariate_selection": (
        "chi2",
        "f_classif",
        "f_oneway",
        "f_regression",
        "r_regression",
    ),
    "sklearn.metrics._classification": "*",
    "sklearn.metrics._ranking": "*",
    "sklearn.metrics._regression": "*",
    "sklearn.metrics.cluster._supervised": "*",
    "sklearn.metrics.pairwise": (
        *("additive_chi2_kernel", "chi2_kernel", "cosine_distances", "cosine_similarity", "euclidean_distances"),
        *("haversine_distances", "laplacian_kernel", "linear_kernel", "manhattan_distances", "polynomial_kernel"),
        *("rbf_kernel", "sigmoid_kernel"),
    ),
}

# Classes whose own code runs while a pickle is built, and what was found in it.
OWN_CODE = {
    "sklearn.isotonic.IsotonicRegression": "__setstate__ interpolates between its own thresholds, in numpy",
    "sklearn.ensemble._hist_gradient_boosting.predictor.TreePredictor": "__setstate__ casts its nodes, same kind only",
    "sklearn.utils._bunch.Bunch": "__setstate__ does nothing",
    "sklearn.linear_model._passive_aggressive.PassiveAggressiveClassifier": "__new__ warns that it is deprecated",
    "sklearn.linear_model._passive_aggressive.PassiveAggressiveRegressor": "__new__ warns that it is deprecated",
    "sklearn.frozen._frozen.FrozenEstimator": "__getattr__ asks the estimator inside",
    "sklearn.utils._metadata_requests.MetadataRequest": "__getattr__ gathers what its methods request",
}

# What of an estimator reaches native code, and the check for it; the class and all that derive from it.
CHECKED = {
    "sklearn.tree._classes.BaseDecisionTree": "tree",
    "sklearn.ensemble._forest.BaseForest": "forest",
    "sklearn.ensemble._iforest.IsolationForest": "isolation",
    "sklearn.ensemble._gb.BaseGradientBoosting": "boosting",
    "sklearn.ensemble._hist_gradient_boosting.predictor.TreePredictor": "predictor",
    "sklearn.ensemble._hist_gradient_boosting.gradient_boosting.BaseHistGradientBoosting": "histogram",
    "sklearn.svm._base.BaseLibSVM": "support",
    "sklearn.cluster._kmeans._BaseKMeans": "centres",
    "sklearn.neighbors._classification.KNeighborsClassifier": "classes",
    "sklearn.neighbors._classification.RadiusNeighborsClassifier": "classes",
    "sklearn.neighbors._base.NeighborsBase": "neighbours",
    "sklearn.feature_extraction.text.CountVectorizer": "columns",
    "sklearn.feature_extraction._dict_vectorizer.DictVectorizer": "columns",
    "sklearn.feature_extraction._hash.FeatureHasher": "hashing",
    "sklearn.feature_extraction.text.HashingVectorizer": "hashing",
    "sklearn.preprocessing._encoders.OneHotEncoder": "onehot",
    "sklearn.cluster._hdbscan.hdbscan.HDBSCAN": "links",
}

# Packages whose estimators derive from scikit-learn's and hold nothing else of their own.
ESTIMATORS = ("sklearn", "imblearn", "category_encoders")
SKIPPED_MODULES = (
    "tests",
    "conftest",
    "externals",
    "datasets",
    "callback",
    "experimental",
    "_build_utils",
    "keras",
    "tensorflow",
)
