"""Weights in and out: checkpoints of other projects into our networks, and ours for plain PyTorch.

    load_foreign(network, "teacher.pth")                       # RepDistiller, mdistiller, torchvision, or our own
    export_network(network, "out/student", "resnet20", data)   # student.safetensors, student.json, student.pt2

Nothing in a file is executed: safetensors holds numbers only, and PyTorch's files are read with `weights_only=True`.
"""

from __future__ import annotations

import argparse
import json
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import Tensor, nn

from kdlib.data.core import Dataset
from kdlib.models import Network, build
from kdlib.models.external import External
from kdlib.models.features import parameters_count
from kdlib.utils.files import check_target, write_whole

Weights = dict[str, Tensor]

WRAPPERS = ("state_dict", "model_state_dict", "model", "net", "student", "teacher")  # keys that hold the weights
PREFIXES = ("module.", "_orig_mod.", "model.", "net.")  # of DataParallel, torch.compile and wrappers

# -- in


def load_foreign(model: nn.Module, path: str | Path) -> None:
    """Load the weights of a `.safetensors`, `.pth` or `.pt` file into `model`.

    The names may be ours or those of the ResNets of RepDistiller, mdistiller and torchvision; a network of timm or
    torchvision takes its library's. Raises ValueError, in one line with the first names, for a file that cannot be read,
    holds more than weights, or whose names, shapes or values do not fit; the model is then as it was.
    """
    path = Path(path).expanduser()
    found = read_weights(path)
    model.load_state_dict(matched(found, model, str(path)))


def read_weights(path: Path) -> Weights:
    """The tensors of a file by name, without the wrapping and prefixes that training scripts add."""
    if not path.is_file():
        raise ValueError(f"{path} is no file; give the path of a .safetensors, .pth or .pt file")
    if path.suffix == ".safetensors":
        try:
            found: Any = load_file(path)
        except (SafetensorError, OSError) as error:
            raise ValueError(f"{path} is no whole safetensors file ({_line(error)}); copy or save it again") from error
    elif path.suffix in (".pth", ".pt", ".tar", ".bin", ".ckpt"):
        found = _read_torch(path)
    else:
        raise ValueError(f"{path} has the unknown ending {path.suffix!r}; choose a .safetensors, .pth or .pt file")
    return _without_prefixes(_unwrapped(found, path))


def _read_torch(path: Path) -> Any:
    try:  # RepDistiller's checkpoints hold their options as a Namespace, which is plain data
        with torch.serialization.safe_globals([argparse.Namespace]):
            return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # the bytes are foreign: what the reader raises has no limit
        if "weights_only" in str(error).lower() or "weights only" in str(error).lower():
            named = re.search(r"GLOBAL (\S+)", str(error))
            what = f" ({named[1]})" if named else ""
            raise ValueError(
                f"{path} holds more than weights{what} and is not opened; save torch.save(model.state_dict(), FILE) instead"
            ) from error
        raise ValueError(f"{path} is no whole PyTorch file ({_line(error)}); copy or save it again") from error


def _line(error: Exception) -> str:
    return str(error).strip().splitlines()[0][:120] if str(error).strip() else type(error).__name__


def _unwrapped(found: Any, path: Path) -> Weights:
    for _ in range(3):
        if isinstance(found, Mapping) and found and all(isinstance(value, Tensor) for value in found.values()):
            return {str(name): value for name, value in found.items()}
        inner = [found[key] for key in WRAPPERS if isinstance(found, Mapping) and isinstance(found.get(key), Mapping)]
        if not inner:
            break
        found = inner[0]
    held = ", ".join(map(str, list(found)[:5])) if isinstance(found, Mapping) else type(found).__name__
    raise ValueError(
        f"{path} holds no weights ({held or 'nothing'}); save torch.save(model.state_dict(), FILE) instead"
    )


def _without_prefixes(weights: Weights) -> Weights:
    while prefix := next((p for p in PREFIXES if all(name.startswith(p) for name in weights)), ""):
        weights = {name.removeprefix(prefix): value for name, value in weights.items()}
    return weights


# Foreign names -> ours, as (pattern, replacement) applied one after another.
Rules = Sequence[tuple[str, str | Callable[[re.Match], str]]]


def _stage(match: re.Match) -> str:
    """torchvision counts its stages from 1 and calls them layers."""
    return f"stages.{int(match[1]) - 1}."


_CIFAR: Rules = (
    (r"^conv1\.", "conv."),
    (r"^bn1\.", "bn."),
    (r"^layer(\d+)\.", _stage),
    (r"\.downsample\.", ".shortcut."),
    (r"^(fc|linear)\.", "head."),
)
_BOTTLENECK: Rules = tuple(
    (rf"(stages\.\d+\.\d+)\.{kind}{i}\.", rf"\1.{part}.{place}.")
    for i, part in enumerate(("reduce", "conv", "expand"), 1)
    for place, kind in enumerate(("conv", "bn"))
)
_IMAGENET: Rules = (
    (r"^conv1\.", "stem.0."),
    (r"^bn1\.", "stem.1."),
    (r"^layer(\d+)\.", _stage),
    (r"^fc\.", "head."),
)
NAMINGS: dict[str, Rules] = {
    "ours": (),
    "ResNets of RepDistiller and mdistiller": _CIFAR,
    "ResNets of RepDistiller and mdistiller with bottlenecks": (*_CIFAR, *_BOTTLENECK),
    "ResNets of torchvision": _IMAGENET,
}


