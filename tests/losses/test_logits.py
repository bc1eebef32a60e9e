"""Logit losses, reshaping and regression: definitions, identities, extremes and errors."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.special import log_softmax, softmax
from torch import Tensor

from kdlib import losses
from kdlib.losses import LOSSES, RESHAPES, WEIGHTINGS, logit_loss

B, K = 6, 5


def normal(*shape: int, seed: int = 0, scale: float = 3.0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, generator=generator, dtype=torch.float64) * scale


@pytest.fixture
def batch() -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Student logits, teacher logits, labels, class-wise std."""
    labels = torch.arange(B) % K
    return normal(B, K).requires_grad_(), normal(B, K, seed=1), labels, torch.linspace(0.5, 3, K, dtype=torch.float64)


pairs = pytest.mark.parametrize(("loss", "reshape"), [(loss, r) for loss in LOSSES for r in RESHAPES])


# --- definitions ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("tau", [0.5, 1.0, 4.0])
@pytest.mark.parametrize("alpha", [0.1, 0.5, 1.0])
def test_kd_is_the_mix_of_its_definition(batch, alpha, tau):
    student, teacher, labels, _ = batch
    s, t, y = student.detach().numpy(), teacher.numpy(), labels.numpy()
    hard = -log_softmax(s, axis=1)[np.arange(B), y]
    q = softmax(t / tau, axis=1)
    kl = (q * (np.log(q) - log_softmax(s / tau, axis=1))).sum(1)
    got = losses.kd(student, teacher, labels, alpha=alpha, tau=tau)
    np.testing.assert_allclose(got.detach(), (1 - alpha) * hard + alpha * tau**2 * kl, rtol=1e-10)


def test_kd_at_alpha_0_is_cross_entropy_and_continuous_there(batch):
    student, teacher, labels, _ = batch
    hard = losses.cross_entropy(student, None, labels)
    assert torch.equal(losses.kd(student, teacher, labels, alpha=0), hard)
    assert torch.equal(losses.kd(student, None, labels, alpha=0.0), hard)
    slope = (losses.kd(student, teacher, labels, alpha=1) - hard).abs().max()
    for alpha in (1e-3, 1e-6):
        near = losses.kd(student, teacher, labels, alpha=alpha)
        assert (near - hard).abs().max() <= alpha * slope * (1 + 1e-9)


def test_tau_squared_keeps_the_gradient_of_soft_targets_at_the_scale_of_hard_ones(batch):
    """At high tau, tau^2 dKL/dz tends to (z - t, both centred) / K: independent of tau."""
    student, teacher, labels, _ = batch
    tau = 1e4
    (gradient,) = torch.autograd.grad(losses.kd(student, teacher, labels, alpha=1, tau=tau).sum(), student)
    centred = [x - x.mean(1, keepdim=True) for x in (student.detach(), teacher)]
    torch.testing.assert_close(gradient, (centred[0] - centred[1]) / K, rtol=1e-2, atol=1e-3)


@pytest.mark.parametrize("tau", [1.0, 4.0])
def test_dkd_parts_recompose_kd(batch, tau):
    """Zhao et al. 2022, Eq. 5: KL = TCKD + (1 - q_label) NCKD."""
    student, teacher, labels, _ = batch
    target, rest = losses.decoupled_kl(student, teacher, labels, tau=tau, target_weight=1.0, non_target_weight=1.0)
    q = torch.softmax(teacher / tau, 1).gather(1, labels[:, None]).squeeze(1)
    torch.testing.assert_close(target + (1 - q) * rest, losses.soft_kl(student, teacher, tau))


def test_dkd_warm_up_counts_epochs_from_1(batch):
    student, teacher, labels, _ = batch
    assert [losses.warm_up(e, 20) for e in (1, 10, 20, 50, None)] == [0.05, 0.5, 1.0, 1.0, 1.0]
    full = losses.dkd(student, teacher, labels, weighting=(0, 1))
    torch.testing.assert_close(losses.dkd(student, teacher, labels, weighting=(0, 1), epoch=5), full / 4)
    assert torch.equal(losses.dkd(student, teacher, labels, weighting=(0, 1), epoch=1, warmup_epochs=0), full)


