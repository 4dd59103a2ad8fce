"""transformers: models and tokenizers as their `save_pretrained` folder, with safetensors only.

A model of a common architecture is data (``transformers:model``): transformers opens none of its files. The weights are
read by our own reader; the configuration is JSON of ours to check before it becomes a config of the class that
transformers' own tables give for its ``model_type``. It is let in if the type is one of `DATA_TYPES`, whose classes
build modules of numbers and look texts up in tables; if no key names code, a kernel, another file or another model
(``auto_map``, ``attn_implementation``, ``transformers_weights``, ``backbone``, ``quantization_config``, …); if every
text is a plain word, so that it is no path, address or repository; and if no file but the known ones is there.

A fast tokenizer without a template is data, too (``transformers:tokenizer``): ``tokenizer.json`` is read by Rust (see
`modelkeep.integrations.tokenizers`), and its configuration is held to the same rule. A chat template is a program of
jinja, if in a sandbox, and leaves the rule. Whatever else transformers wrote is code (``transformers:folder``).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from modelkeep.errors import IntegrityError, SerializerError
from modelkeep.serializers.arrays import as_torch
from modelkeep.serializers.plain import PlainSerializer
from modelkeep.serializers.port import Files, Sink
from modelkeep.serializers.safetensors import read
from modelkeep.serializers.strangers import on_disk, read_json, reading

CONFIG, GENERATION = "config.json", "generation_config.json"
TOKENIZER, TOKENIZER_CONFIG = "tokenizer.json", "tokenizer_config.json"
DATA_TYPES = frozenset(
    {
        *("albert", "bart", "bert", "convnext", "distilbert", "electra", "gemma", "gemma2", "gpt2", "gpt_neo"),
        *("gpt_neox", "llama", "mistral", "mpnet", "opt", "phi", "phi3", "qwen2", "qwen3", "resnet", "roberta"),
        *("t5", "vit", "wav2vec2", "xlm-roberta"),
    }
)
_WEIGHTS = re.compile(r"model(-\d+-of-\d+)?\.safetensors(\.index\.json)?")
_PLAIN_KEY = re.compile(r"[a-z0-9][a-z0-9_]*|_from_model_config")
_PLAIN_TEXT = re.compile(r"[\w+.-]{0,100}")
_NAMES_OTHERS = re.compile(
    "auto_map|implementation|kernel|backbone|quantiz|adapter|name_or_path|transformers_weights|custom|remote|repo"
)
_LABELS = ("id2label", "label2id")  # texts of the user's own, that only the user reads
_TABLES = ("rope_parameters", "rope_scaling", "task_specific_params")
_DTYPES = (None, "float16", "bfloat16", "float32", "float64")
_FAST = ("TokenizersBackend", "PreTrainedTokenizerFast")
_TOKEN = ("content", "single_word", "lstrip", "rstrip", "normalized", "special", "__type")


class TransformersSerializer(PlainSerializer):
    """See the module."""

    name = "transformers"
    packages = ("transformers", "tokenizers", "torch", "safetensors", "numpy")

    def accepts(self, obj: object) -> bool:
        """See `Serializer.accepts`: models and tokenizers whose class is transformers' own."""
        import transformers

        kinds = (transformers.PreTrainedModel, transformers.PreTrainedTokenizerBase)
        return isinstance(obj, kinds) and type(obj).__module__.startswith("transformers.")

    def save(self, obj: Any, sink: Sink) -> None:
        """See `Serializer.save`."""
        if getattr(obj, "_hf_peft_config_loaded", False) or getattr(obj, "hf_quantizer", None) is not None:
            raise SerializerError("the model has adapters or is quantized; save its folder with pathlib.Path(…)")
        with _quiet():
            try:
                obj.save_pretrained(sink.folder())
            except Exception as error:  # a slow tokenizer without a file, a module of the user's own within
                raise SerializerError(f"save_pretrained of {type(obj).__name__} failed: {error}") from error

    def form(self, files: Files, into: object | None) -> str:
        """See `Serializer.form`: data if the files keep the rule, told from names and JSON alone."""
        super().form(files, into)
        names = set(files.names())
        if CONFIG in names and _model_fault(files) is None:
            return "transformers:model"
        if names == {TOKENIZER, TOKENIZER_CONFIG} and _tokenizer_fault(read_json(files, TOKENIZER_CONFIG)) is None:
            return "transformers:tokenizer"
        return "transformers:folder"

    def load(self, files: Files, form: str, into: object | None) -> object:
        """See `Serializer.load`."""
        del into
        with _quiet(), reading("the folder of transformers"):
            return _LOADERS[form](files)


# -- the rule --------------------------------------------------------------------------------------------------------


def _model_fault(files: Files) -> str | None:
    """What keeps a model out of the data tier."""
    others = [name for name in files.names() if name not in (CONFIG, GENERATION) and not _WEIGHTS.fullmatch(name)]
    if others:
        return f"the file {others[0]!r}"
    config = read_json(files, CONFIG)
    if not isinstance(config, dict) or config.get("model_type") not in DATA_TYPES:
        return "its model_type"
    generation = read_json(files, GENERATION) if GENERATION in files.names() else {}
    fault = _fault(config) or _fault(generation)
    return fault or (None if _class_of(config) is not None else "its architecture")


