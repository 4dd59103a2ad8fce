"""peft: adapters alone, as peft's own folder; ``load(ref, into=base_model)`` puts one into a base model.

The base is not kept: ``adapter_config.json`` names it (``base_model_name_or_path``), and ``save(…, parent=…)``
points at its version. peft imports modules that an adapter's configuration names (``megatron_core``, ``auto_mapping``),
so only LoRA of the plain kind is data (``peft:lora``): each key that is not a number, a word or a list of words of
`_PLAIN` must have the value that `LoraConfig` gives it, the config is made of these alone, and peft opens no file.
Everything else is code (``peft:adapter``).
"""

from __future__ import annotations

import re
from typing import Any

from modelkeep.errors import SerializerError
from modelkeep.serializers.arrays import as_torch
from modelkeep.serializers.plain import PlainSerializer
from modelkeep.serializers.port import Files, Sink
from modelkeep.serializers.safetensors import read
from modelkeep.serializers.strangers import on_disk, read_json, reading

CONFIG, WEIGHTS = "adapter_config.json", "adapter_model.safetensors"
_PLAIN = {
    "r": int, "lora_alpha": (int, float), "lora_dropout": (int, float), "bias": str, "task_type": str,
    "target_modules": list, "modules_to_save": list, "fan_in_fan_out": bool, "inference_mode": bool, "use_rslora": bool,
    "use_dora": bool, "layers_to_transform": list, "rank_pattern": dict, "alpha_pattern": dict,
    "init_lora_weights": bool,
}  # fmt: skip
_ASIDE = ("peft_type", "base_model_name_or_path", "peft_version", "auto_mapping", "revision")  # said, and not used
_WORD = re.compile(r"[\w.]{1,200}")


class PeftSerializer(PlainSerializer):
    """See the module."""

    name = "peft"
    packages = ("peft", "transformers", "torch", "safetensors")

    def accepts(self, obj: object) -> bool:
        """See `Serializer.accepts`: a `PeftModel`."""
        import peft

        return isinstance(obj, peft.PeftModel)

    def save(self, obj: Any, sink: Sink) -> None:
        """See `Serializer.save`."""
        if list(obj.peft_config) != ["default"]:
            raise SerializerError(
                f"the model has the adapters {', '.join(obj.peft_config)}; save each alone, with pathlib.Path(…) of "
                "what its save_pretrained wrote"
            )
        config = obj.peft_config["default"]
        was = config.inference_mode
        try:
            # "auto" would ask the hub for the size of the base's vocabulary
            obj.save_pretrained(sink.folder(), save_embedding_layers=False)
        except Exception as error:
            raise SerializerError(f"save_pretrained of {type(obj).__name__} failed: {error}") from error
        finally:
            config.inference_mode = was
        (sink.folder() / "README.md").unlink(missing_ok=True)  # a form to be filled in

    def form(self, files: Files, into: object | None) -> str:
        """See `Serializer.form`.

        Raises:
            SerializerError: there is no base model to put the adapter into.
        """
        import torch

        if not isinstance(into, torch.nn.Module):
            base = read_json(files, CONFIG).get("base_model_name_or_path")
            raise SerializerError(f"an adapter needs its base model: load(ref, into=model), with {base!r} or the like")
        return "peft:lora" if _is_plain_lora(files) else "peft:adapter"

    def load(self, files: Files, form: str, into: Any) -> object:
        """See `Serializer.load`: the base model with the adapter in it; it is changed, as peft does."""
        with reading("the adapter"):
            return _load_lora(files, into) if form == "peft:lora" else _load_folder(files, into)


def _is_plain_lora(files: Files) -> bool:
    from peft import LoraConfig

    config = read_json(files, CONFIG)
    if set(files.names()) != {CONFIG, WEIGHTS} or not isinstance(config, dict) or config.get("peft_type") != "LORA":
        return False
    usual = LoraConfig().to_dict()
    return all(
        key in _ASIDE or (key in usual and (value == usual[key] or (key in _PLAIN and _is_plain(key, value))))
        for key, value in config.items()
    )


def _is_plain(key: str, value: Any) -> bool:
    if isinstance(value, dict):
        value = [*value, *map(str, value.values())] if _PLAIN[key] is dict else [value]
    elif not isinstance(value, _PLAIN[key]):  # type: ignore[arg-type]
        return False
    parts = value if isinstance(value, list) else [value]
    return all(type(part) in (bool, int, float) or _is_word(part) for part in parts)


def _is_word(part: Any) -> bool:
    return isinstance(part, str) and _WORD.fullmatch(part) is not None


def _load_lora(files: Files, base: Any) -> object:
    import peft

    told = read_json(files, CONFIG)
    config = peft.LoraConfig(**{key: told[key] for key in _PLAIN if told.get(key) is not None})
    state = {tensor.name: as_torch(tensor) for tensor in read(files, WEIGHTS)[0]}
    model = peft.get_peft_model(base, config)
    wanted = set(peft.get_peft_model_state_dict(model, save_embedding_layers=False))
    if wanted != set(state):
        raise SerializerError(f"the adapter does not fit this {type(base).__name__}: {sorted(wanted ^ set(state))[:5]}")
    peft.set_peft_model_state_dict(model, state)
    return model.eval()


def _load_folder(files: Files, base: Any) -> object:
    import peft

    with on_disk(files) as folder:
        return peft.PeftModel.from_pretrained(base, folder, local_files_only=True)


serializer = PeftSerializer()