def test_weightings_are_the_papers(batch):
    student, teacher, labels, _ = batch
    hard, soft = (losses.kd(student, teacher, labels, weighting=w) for w in ((1, 0), (0, 1)))
    expected = {
        "convex": 0.7 * hard + 0.3 * soft,
        "alpha_on_ce": 0.3 * hard + 0.7 * soft,
        "additive": hard + 0.3 * soft,
        "free": hard + soft,
    }
    assert set(expected) == set(WEIGHTINGS)
    for name, value in expected.items():
        torch.testing.assert_close(losses.kd(student, teacher, labels, alpha=0.3, weighting=name), value)
    torch.testing.assert_close(losses.kd(student, teacher, labels, weighting=(0.1, 9)), 0.1 * hard + 9 * soft)
    weights = WEIGHTINGS["free"](0.3, ce=0.1, kd=9)
    assert weights == (0.1, 9) == WEIGHTINGS["free"](0.9, ce=0.1, kd=9), "alpha is not read"
    torch.testing.assert_close(losses.kd(student, teacher, labels, weighting=weights), 0.1 * hard + 9 * soft)
    two = losses.kd(student, teacher, labels, alpha=2, weighting="additive")  # KD-only row of Sec. 4.4
    torch.testing.assert_close(two, hard + 2 * soft)


def test_alpha_may_differ_from_sample_to_sample(batch):
    student, teacher, labels, _ = batch
    alpha = torch.linspace(0, 1, B, dtype=torch.float64)
    mixed = losses.kd(student, teacher, labels, alpha=alpha)
    alone = [losses.kd(student[[i]], teacher[[i]], labels[[i]], alpha=float(alpha[i])) for i in range(B)]
    torch.testing.assert_close(mixed, torch.cat(alone))


# --- every loss after every reshape ---------------------------------------------------------------------------------


@pairs
def test_samples_are_not_coupled(batch, loss, reshape):
    """Reordering reorders, and a sample alone has the value it has in a batch: runs may be stacked."""
    student, teacher, labels, std = batch
    whole = logit_loss(student, teacher, labels, loss=loss, reshape=reshape, class_std=std)
    order = torch.tensor([3, 0, 5, 1, 4, 2])
    shuffled = logit_loss(student[order], teacher[order], labels[order], loss=loss, reshape=reshape, class_std=std)
    alone = logit_loss(student[:1], teacher[:1], labels[:1], loss=loss, reshape=reshape, class_std=std)
    assert whole.shape == (B,)
    torch.testing.assert_close(shuffled, whole[order])
    torch.testing.assert_close(alone, whole[:1])


@pairs
def test_teacher_gets_no_gradient_and_student_does(batch, loss, reshape):
    student, teacher, labels, std = batch
    teacher.requires_grad_()
    value = logit_loss(student, teacher, labels, loss=loss, reshape=reshape, class_std=std).sum()
    to_student, to_teacher = torch.autograd.grad(value, (student, teacher), allow_unused=True)
    assert to_teacher is None
    assert to_student.abs().max() > 0


@pytest.mark.parametrize("loss", ["kd", "dkd"])
def test_a_loss_by_itself_detaches_the_teacher_too(batch, loss):
    student, teacher, labels, _ = batch
    value = LOSSES[loss](student, teacher.requires_grad_(), labels).sum()
    assert torch.autograd.grad(value, teacher, allow_unused=True) == (None,)


@pairs
@pytest.mark.parametrize("tau", [1.0, 4.0])
@pytest.mark.parametrize("kind", ["saturated", "opposed", "student constant", "teacher constant", "both zero"])
def test_extreme_logits_stay_finite_in_float32(loss, reshape, tau, kind):
    labels = torch.arange(4)
    student, teacher = (torch.nn.functional.one_hot(labels, K).float() * 1e4 for _ in range(2))
    if kind == "opposed":
        student = student.flip(1)
    if kind in ("student constant", "both zero"):
        student = torch.full_like(student, 0.1 if kind != "both zero" else 0.0)
    if kind in ("teacher constant", "both zero"):
        teacher = torch.full_like(teacher, 10.1 if kind != "both zero" else 0.0)
    student.requires_grad_()
    std = losses.class_std(teacher, labels, K)
    value = logit_loss(student, teacher, labels, loss=loss, reshape=reshape, class_std=std, tau=tau)
    (gradient,) = torch.autograd.grad(value.sum(), student)
    assert torch.isfinite(value).all() and torch.isfinite(gradient).all()
    assert (value >= -1e-4).all()


