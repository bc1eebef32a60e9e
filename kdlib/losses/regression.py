"""Distillation for continuous targets; neither paper covers regression with networks."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor


def _column(name: str, values: Tensor, size: int) -> Tensor:
    """(B,) or (B, 1) to (B,): a (B,) minus a (B, 1) would broadcast to (B, B) without a word."""
    if values.shape not in ((size,), (size, 1)):
        raise ValueError(f"{name} must have shape ({size},) or ({size}, 1), got {tuple(values.shape)}")
    return values.reshape(size)


def squared_error(student: Tensor, teacher: Tensor | None, targets: Tensor, *, alpha: float = 0.5) -> Tensor:
    """(1 - alpha) (s - y)^2 + alpha (s - t)^2 per sample, in squared units of the target.

    student, teacher, targets: (B, 1) or (B,); result (B,). The convex mix of Distilling the Knowledge in Data
    Pruning, Eq. 2, and of its ridge analysis (Sec. 3.3), where it is the same as fitting the mixed target
    (1 - alpha) y + alpha t. At alpha = 0 the teacher is not read and may be None; it never gets a gradient.

    ValueError for alpha outside [0, 1], other shapes, or a missing teacher.
    """
    if not 0 <= alpha <= 1:
        raise ValueError(f"alpha must lie in [0, 1], got {alpha}")
    s = _column("student", student, len(student))
    label_error = (s - _column("targets", targets, len(s))) ** 2
    if alpha == 0:
        return label_error
    if teacher is None:
        raise ValueError("squared_error needs the teacher's predictions for alpha > 0, got None")
    return (1 - alpha) * label_error + alpha * (s - _column("teacher", teacher, len(s)).detach()) ** 2


REGRESSION_LOSSES: dict[str, Callable[..., Tensor]] = {"squared_error": squared_error}