def _fault(config: Any) -> str | None:
    if not isinstance(config, dict):
        return "a configuration that is no dict"
    for key, value in config.items():
        if not _PLAIN_KEY.fullmatch(key) or _NAMES_OTHERS.search(key):
            return f"the key {key!r}"
        if key in _LABELS and _is_labels(value):
            continue
        if key in _TABLES and isinstance(value, dict):
            fault = _fault({name: _flat(part) for name, part in value.items()})
            if fault is not None:
                return fault
        elif not _is_plain(value) or (key in ("dtype", "torch_dtype") and value not in _DTYPES):
            return f"the value of {key!r}"
    return None


def _flat(value: Any) -> Any:
    """The values of a table within a table, as a list: held to the same rule."""
    return list(value.values()) if isinstance(value, dict) else value


def _is_plain(value: Any) -> bool:
    if isinstance(value, list):
        return all(_is_plain(part) for part in value)
    if isinstance(value, str):
        return bool(_PLAIN_TEXT.fullmatch(value))
    return type(value) in (bool, int, float, type(None))


def _is_labels(value: Any) -> bool:
    return isinstance(value, dict) and all(type(part) in (str, int) for part in value.values())


def _class_of(config: dict[str, Any]) -> Any:
    """The class that the architecture names, if transformers' tables have it for this type."""
    import transformers
    from transformers.models.auto import modeling_auto as tables

    named, kind = config.get("architectures"), config["model_type"]
    if not isinstance(named, list) or len(named) != 1:
        return None
    rows = [getattr(tables, name).get(kind) for name in dir(tables) if name.endswith("MAPPING_NAMES")]
    known = {one for row in rows for one in (row if isinstance(row, (list, tuple)) else [row])}
    found = getattr(transformers, named[0]) if named[0] in known else None
    return found if isinstance(found, type) and issubclass(found, transformers.PreTrainedModel) else None


def _tokenizer_fault(config: Any) -> str | None:
    if not isinstance(config, dict) or config.get("tokenizer_class") not in _FAST:
        return "its class"
    odd = [key for key in config if key in ("auto_map", "chat_template") or key[:2] == "__" or key.endswith("_file")]
    return f"the key {odd[0]!r}" if odd else None


# -- loading ---------------------------------------------------------------------------------------------------------


def _load_model(files: Files) -> object:
    import transformers

    config = read_json(files, CONFIG)
    cls = _class_of(config)
    weights = [name for name in files.names() if name.endswith(".safetensors")]
    state = {tensor.name: as_torch(tensor) for path in weights for tensor in read(files, path)[0]}
    made = transformers.CONFIG_MAPPING[config["model_type"]].from_dict(config)
    model, told = cls.from_pretrained(None, config=made, state_dict=state, dtype="auto", output_loading_info=True)
    odd = [name for kind in ("missing_keys", "unexpected_keys", "mismatched_keys") for name in told[kind]]
    if odd:
        raise IntegrityError(f"the weights do not fit {CONFIG}: {odd[:5]}; run `modelkeep verify`")
    if GENERATION in files.names():
        model.generation_config = transformers.GenerationConfig.from_dict(read_json(files, GENERATION))
    return model


def _load_tokenizer(files: Files) -> object:
    import transformers
    from tokenizers import Tokenizer

    config = {key: _token(value) for key, value in read_json(files, TOKENIZER_CONFIG).items()}
    config = {key: value for key, value in config.items() if key not in ("tokenizer_class", "backend")}
    core = Tokenizer.from_str(bytes(files.read(TOKENIZER)).decode())
    return transformers.PreTrainedTokenizerFast(tokenizer_object=core, **config)


def _token(value: Any) -> Any:
    """A special token, which is told as a dict."""
    if not isinstance(value, dict) or not value.keys() <= set(_TOKEN) or "content" not in value:
        return value
    from tokenizers import AddedToken

    return AddedToken(**{key: part for key, part in value.items() if key != "__type"})


def _load_folder(files: Files) -> object:
    import transformers

    with on_disk(files) as folder:
        if CONFIG not in files.names():
            return transformers.AutoTokenizer.from_pretrained(folder, local_files_only=True)
        (named,) = read_json(files, CONFIG)["architectures"]
        cls = getattr(transformers, named)
        return cls.from_pretrained(folder, local_files_only=True, use_safetensors=True)


_LOADERS = {
    "transformers:model": _load_model,
    "transformers:tokenizer": _load_tokenizer,
    "transformers:folder": _load_folder,
}


@contextmanager
def _quiet() -> Iterator[None]:
    """Without transformers' bars of progress."""
    from transformers.utils import logging

    shown = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        if shown:
            logging.enable_progress_bar()


serializer = TransformersSerializer()
