"""What the configuration of a Keras model may name before it is built: reviewed, exact, and nothing that takes a path.

Left out with a reason: ``Lambda``, ``TFSMLayer``, ``TorchModuleWrapper``, ``JaxLayer`` and ``FlaxLayer`` run code;
``StringLookup``, ``IntegerLookup``, ``TextVectorization`` and ``FeatureSpace`` open vocabularies by path; ``Pipeline``,
``RandAugment`` and their like were not read. Every dict of the configuration is looked at, whatever Keras does with it.
"""

from __future__ import annotations

from typing import Any

from modelkeep.errors import shown

_POOLS = [f"{kind}{n}D" for kind in ("AveragePooling", "MaxPooling") for n in (1, 2, 3)]
_SPATIAL = [f"{kind}{n}D" for kind in (
    "Conv", "ConvLSTM", "Cropping", "GlobalAveragePooling", "GlobalMaxPooling", "SpatialDropout", "UpSampling",
    "ZeroPadding",
) for n in (1, 2, 3)]  # fmt: skip
_LAYERS = {
    *_POOLS, *_SPATIAL, "Conv1DTranspose", "Conv2DTranspose", "Conv3DTranspose", "DepthwiseConv1D", "DepthwiseConv2D",
    "SeparableConv1D", "SeparableConv2D", "Activation", "ActivityRegularization", "Add", "AdditiveAttention",
    "AlphaDropout", "Attention", "Average", "BatchNormalization", "Bidirectional", "CategoryEncoding", "CenterCrop",
    "Concatenate", "Dense", "Dot", "Dropout", "ELU", "EinsumDense", "Embedding", "Flatten", "GRU", "GRUCell",
    "GaussianDropout", "GaussianNoise", "GroupNormalization", "GroupQueryAttention", "Identity", "InputLayer", "LSTM",
    "LSTMCell", "LayerNormalization", "LeakyReLU", "Masking", "Maximum", "Minimum", "MultiHeadAttention", "Multiply",
    "Normalization", "PReLU", "Permute", "RMSNormalization", "RNN", "ReLU", "RepeatVector", "Rescaling", "Reshape",
    "Resizing", "SimpleRNN", "SimpleRNNCell", "Softmax", "StackedRNNCells", "Subtract", "TimeDistributed",
    "UnitNormalization",
}  # fmt: skip
_INITIALIZERS = {
    "Constant", "GlorotNormal", "GlorotUniform", "HeNormal", "HeUniform", "Identity", "LecunNormal", "LecunUniform",
    "Ones", "Orthogonal", "OrthogonalInitializer", "RandomNormal", "RandomUniform", "TruncatedNormal",
    "VarianceScaling", "Zeros",
}  # fmt: skip
_OPTIMIZERS = {
    "Adadelta", "Adafactor", "Adagrad", "Adam", "AdamW", "Adamax", "Ftrl", "Lamb", "Lion", "Nadam", "RMSprop", "SGD",
}  # fmt: skip
_LOSSES = {
    "BinaryCrossentropy", "BinaryFocalCrossentropy", "CategoricalCrossentropy", "CategoricalFocalCrossentropy",
    "CategoricalHinge", "CosineSimilarity", "Dice", "Hinge", "Huber", "KLDivergence", "LogCosh", "MeanAbsoluteError",
    "MeanAbsolutePercentageError", "MeanSquaredError", "MeanSquaredLogarithmicError", "Poisson",
    "SparseCategoricalCrossentropy", "SquaredHinge", "Tversky",
}  # fmt: skip
_METRICS = _LOSSES | {
    "AUC", "Accuracy", "BinaryAccuracy", "BinaryIoU", "CategoricalAccuracy", "F1Score", "FBetaScore",
    "FalseNegatives", "FalsePositives", "IoU", "Mean", "MeanIoU", "OneHotIoU", "OneHotMeanIoU", "Precision",
    "PrecisionAtRecall", "R2Score", "Recall", "RecallAtPrecision", "RootMeanSquaredError",
    "SensitivityAtSpecificity", "SparseCategoricalAccuracy", "SparseTopKCategoricalAccuracy",
    "SpecificityAtSensitivity", "Sum", "TopKCategoricalAccuracy", "TrueNegatives", "TruePositives",
}  # fmt: skip
_SCHEDULES = {
    "CosineDecay", "CosineDecayRestarts", "ExponentialDecay", "InverseTimeDecay", "PiecewiseConstantDecay",
    "PolynomialDecay",
}  # fmt: skip
_NAMES: dict[str, set[str]] = {
    "keras": {"DTypePolicy", "Sequential"},
    "keras.constraints": {"MaxNorm", "MinMaxNorm", "NonNeg", "UnitNorm"},
    "keras.dtype_policies": {"DTypePolicy"},
    "keras.initializers": _INITIALIZERS,
    "keras.layers": _LAYERS,
    "keras.losses": _LOSSES,
    "keras.metrics": _METRICS,
    "keras.models": {"Functional", "Sequential"},
    "keras.optimizers": _OPTIMIZERS,
    "keras.optimizers.schedules": _SCHEDULES,
    "keras.regularizers": {"L1", "L1L2", "L2", "OrthogonalRegularizer"},
    "keras.src.models.functional": {"Functional"},
    **{f"keras.src.backend.torch.optimizers.torch_{name.lower()}": {name} for name in _OPTIMIZERS},
}
_FUNCTIONS = {
    "celu", "elu", "exponential", "gelu", "glu", "hard_sigmoid", "hard_silu", "hard_tanh", "leaky_relu", "linear",
    "log_sigmoid", "log_softmax", "mish", "relu", "relu6", "selu", "sigmoid", "silu", "soft_shrink", "softmax",
    "softplus", "softsign", "squareplus", "swish", "tanh", "tanh_shrink",
    "binary_crossentropy", "categorical_crossentropy", "mean_absolute_error", "mean_squared_error",
    "sparse_categorical_crossentropy",
}  # fmt: skip
_VALUES = {"__keras_tensor__", "__tensor__", "__numpy__", "__ellipsis__", "__slice__"}  # plain data to Keras
_MARKS = ("module", "registered_name", "spec_name", "fn", "function")
_MAX_DEPTH = 100


