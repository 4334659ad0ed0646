"""Checkpoints of train_torch.py: files of tensors, and where they are computed with."""

import os
import pickle
from pathlib import Path
from typing import Any

import torch


class CheckpointError(ValueError):
    """A file is no checkpoint, or a checkpoint is in the way, or there is no such device."""


def device_of(name: str | None) -> torch.device:
    """The device of that name; None means a GPU where there is one, else the CPU."""
    if name == "cuda" and not torch.cuda.is_available():
        raise CheckpointError("--device cuda: PyTorch finds no GPU")
    return torch.device(name or ("cuda" if torch.cuda.is_available() else "cpu"))


def require_room(path: Path, *, resume: bool) -> None:
    """Make the folder of a checkpoint, before any work is done.

    Raises:
        CheckpointError: there is a checkpoint, which would be lost.
    """
    if path.is_dir() or (path.exists() and not resume):
        raise CheckpointError(f"{path} is there; --resume goes on with a checkpoint, --out names another file")
    path.parent.mkdir(parents=True, exist_ok=True)


def save(path: Path, content: dict[str, Any]) -> None:
    """Write a checkpoint so that there is always a whole one, also after a loss of power."""
    temporary = path.with_name(path.name + ".tmp")
    with open(temporary, "wb") as file:
        torch.save(content, file)
        file.flush()
        os.fsync(file.fileno())
    os.replace(temporary, path)


def load(path: Path, device: torch.device) -> dict[str, Any]:
    """What has been saved."""
    try:
        content = torch.load(path, map_location=device)
    except (RuntimeError, LookupError, EOFError, ValueError, pickle.UnpicklingError) as error:
        raise CheckpointError(f"{path}: no checkpoint of train_torch.py") from error
    if not isinstance(content, dict) or not {"model", "shape"} <= content.keys():
        raise CheckpointError(f"{path}: no checkpoint of train_torch.py")
    return content