@pytest.mark.parametrize("gap", [90.0, 105.0, 500.0])
def test_dkd_in_float32_agrees_with_float64_where_the_masked_form_overflows(gap):
    student, teacher, labels = normal(3, K), normal(3, K, seed=1), torch.arange(3)
    student[:, 4] += gap
    exact = losses.dkd(student, teacher, labels, tau=1.0)
    torch.testing.assert_close(
        losses.dkd(student.float(), teacher.float(), labels, tau=1.0).double(), exact, rtol=1e-5, atol=0
    )


# --- reshaping ------------------------------------------------------------------------------------------------------


def test_class_std_is_the_mean_of_row_stds_per_class():
    logits, labels = normal(9, 4), torch.tensor([0, 0, 0, 1, 1, 3, 3, 3, 3])
    rows = logits.numpy().std(1, ddof=1)
    expected = [rows[labels.numpy() == c].mean() for c in (0, 1, 3)]
    got = losses.class_std(logits, labels, 4)
    np.testing.assert_allclose(got[[0, 1, 3]], expected)
    np.testing.assert_allclose(got[2], np.mean(expected))  # a class without samples leaves the mean as it is


def test_classwise_reshape_gives_each_teacher_row_its_classes_std(batch):
    student, teacher, labels, std = batch
    r = RESHAPES["classwise_std"](student, teacher, labels, class_std=std)
    torch.testing.assert_close(r.teacher.std(1), std[labels])
    torch.testing.assert_close(r.teacher * teacher.std(1, keepdim=True) / std[labels][:, None], teacher)
    mean = RESHAPES["classwise_std_dataset_mean"](student, teacher, labels, class_std=std)
    torch.testing.assert_close(mean.teacher.std(1), std.mean().expand(B))
    assert r.student is student and r.hard is student


def test_lskd_ignores_offset_and_scale_of_both_networks(batch):
    student, teacher, labels, _ = batch

    def value(s: Tensor, t: Tensor) -> Tensor:
        return logit_loss(s, t, labels, reshape="lskd", tau=2.0, weighting=(0, 9))

    torch.testing.assert_close(value(3 * student + 1, 0.2 * teacher - 7), value(student, teacher), rtol=1e-5, atol=0)


def test_normkd_is_kd_at_a_temperature_per_sample(batch):
    student, teacher, labels, _ = batch
    got = logit_loss(student, teacher, labels, reshape="normkd", tau=2.0, weighting=(0, 1))
    for i in range(B):
        tau_s, tau_t = 2 * student[i].std(), 2 * teacher[i].std()
        q = torch.softmax(teacher[i] / tau_t, 0)
        kl = (q * (q.log() - torch.log_softmax(student[i] / tau_s, 0))).sum()
        torch.testing.assert_close(got[i], kl * tau_t**2)


def test_skd_rescales_the_student_for_both_terms(batch):
    student, teacher, labels, _ = batch
    r = RESHAPES["skd"](student, teacher, labels)
    torch.testing.assert_close(r.student.std(1), teacher.std(1))
    got = logit_loss(student, teacher, labels, reshape="skd", alpha=0)
    torch.testing.assert_close(got, losses.cross_entropy(r.student, None, labels))


@pytest.mark.parametrize("name", [r for r in RESHAPES if r != "skd"])
def test_cross_entropy_reads_raw_logits_but_for_skd(batch, name):
    student, teacher, labels, std = batch
    got = logit_loss(student, teacher, labels, reshape=name, class_std=std, alpha=0)
    assert torch.equal(got, losses.cross_entropy(student, None, labels))


def test_reference_settings_run(batch):
    student, teacher, labels, _ = batch
    for options in losses.REFERENCE_SETTINGS.values():
        assert torch.isfinite(logit_loss(student, teacher, labels, **options)).all()


