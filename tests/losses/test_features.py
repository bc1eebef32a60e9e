"""Feature and relation losses: on networks of unlike shapes, on tiny batches, and as modules that learn."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from kdlib import Run, Store, losses, run
from kdlib.experiments.checks import check
from kdlib.experiments.fingerprint import dataset_of, student_recipe
from kdlib.experiments.objective import TeacherSide, build_student
from kdlib.experiments.samples import kept_samples
from kdlib.losses import FEATURE_LOSSES
from kdlib.losses.common import Regressor
from kdlib.losses.logits import kd
from kdlib.models.features import Features
from kdlib.training.loop import Loop, Member

KEPT, CLASSES = 12, 4
LEARNED = ["fitnets", "cc", "cc_kernel", "vid", "ab", "ft", "crd", "pefd"]
NEED_SPACE = ["at", "nst", "ft"]
SHAPES = {  # channels and size of each map
    "resnet": [(4, 8), (4, 8), (6, 4), (8, 2)],
    "wide": [(4, 8), (8, 8), (12, 4), (16, 2)],
    "large": [(4, 16), (6, 16), (8, 8), (10, 4)],
    "tiny": [(4, 2), (6, 2), (8, 1), (10, 1)],
    "deep": [(4, 8), (4, 8), (6, 4), (8, 4), (8, 2)],
    "mlp": [(16, 1), (16, 1)],
}


def normal(*shape: int, seed: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def features(kind: str, batch: int = 6, seed: int = 0) -> Features:
    """Features as a ReLU network of that shape gives them; every tensor asks for its gradient."""
    maps = [normal(batch, c, h, h, seed=seed + i).relu() for i, (c, h) in enumerate(SHAPES[kind])]
    embedding = maps[-1].mean((2, 3)) + 0.1 * normal(batch, maps[-1].shape[1], seed=seed + 90).abs()
    logits = normal(batch, CLASSES, seed=seed + 99)
    return Features([m.requires_grad_() for m in maps], embedding.requires_grad_(), logits.requires_grad_())


def make(name: str, student: Features, teacher: Features, **options: int) -> nn.Module:
    arguments = {"num_samples": KEPT, "num_classes": CLASSES, "seed": 3} | options
    return FEATURE_LOSSES[name].make(student, teacher, **arguments)


def batch_of(f: Features) -> tuple[Tensor, Tensor]:
    """Labels and indices into the kept samples."""
    index = torch.arange(len(f.logits))
    return index % CLASSES, index


def leaves(f: Features) -> list[Tensor]:
    return [*f.maps, f.embedding, f.logits]


def possible(name: str, student: str, teacher: str) -> bool:
    if name in NEED_SPACE and "mlp" in (student, teacher):
        return False
    if name == "ft" and "tiny" in (student, teacher):
        return False  # last maps of one position
    if name == "ab":
        return len(SHAPES[student]) == len(SHAPES[teacher])
    if name == "fsp":
        return [c for c, _ in SHAPES[student]] == [c for c, _ in SHAPES[teacher]]
    return True


PAIRS = [("resnet", "resnet"), ("resnet", "wide"), ("resnet", "large"), ("large", "resnet"), ("tiny", "large")]
PAIRS += [("deep", "resnet"), ("mlp", "resnet"), ("resnet", "mlp"), ("mlp", "mlp")]


@pytest.mark.parametrize("size", [6, 1])
@pytest.mark.parametrize(("student", "teacher"), PAIRS)
@pytest.mark.parametrize("name", FEATURE_LOSSES)
def test_value_is_finite_and_reaches_student_and_parameters_but_not_the_teacher(name, student, teacher, size):
    s, t = features(student, size), features(teacher, size, seed=50)
    if not possible(name, student, teacher):
        with pytest.raises(ValueError, match="maps|1x1"):
            make(name, s, t)
        return
    module = make(name, s, t)
    value = module(s, t, *batch_of(s))
    assert value.shape == () and torch.isfinite(value)
    learned = list(module.parameters())
    found = torch.autograd.grad(value, learned + leaves(s) + leaves(t), allow_unused=True)
    to_learned, to_student = found[: len(learned)], found[len(learned) : -len(leaves(t))]
    assert all(g is not None for g in to_learned), "a parameter is left out of the loss"
    assert any(g is not None for g in to_student)
    assert all(g is None for g in found[-len(leaves(t)) :]), "the teacher gets a gradient"
    assert all(torch.isfinite(g).all() for g in found if g is not None)
    if size > 1:
        assert any(g is not None and g.abs().max() > 0 for g in to_student)


@pytest.mark.parametrize("name", LEARNED)
def test_learned_modules_lower_their_loss(name):
    s, t = features("resnet"), features("wide", seed=50)
    module = make(name, s, t)
    optimiser = torch.optim.Adam(module.parameters(), lr=0.003 if name == "crd" else 0.01)
    values = []
    for _ in range(60):
        value = module(s, t, *batch_of(s))
        optimiser.zero_grad()
        value.backward()
        optimiser.step()
        values.append(value.item())
    first, last = (torch.tensor(v).mean() for v in (values[:5], values[-5:]))
    assert last < first - 0.05 * first.abs()


@pytest.mark.parametrize("name", ["at", "sp", "nst", "fsp", "pkt", "rkd"])
def test_losses_without_parameters_vanish_on_equal_features(name):
    f = features("resnet")
    module = make(name, f, f)
    assert module(f, f, *batch_of(f)).item() == pytest.approx(0, abs=1e-5)
    other = features("resnet", seed=50)
    assert module(f, other, *batch_of(f)).item() > 1e-5


@pytest.mark.parametrize(
    "name", ["at", "sp", "cc_kernel", "rkd", "pkt", "nst", "fsp", "vid", "pefd", "fitnets", "ab", "ft"]
)
def test_order_of_the_batch_does_not_matter(name):
    s, t = features("resnet"), features("resnet", seed=50)
    module = make(name, s, t)
    order = torch.tensor([4, 1, 5, 0, 3, 2])
    shuffled = [Features([m[order] for m in f.maps], f.embedding[order], f.logits[order]) for f in (s, t)]
    labels, index = batch_of(s)
    torch.testing.assert_close(module(*shuffled, labels[order], index[order]), module(s, t, labels, index))


def test_cc_of_the_reference_depends_on_the_order_of_the_batch():
    """The reason why `cc_kernel` exists beside it."""
    s, t, order = normal(6, 5, seed=0), normal(6, 5, seed=1), torch.tensor([4, 1, 5, 0, 3, 2])
    assert not torch.isclose(losses.correlation(s[order], t[order]), losses.correlation(s, t))


@pytest.mark.parametrize("name", FEATURE_LOSSES)
def test_same_seed_same_module_and_the_global_generator_is_untouched(name):
    s, t = features("resnet"), features("resnet", seed=50)
    state = torch.random.get_rng_state()
    values = [make(name, s, t)(s, t, *batch_of(s)) for _ in range(2)]
    assert torch.equal(*values)
    assert torch.equal(torch.random.get_rng_state(), state)
    if list(make(name, s, t).parameters()):
        other = make(name, s, t, seed=4)(s, t, *batch_of(s))
        assert not torch.equal(other, values[0])


def test_weights_are_the_papers_and_the_tuned_ones():
    assert all(entry.paper_beta == 1 for entry in FEATURE_LOSSES.values())
    tuned = {name: entry.tuned_beta for name, entry in FEATURE_LOSSES.items() if entry.tuned_beta != 1}
    assert tuned == {
        "fitnets": 100, "at": 1000, "sp": 3000, "cc": 0.02, "cc_kernel": 0.02, "pkt": 30000, "ft": 200,
        "fsp": 50, "nst": 50, "crd": 0.8, "pefd": 25,
    }  # fmt: skip


# --- single methods -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("student", "teacher", "kernel", "transposed"),
    [
        ((3, 8, 8), (5, 4, 4), (3, 3), False),
        ((3, 4, 4), (5, 8, 8), (4, 4), True),
        ((3, 4, 4), (5, 4, 4), (1, 1), False),
        ((3, 9, 9), (5, 4, 4), (6, 6), False),
        ((3, 2, 2), (5, 8, 8), (1, 1), False),  # more than twice as small: the teacher's map is pooled
        ((3, 1, 1), (5, 4, 4), (1, 1), False),
        ((3, 8, 2), (5, 4, 4), (5, 1), False),
    ],
)
def test_regressor_meets_the_teachers_map(student, teacher, kernel, transposed):
    s, t = normal(2, *student, seed=0), normal(2, *teacher, seed=1)
    regressor = Regressor(s, t, relu=True)
    assert regressor.conv.kernel_size == kernel
    assert isinstance(regressor.conv, nn.ConvTranspose2d) == transposed
    assert regressor(s).shape == regressor.match(t).shape


def test_activation_boundary_by_hand():
    student = torch.tensor([[2.0, -2.0, 0.5, 0.2]])[:, :, None, None]
    teacher = torch.tensor([[1.0, 1.0, -1.0, 0.0]])[:, :, None, None]
    # beyond the margin: 0; wrong side: (1+2)^2; (1+0.5)^2; the teacher's 0 counts as inactive: (1+0.2)^2
    expected = (0 + 9 + 2.25 + 1.44) * 3 / 1000
    assert losses.activation_boundary([student], [teacher]).item() == pytest.approx(expected)
    two = losses.activation_boundary([student, student], [teacher, teacher])
    assert two.tolist() == pytest.approx([expected / 2, expected])


def test_relational_angles_and_distances_ignore_scale_shift_and_rotation():
    x = normal(5, 3, seed=0).double()
    rotation, _ = torch.linalg.qr(normal(3, 3, seed=1).double())
    assert losses.relational(3 * x @ rotation + 7, x).item() == pytest.approx(0, abs=1e-9)


def test_relational_survives_equal_rows():
    x = torch.ones(4, 3, requires_grad=True)
    value = losses.relational(x, normal(4, 3, seed=0))
    (gradient,) = torch.autograd.grad(value, x)
    assert torch.isfinite(value) and torch.isfinite(gradient).all()


@pytest.mark.parametrize("name", ["at", "sp", "nst", "fsp", "pkt", "rkd", "pefd", "cc", "cc_kernel", "crd"])
def test_zero_features_stay_finite(name):
    s, t = features("resnet"), features("resnet", seed=50)
    zero = Features([torch.zeros_like(m).requires_grad_() for m in s.maps], torch.zeros_like(s.embedding), s.logits)
    zero.embedding.requires_grad_()
    module = make(name, s, t)
    for a, b in ((zero, t), (s, zero), (zero, zero)):
        value = module(a, b, *batch_of(a))
        found = torch.autograd.grad(value, leaves(a), allow_unused=True)
        assert torch.isfinite(value) and all(torch.isfinite(g).all() for g in found if g is not None)


def test_vid_variance_is_trained_and_starts_at_5():
    layer = losses.VIDLayer(3, 4)
    variance = nn.functional.softplus(layer.log_scale) + layer.eps
    torch.testing.assert_close(variance, torch.full((4,), 5.0))
    assert layer.log_scale.requires_grad


def test_vid_is_the_gaussian_likelihood_of_the_teachers_map():
    layer = losses.VIDLayer(3, 4)
    s, t = normal(2, 3, 4, 4, seed=0), normal(2, 4, 4, 4, seed=1)
    nats = -torch.distributions.Normal(layer.regressor(s), 5.0**0.5).log_prob(t).mean()
    constant = 0.5 * torch.log(torch.tensor(2 * torch.pi))
    torch.testing.assert_close(layer(s, t), nats - constant)


def test_ft_paraphraser_learns_from_its_reconstruction_only():
    s, t = features("resnet"), features("wide", seed=50)
    module = losses.FT(s, t, num_samples=KEPT, num_classes=CLASSES, seed=0, reconstruction_weight=0.0)
    value = module(s, t, *batch_of(s))
    found = torch.autograd.grad(value, list(module.paraphraser.parameters()), allow_unused=True)
    assert all(g is None or g.abs().max() == 0 for g in found)


# --- CRD's memory ---------------------------------------------------------------------------------------------------


def crd(num_samples: int = KEPT, negatives: int = 500, batch: int = 6) -> tuple[losses.CRD, Features, Features]:
    s, t = features("resnet", batch), features("wide", batch, seed=50)
    options = {"num_samples": num_samples, "num_classes": CLASSES, "seed": 0, "negatives": negatives}
    return losses.CRD(s, t, **options), s, t


def test_crd_draws_every_negative_from_another_class_once_labels_were_seen():
    """Imbalanced on purpose: 8 of class 0, 3 of class 1, 1 of class 3."""
    module, _, _ = crd()
    labels = torch.tensor([0] * 8 + [1] * 3 + [3])
    module.draw(labels, torch.arange(KEPT))
    rows = module.draw(labels, torch.arange(KEPT))
    assert rows.shape == (KEPT, 500)
    for i in range(KEPT):
        others = {int(j) for j in range(KEPT) if labels[j] != labels[i]}
        assert set(rows[i].tolist()) == others


def test_crd_with_one_class_contrasts_with_the_whole_memory():
    module, _, _ = crd()
    rows = module.draw(torch.zeros(KEPT, dtype=torch.int64), torch.arange(KEPT))
    assert set(rows.flatten().tolist()) == set(range(KEPT))


def test_crd_memory_moves_only_the_batchs_rows_and_keeps_unit_norm():
    module, s, t = crd()
    before = module.memory_student.clone()
    index = torch.tensor([7, 2, 9, 0, 11, 4])
    module(s, t, index % CLASSES, index)
    moved = (module.memory_student != before).any(1).nonzero().flatten().tolist()
    assert moved == sorted(index.tolist())
    torch.testing.assert_close(module.memory_student[index].norm(dim=1), torch.ones(6))


def test_crd_normaliser_is_fixed_by_the_first_batch():
    module, s, t = crd()
    module(s, t, *batch_of(s))
    first = module.normaliser.clone()
    module(s, t, *batch_of(s))
    assert (first > 0).all() and torch.equal(module.normaliser, first)


def test_crd_state_survives_saving():
    module, s, t = crd()
    module(s, t, *batch_of(s))
    copy, _, _ = crd()
    copy.load_state_dict(module.state_dict())
    copy.generator.set_state(module.generator.get_state())
    assert torch.equal(copy(s, t, *batch_of(s)), module(s, t, *batch_of(s)))


@pytest.mark.parametrize(("num_samples", "message"), [(1, "at least 2"), (3, r"index must lie in 0..2")])
def test_crd_names_a_memory_that_is_too_small(num_samples, message):
    with pytest.raises(ValueError, match=message):
        module, s, t = crd(num_samples=num_samples)
        module(s, t, *batch_of(s))


# -- the initial stage of AB, FSP and FT


STAGED = {"student": "resnet8", "teacher": "resnet8", "epochs": 2, "fraction": 0.05, "lr": 0.02}


@pytest.mark.parametrize("name", ["ab", "fsp"])
def test_after_their_initial_stage_ab_and_fsp_add_nothing(name: str, tmp_path: Path) -> None:
    """So their weight plays no part any more; without the stage it does."""
    staged = [run(Run(**STAGED, feature_loss=f"{name}(initial_epochs=2)", beta=b), tmp_path) for b in (0.1, 0.2)]
    throughout = [run(Run(**STAGED, feature_loss=name, beta=b), tmp_path) for b in (0.1, 0.2)]
    plain = run(Run(**STAGED), tmp_path)
    assert staged[0]["train_loss"] == staged[1]["train_loss"] != plain["train_loss"], "the stage moved the student"
    assert throughout[0]["train_loss"] != throughout[1]["train_loss"]
    assert staged[0]["student_images"] == 2 * plain["student_images"] and staged[0]["used_share"] == 1


def test_the_paraphraser_learns_in_its_stage_and_is_frozen_afterwards(tmp_path: Path) -> None:
    r = Run(**STAGED, feature_loss="ft(initial_epochs=2)")
    store = Store(tmp_path)
    term = TeacherSide(r, store).feature_term(r, 67)
    weights = [p.detach().clone() for p in term.module.paraphraser.parameters()]  # type: ignore[union-attr, operator]
    keep = kept_samples(r, store)
    member = Member(build_student(r, dataset_of(r)), keep, 0, kd, feature_term=term)
    teacher = TeacherSide(r, store).logits
    loop = Loop([member], dataset_of(r), student_recipe(r), torch.device("cpu"))
    loop.initial_stage(0)
    learned = [p.detach().clone() for p in term.module.paraphraser.parameters()]  # type: ignore[union-attr, operator]
    assert not any(torch.equal(a, b) for a, b in zip(weights, learned, strict=True))
    loop.epoch(0, teacher, None)
    after = list(term.module.paraphraser.parameters())  # type: ignore[union-attr, operator]
    assert all(torch.equal(a, b) for a, b in zip(learned, after, strict=True))


def test_a_stage_of_negative_length_is_refused() -> None:
    with pytest.raises(ValueError, match="initial_epochs must be at least 0"):
        check(Run(**STAGED, feature_loss="ab(initial_epochs=-1)"))