def renamed(weights: Weights, rules: Rules) -> Weights:
    """The same tensors under the names that `rules` make of theirs."""

    def new(name: str) -> str:
        for pattern, replacement in rules:
            name = re.sub(pattern, replacement, name)
        return name

    return {new(name): value for name, value in weights.items()}


def matched(weights: Weights, model: nn.Module, source: str) -> Weights:
    """`weights` under the names and with the types of `model`, from whichever naming fits it best.

    Raises ValueError naming the first names that are missing, left over, of another shape or not finite.
    """
    own = model.state_dict()
    if isinstance(model, External):
        weights = {f"net.{name}": value for name, value in weights.items()}
    named = max(
        (renamed(weights, rules) for rules in NAMINGS.values()), key=lambda found: len(found.keys() & own.keys())
    )
    counters = {name for name in {*own, *named} if name.endswith("num_batches_tracked")}  # older files lack them
    what = f"{source} does not fit {getattr(model, 'name', type(model).__name__)}"
    _refuse(f"{what}: no weights for", [n for n in own if n not in named and n not in counters])
    _refuse(f"{what}: unknown weights", [n for n in named if n not in own and n not in counters])
    shapes = [
        f"{name} is {tuple(named[name].shape)} there and {tuple(own[name].shape)} here"
        for name in own
        if name in named and named[name].shape != own[name].shape
    ]
    _refuse(f"{what}: other shapes,", shapes, "choose the same classes, channels and image size as the file")
    broken = [name for name, value in named.items() if value.is_floating_point() and not value.isfinite().all()]
    _refuse(f"{source} holds values that are not finite in", broken, "take an earlier checkpoint")
    return {name: named[name].to(value.dtype) if name in named else value for name, value in own.items()}


def _refuse(problem: str, names: Sequence[str], fix: str = "choose the network that the file was saved from") -> None:
    if names:
        raise ValueError(
            f"{problem} {', '.join(names[:3])}{f' and {len(names) - 3} more' if len(names) > 3 else ''}; {fix}"
        )


# -- out


def export_network(
    model: Network, path: str | Path, architecture: str, data: Dataset, program: bool = True
) -> list[Path]:
    """Write `model` so that it can be used without this package: PATH.safetensors, PATH.json and PATH.pt2.

    The JSON card says architecture, classes, input and normalisation; `load_exported` reads both back. PATH.pt2 (left out
    with program=False) is a whole program for any number of images, `torch.export.load(FILE).module()(x)`, where x is
    float32 (B,C,H,W), (pixels / 255 - mean) / std. Raises ValueError for a place that cannot be written to.
    """
    path = Path(path).expanduser()
    files = [path.with_name(path.name + ending) for ending in (".safetensors", ".json", *([".pt2"] if program else []))]
    for file in files:
        check_target(file)
    model = model.to("cpu", memory_format=torch.contiguous_format)  # type: ignore[call-overload]
    card = describe_network(model, architecture, data)
    write_whole(files[0], save({name: value.detach().contiguous() for name, value in model.state_dict().items()}))
    write_whole(files[1], json.dumps(card, indent=1) + "\n")
    if program:
        files[2].parent.mkdir(parents=True, exist_ok=True)
        torch.export.save(_program(model, data), files[2])
    return files


def describe_network(model: nn.Module, architecture: str, data: Dataset) -> dict[str, Any]:
    """What one has to know of a network to use it, for a JSON file."""
    channels, height, width = data.image_shape
    return {
        "architecture": architecture,
        "classes": list(data.classes),
        "num_classes": data.num_classes,
        "in_channels": channels,
        "image_size": [height, width],
        "mean": list(data.mean),
        "std": list(data.std),
        "input": f"float32 (batch, {channels}, {height}, {width}): (pixels / 255 - mean) / std, per channel",
        "parameters": parameters_count(model),
        "trained_on": data.name,
    }


def _program(model: Network, data: Dataset) -> torch.export.ExportedProgram:
    was_training = model.training
    model.eval()
    try:
        example = torch.zeros(2, *data.image_shape)
        return torch.export.export(model, (example,), dynamic_shapes=({0: torch.export.Dim("batch")},))
    finally:
        model.train(was_training)


def load_exported(path: str | Path) -> tuple[Network, dict[str, Any]]:
    """The network of PATH.safetensors, in eval mode, and its card from PATH.json beside it.

    Raises ValueError for a missing or damaged file, and for a card that lacks an entry.
    """
    path = Path(path).expanduser()
    file = path.with_suffix(".json")
    try:
        card = json.loads(file.read_text(encoding="utf-8"))
        size = tuple(card["image_size"])
        network = build(card["architecture"], card["num_classes"], card["in_channels"], (int(size[0]), int(size[1])))
    except OSError as error:
        raise ValueError(f"{file} cannot be read ({error.strerror}); keep it beside {path.name}") from error
    except (KeyError, TypeError, IndexError, json.JSONDecodeError) as error:
        raise ValueError(
            f"{file} is no card of an exported network ({_line(error)}); export the network again"
        ) from error
    load_foreign(network, path)
    return network.eval(), card