def stranger(node: Any, depth: int = _MAX_DEPTH) -> str | None:
    """What a configuration names that is on no list; None if it names nothing else.

    Example:
        >>> stranger({"module": "keras.layers", "class_name": "Dense", "config": {"units": 1}, "registered_name": None})
        >>> stranger({"module": "keras.layers", "class_name": "Lambda", "config": {}})
        "'keras.layers'.'Lambda'"
    """
    if depth == 0:
        return "a nest too deep"
    if isinstance(node, dict):
        found = _named(node)
        return found or next(filter(None, (stranger(part, depth - 1) for part in node.values())), None)
    if isinstance(node, list):
        return next(filter(None, (stranger(part, depth - 1) for part in node)), None)
    return None


def _named(node: dict[str, Any]) -> str | None:
    kind, module = node.get("class_name"), node.get("module")
    if "class_name" not in node:
        return next((f"a {mark} without a class" for mark in _MARKS if mark in node), None)
    what = f"{shown(module)}.{shown(kind)}"
    if not isinstance(kind, str):
        return what
    if module is None and kind in _VALUES:
        return None if node.get("registered_name") is None else what
    if kind == "function":
        name = node.get("config")
        known = module == "builtins" and isinstance(name, str) and name in _FUNCTIONS
        return (
            None if known and node.get("registered_name") in (None, "function", name) else f"the function {shown(name)}"
        )
    known = isinstance(module, str) and kind in _NAMES.get(module, ())
    return None if known and node.get("registered_name") in (None, kind) else what
