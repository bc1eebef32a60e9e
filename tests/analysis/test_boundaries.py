"""Decision boundaries: planes, region maps, points between samples, drift and the last layer's gradient."""

from functools import partial

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from kdlib.analysis import boundaries
from kdlib.models import build


def left_or_right(edge):
    """A classifier of points in the plane: class 1 right of `edge`."""
    return lambda x: torch.stack([torch.zeros(len(x)), x[:, 0] - edge], dim=1)


def test_plane_holds_its_three_samples_and_keeps_distances():
    a, b, c = torch.randn(3, 1, 4, 4, generator=torch.Generator().manual_seed(0))
    plane = boundaries.plane_through(a, b, c, side=7, margin=0.5)
    assert plane.points.shape == (49, 1, 4, 4)
    for sample, corner in zip((a, b, c), plane.corners, strict=True):
        apart = (plane.points - sample).flatten(1).norm(dim=1)  # from the sample, in the input and in the plane
        grid = np.array([(x, y) for y in plane.y for x in plane.x])
        np.testing.assert_allclose(apart, np.linalg.norm(grid - corner, axis=1), atol=1e-4)


def test_margin_zero_spans_the_square_itself():
    plane = boundaries.plane_through(*torch.tensor([[0.0, 0.0], [2.0, 0.0], [0.0, 1.0]]), side=3, margin=0)
    assert plane.points.tolist() == [[x, y] for y in (0, 0.5, 1) for x in (0, 1, 2)]


@pytest.mark.parametrize(
    "samples, message",
    [
        ([[0.0, 0.0], [1.0, 1.0], [2.0, 2.0]], "on one line"),
        ([[1.0, 1.0], [1.0, 1.0], [2.0, 0.0]], "on one line"),
    ],
)
def test_samples_that_span_no_plane_are_refused(samples, message):
    with pytest.raises(ValueError, match=message):
        boundaries.plane_through(*torch.tensor(samples))


def test_samples_of_different_shapes_and_an_empty_grid_are_refused():
    with pytest.raises(ValueError, match="one shape"):
        boundaries.plane_through(torch.zeros(2), torch.ones(2), torch.ones(3))
    with pytest.raises(ValueError, match="side"):
        boundaries.plane_through(*torch.eye(3), side=1)


def test_regions_are_laid_out_as_the_plane():
    plane = boundaries.plane_through(*torch.tensor([[0.0, 0.0], [4.0, 0.0], [0.0, 4.0]]), side=5, margin=0)
    found = boundaries.regions(left_or_right(1.5), plane)
    np.testing.assert_array_equal(found, [[0, 0, 1, 1, 1]] * 5)


def test_points_between_lie_on_lines_between_classes():
    x = torch.tensor([[0, 0], [0, 255], [255, 0]], dtype=torch.uint8)
    found = boundaries.points_between(x, [0, 0, 1], 20, np.random.default_rng(0), places=(0.0, 0.25, 1.0))
    ends, quarter = found[0::3], found[1::3]
    assert found.shape == (60, 2) and found.dtype == torch.float32 and found.max() <= 1
    torch.testing.assert_close(quarter, 0.75 * ends + 0.25 * found[2::3])
    assert all((ends[i][0] == 1) != (found[2::3][i][0] == 1) for i in range(20)), "one end of each class"


def test_points_between_are_those_of_the_seed_and_need_two_classes():
    x = torch.randn(9, 1, 2, 2, generator=torch.Generator().manual_seed(0))
    first, again, other = (
        boundaries.points_between(x, np.arange(9) % 3, 5, np.random.default_rng(seed)) for seed in (1, 1, 2)
    )
    assert torch.equal(first, again) and not torch.equal(first, other) and first.shape == (15, 1, 2, 2)
    with pytest.raises(ValueError, match="two classes"):
        boundaries.points_between(x, np.zeros(9), 5, np.random.default_rng(0))


def test_drift_is_the_share_between_two_edges():
    points = torch.stack([torch.arange(10.0), torch.zeros(10)], dim=1)
    assert boundaries.drift(left_or_right(2.5), left_or_right(5.5), points) == pytest.approx(0.3)
    assert boundaries.drift(left_or_right(2.5), left_or_right(2.5), points) == 0


def test_last_layer_gradient_is_that_of_the_whole_network():
    model = build("resnet8", 3, 1, 8).train()
    images = torch.randn(6, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    labels = torch.arange(6) % 3
    found = boundaries.last_layer_gradient(model, images, lambda z: F.cross_entropy(z, labels, reduction="none"))
    assert model.training and all(p.grad is None for p in model.parameters())
    F.cross_entropy(model.eval()(images), labels).backward()
    expected = torch.cat([model.head.weight.grad.flatten(), model.head.bias.grad]).norm()
    assert found == pytest.approx(float(expected), rel=1e-5)


def test_last_layer_gradient_needs_a_network_of_kdlib():
    with pytest.raises(ValueError, match="kdlib"):
        boundaries.last_layer_gradient(torch.nn.Linear(2, 2), torch.zeros(1, 2), lambda z: z[:, 0])


def test_last_layer_gradient_does_not_depend_on_the_batches(monkeypatch):
    model, images = build("resnet8", 3, 1, 8), torch.randn(7, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    loss = partial(F.cross_entropy, target=torch.arange(7) % 3, reduction="none")
    whole = boundaries.last_layer_gradient(model, images, loss)
    monkeypatch.setattr(boundaries, "forward_batch", lambda x, device: 3)
    assert boundaries.last_layer_gradient(model, images, loss) == pytest.approx(whole, rel=1e-5)


def test_a_map_keeps_clusters_apart_and_a_classifier_finds_them():
    rng, labels = np.random.default_rng(0), np.arange(120) % 2
    features = rng.standard_normal((120, 5)) + 50 * labels[:, None]
    xy = boundaries.tsne(features, steps=500)
    assert xy.shape == (120, 2) and np.array_equal(xy, boundaries.tsne(features, steps=500))
    assert not np.array_equal(xy, boundaries.tsne(features, seed=1, steps=500))
    seen = np.arange(120) < 40
    np.testing.assert_array_equal(boundaries.classified(xy[seen], labels[seen], xy), labels)