# --- errors ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda s, y: losses.kd(s, None, y), "needs the teacher"),
        (lambda s, y: losses.dkd(s, None, y), "needs the teacher"),
        (lambda s, y: losses.kd(s, s[:, :3], y), "differ in shape"),
        (lambda s, y: losses.kd(s, s, None), "labels are needed"),
        (lambda s, y: losses.kd(s, s, y, tau=0.0), "tau must be positive"),
        (lambda s, y: losses.kd(s, s, y, alpha=1.5), r"alpha must lie in \[0, 1\]"),
        (lambda s, y: losses.kd(s, s, y, alpha=-1, weighting="additive"), "alpha must lie"),
        (lambda s, y: losses.kd(s, s, y, weighting=(1, -1)), "must not be negative"),
        (lambda s, y: losses.kd(s, s, y, weighting="convx"), "did you mean 'convex'"),
        (lambda s, y: losses.dkd(s[:, :2], s[:, :2], y % 2), "at least 3 classes"),
        (lambda s, y: logit_loss(s, s, y, loss="dkt"), "did you mean 'dkd'"),
        (lambda s, y: logit_loss(s, s, y, reshape="lksd"), "did you mean 'lskd'"),
        (lambda s, y: logit_loss(s, None, y, loss="cross_entropy", reshape="skd"), "needs the teacher"),
        (lambda s, y: logit_loss(s, s, y, reshape="classwise_std"), "needs class_std"),
        (lambda s, y: logit_loss(s[:, :1], s[:, :1], y * 0, reshape="lskd"), "at least 2 classes"),
        (lambda s, y: losses.class_std(s, y, 2), r"labels must lie in 0..1"),
        (lambda s, y: losses.class_std(s[:0], y[:0], 2), "one label per row"),
    ],
)
def test_bad_input_is_named(batch, call, message):
    student, _, labels, _ = batch
    with pytest.raises(ValueError, match=message):
        call(student, labels)


def test_no_teacher_is_needed_without_distillation(batch):
    student, _, labels, _ = batch
    assert torch.equal(
        logit_loss(student, None, labels, loss="cross_entropy"), losses.cross_entropy(student, None, labels)
    )


# --- regression -----------------------------------------------------------------------------------------------------


def test_squared_error_is_the_convex_mix_whatever_the_column_shape():
    s, t, y = normal(B, 1).requires_grad_(), normal(B, 1, seed=1).requires_grad_(), normal(B, seed=2)
    got = losses.squared_error(s, t, y, alpha=0.3)
    expected = 0.7 * (s[:, 0] - y) ** 2 + 0.3 * (s[:, 0] - t[:, 0]) ** 2
    torch.testing.assert_close(got, expected)
    assert torch.autograd.grad(got.sum(), t, allow_unused=True) == (None,)
    torch.testing.assert_close(losses.squared_error(s, t.squeeze(1), y[:, None], alpha=0.3), expected)
    assert torch.equal(losses.squared_error(s, None, y, alpha=0), losses.squared_error(s, t, y, alpha=0))


def test_squared_error_has_the_gradient_of_the_mixed_target():
    s, t, y = normal(B, 1).requires_grad_(), normal(B, 1, seed=1), normal(B, 1, seed=2)
    mixed = 0.4 * y + 0.6 * t
    ours, theirs = losses.squared_error(s, t, y, alpha=0.6), (s - mixed) ** 2
    torch.testing.assert_close(*(torch.autograd.grad(v.sum(), s)[0] for v in (ours, theirs)))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"alpha": 2.0}, "alpha must lie"),
        ({"teacher": None}, "needs the teacher"),
        ({"targets": torch.zeros(B + 1)}, "targets must have shape"),
        ({"teacher": torch.zeros(B, 2)}, "teacher must have shape"),
    ],
)
def test_squared_error_names_bad_input(options, message):
    arguments = {"student": torch.zeros(B, 1), "teacher": torch.zeros(B, 1), "targets": torch.zeros(B)} | options
    with pytest.raises(ValueError, match=message):
        losses.squared_error(**arguments)
