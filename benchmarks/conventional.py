"""The conventional training loop, written plainly: what the engine is measured against and compared with.

A torchvision-style dataset of PIL images, RandomCrop, RandomHorizontalFlip, ToTensor and Normalize for each image, a
DataLoader, a teacher forward in every step, SGD, meters that read `.item()` in every step: the recipe and the form of
the public distillation codes that the papers build on (RepDistiller's `train_student.py`). Network shapes are kdlib's.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor, nn
from torch.utils.data import DataLoader
from torch.utils.data import Dataset as TorchDataset
from torchvision import transforms

from kdlib.data.datasets import Dataset


class Images(TorchDataset):
    """Images uint8 (N,C,H,W) served one by one as transformed PIL images, as torchvision's CIFAR classes do."""

    def __init__(self, x: Tensor, y: Tensor, transform: Callable) -> None:
        self.pixels = np.ascontiguousarray(x.permute(0, 2, 3, 1).numpy())
        self.labels = y.tolist()
        self.transform = transform

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, i: int) -> tuple[Tensor, int]:
        pixels = self.pixels[i]
        image = Image.fromarray(pixels[..., 0] if pixels.shape[-1] == 1 else pixels)
        return self.transform(image), self.labels[i]


def loaders(data: Dataset, batch_size: int, augment: bool, workers: int) -> tuple[DataLoader, DataLoader]:
    """Training and test loader; `augment`: random crop with padding side/8 (4 pixels for 32x32) and random flip."""
    size = data.image_shape[1]
    random = [transforms.RandomCrop(size, padding=size // 8), transforms.RandomHorizontalFlip()] if augment else []
    clean = [transforms.ToTensor(), transforms.Normalize(data.mean, data.std)]
    train = Images(data.train_x, data.train_y, transforms.Compose([*random, *clean]))
    test = Images(data.test_x, data.test_y, transforms.Compose(clean))
    return (
        DataLoader(train, batch_size, shuffle=True, num_workers=workers),
        DataLoader(test, batch_size, num_workers=workers),
    )


class DistillKL(nn.Module):
    """tau^2 KL(teacher || student) of the softened softmaxes, mean over the batch (Hinton et al. 2015)."""

    def __init__(self, tau: float) -> None:
        super().__init__()
        self.tau = tau

    def forward(self, student: Tensor, teacher: Tensor) -> Tensor:
        log_p = F.log_softmax(student / self.tau, dim=1)
        q = F.softmax(teacher / self.tau, dim=1)
        return F.kl_div(log_p, q, reduction="sum") * self.tau**2 / student.shape[0]


@dataclass
class Meter:
    """Running mean of one number."""

    total: float = 0.0
    count: int = 0

    def update(self, value: float, n: int) -> None:
        self.total += value * n
        self.count += n

    @property
    def mean(self) -> float:
        return self.total / max(self.count, 1)


@dataclass
class Conventional:
    """One training. `rate(progress in [0, 1))` is the learning rate's factor, asked before every step."""

    student: nn.Module
    teacher: nn.Module | None
    lr: float = 0.05
    alpha: float = 0.5
    tau: float = 4.0
    device: str = "cpu"
    rate: Callable[[float], float] = lambda progress: 1.0
    losses: list[float] = field(default_factory=list)
    top1: list[float] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.student.to(self.device)
        if self.teacher is not None:
            self.teacher.to(self.device).eval()
        self.hard, self.soft = nn.CrossEntropyLoss(), DistillKL(self.tau)
        self.optimizer = torch.optim.SGD(self.student.parameters(), lr=self.lr, momentum=0.9, weight_decay=5e-4)

    def fit(self, loader: DataLoader, epochs: int) -> None:
        """Train for `epochs` passes over the loader."""
        for epoch in range(epochs):
            self.epoch(loader, epoch, epochs)

    def epoch(self, loader: DataLoader, epoch: int, epochs: int) -> None:
        """One pass over the loader, with meters as such loops keep them."""
        self.student.train()
        losses, top1 = Meter(), Meter()
        for step, (images, labels) in enumerate(loader):
            images, labels = images.to(self.device), labels.to(self.device)
            progress = (epoch * len(loader) + step + 0.5) / (epochs * len(loader))
            self.optimizer.param_groups[0]["lr"] = self.lr * self.rate(progress)
            logits = self.student(images)
            loss = self.hard(logits, labels)
            if self.teacher is not None:
                with torch.no_grad():
                    targets = self.teacher(images)
                loss = (1 - self.alpha) * loss + self.alpha * self.soft(logits, targets)
            losses.update(loss.item(), len(labels))
            top1.update(100 * (logits.argmax(1) == labels).float().mean().item(), len(labels))
            self.optimizer.zero_grad()
            loss.backward()
            self.optimizer.step()
        self.losses.append(losses.mean)
        self.top1.append(top1.mean)

    @torch.no_grad()
    def accuracy(self, loader: DataLoader) -> float:
        """Test accuracy in percent."""
        self.student.eval()
        right = sum(int((self.student(x.to(self.device)).argmax(1).cpu() == y).sum()) for x, y in loader)
        return 100 * right / len(loader.dataset)  # type: ignore[arg-type]


def one_cycle(progress: float, warmup: float = 0.2) -> float:
    """Linear up over `warmup` of the steps, linear down to 0."""
    return progress / warmup if progress < warmup else (1 - progress) / (1 - warmup)
