"""A small vision transformer (Dosovitskiy et al. 2021, arXiv 2010.11929) for 32x32 and 8x8 images."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from kdlib.models.features import Features, Network


def patch_size(image_size: int) -> int:
    """Side of a patch, so that 16 to 256 tokens cover the image: 2 at 8x8, 4 at 32x32, 16 at 224x224.

    Raises ValueError when the patches would not tile the image.
    """
    patch = 2 if image_size < 16 else 4 if image_size < 64 else 8 if image_size < 128 else 16
    if image_size < 4 or image_size % patch:
        near = max(4, patch * round(image_size / patch))
        raise ValueError(f"image_size {image_size} is not a multiple of the patch side {patch}; use e.g. {near}")
    return patch


class Block(nn.Module):
    """Pre-norm transformer block: x + attention(norm(x)), then x + MLP(norm(x)) (Eqs. 2 and 3)."""

    def __init__(self, dim: int, heads: int, hidden: int) -> None:
        super().__init__()
        self.heads = heads
        self.norm1, self.norm2 = nn.LayerNorm(dim), nn.LayerNorm(dim)
        self.qkv = nn.Linear(dim, 3 * dim)
        self.out = nn.Linear(dim, dim)
        self.mlp = nn.Sequential(nn.Linear(dim, hidden), nn.GELU(), nn.Linear(hidden, dim))

    def attention(self, x: Tensor) -> Tensor:
        """Tokens (B, T, D) to (B, T, D): each averages all values, weighted by softmax(q k^T / sqrt(d))."""
        # q, k, v: (B, heads, T, d) each
        q, k, v = self.qkv(x).unflatten(-1, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        weights = (q @ k.transpose(-2, -1) * q.shape[-1] ** -0.5).softmax(-1)
        return self.out((weights @ v).transpose(1, 2).flatten(2))

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.attention(self.norm1(x))
        return x + self.mlp(self.norm2(x))


class ViT(Network):
    """Patch embedding, learned positions, three stages of two blocks, mean over tokens, linear head.

    0.8 million parameters at 32x32 with the default sizes. Maps are the embedded patches and the tokens after
    each stage, laid out as (B, dim, rows, columns); the embedding is the mean of the normalised tokens. No
    ReLU ends a stage, so `preact` changes nothing. Raises ValueError for an image that the patches do not
    tile.
    """

    def __init__(
        self,
        num_classes: int,
        in_channels: int,
        image_size: int,
        *,
        dim: int = 128,
        heads: int = 4,
        stages: int = 3,
        blocks: int = 2,
    ) -> None:
        super().__init__()
        patch = patch_size(image_size)
        self.patches = nn.Conv2d(in_channels, dim, patch, patch)
        self.position = nn.Parameter(torch.empty(1, dim, image_size // patch, image_size // patch))
        nn.init.trunc_normal_(self.position, std=0.02)
        self.stages = nn.ModuleList(
            nn.Sequential(*(Block(dim, heads, 2 * dim) for _ in range(blocks))) for _ in range(stages)
        )
        self.norm = nn.LayerNorm(dim)
        self.head = nn.Linear(dim, num_classes)

    def features(self, x: Tensor, preact: bool = False) -> Features:
        first = self.patches(x) + self.position
        maps, tokens = [first], first.flatten(2).transpose(1, 2)  # (B, T, D)
        for stage in self.stages:
            tokens = stage(tokens)
            maps.append(tokens.transpose(1, 2).unflatten(2, first.shape[2:]))
        embedding = self.norm(tokens).mean(1)
        return Features(maps, embedding, self.head(embedding))
