"""Scorers: values known by hand, invariances, and errors."""

from __future__ import annotations

import dataclasses
import inspect
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from kdlib.scorers import SCORERS, Signals, dynamics, errors
from kdlib.scorers.released import released_scores
from kdlib.selection.rules import keep_indices
from tests.scorers.samples import ENTRIES, K, N, labels, reordered, rng, scores_of, signals


@pytest.mark.parametrize("name", ENTRIES)
def test_scores_are_finite_pure_and_usable(name: str) -> None:
    s, y = signals(), labels()
    before = {f.name: getattr(s, f.name).copy() for f in dataclasses.fields(s)}
    first, again = (scores_of(name, s, y, rng(1)) for _ in range(2))
    assert first.shape == (N,) and first.dtype == np.float64 and np.isfinite(first).all()
    assert np.array_equal(first, again)
    assert all(np.array_equal(getattr(s, field), value) for field, value in before.items())
    assert len(keep_indices(first, 0.5, labels=y, rng=rng())) == N // 2


DRAWN = ("random", "k_center", "k-center from the centre", "craig")


@pytest.mark.parametrize("name", [n for n in ENTRIES if n not in DRAWN])  # they draw, or tie
def test_permuting_samples_permutes_scores(name: str) -> None:
    s, y, order = signals(), labels(), rng(5).permutation(N)
    scores = scores_of(name, s, y, rng())
    assert np.allclose(scores_of(name, reordered(s, order), y[order], rng()), scores[order], rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("case", [n for n in ENTRIES if n != "random"])
def test_a_missing_signal_is_named(case: str) -> None:
    name, options = ENTRIES[case]
    needs = SCORERS[name].needed(**options)
    with pytest.raises(ValueError, match=f"lack {', '.join(needs)}; recorded: none"):
        scores_of(case, Signals(), labels(), rng())
    missing = dataclasses.replace(signals(), **{needs[-1]: None})
    with pytest.raises(ValueError, match=f"lack {needs[-1]}; recorded: "):
        scores_of(case, missing, labels(), rng())


@pytest.mark.parametrize("case", ENTRIES)
def test_a_scorer_reads_what_it_says_it_needs_and_nothing_else(case: str) -> None:
    name, options = ENTRIES[case]
    needs, s = SCORERS[name].needed(**options), signals()
    alone = Signals(**{need: getattr(s, need) for need in needs})
    assert np.array_equal(scores_of(case, alone, labels(), rng(1)), scores_of(case, s, labels(), rng(1)))


def test_every_entry_is_a_plain_function_with_keyword_options() -> None:
    """Options can be read from the signature: after (signals, labels, rng), keyword-only and with a default."""
    for name, scorer in SCORERS.items():
        head, *options = list(inspect.signature(scorer.fn).parameters.values())[2:]
        assert head.name == "rng" and scorer.fn.__name__ != "<lambda>", name
        assert all(o.kind is o.KEYWORD_ONLY and isinstance(o.default, str | int | float) for o in options), name
        assert scorer.fn.__doc__, name


def test_entries_say_their_window_and_their_network() -> None:
    assert {name: scorer.centre for name, scorer in SCORERS.items() if scorer.centre != 1} == {"moderate": 0.5}
    assert {name for name, scorer in SCORERS.items() if scorer.of == "teacher"} == {"difficulty"}
    assert {scorer.of for scorer in SCORERS.values()} == {"teacher", "scored"}


def test_signals_and_labels_must_agree() -> None:
    with pytest.raises(ValueError, match="axis N: 'correct' has 4, 'margin' has 5"):
        Signals(correct=np.ones((1, 2, 4), bool), margin=np.ones((1, 2, 5)))
    with pytest.raises(ValueError, match="must have axes"):
        Signals(correct=np.ones((2, 4), bool))
    with pytest.raises(ValueError, match="3 labels"):
        SCORERS["forgetting"](Signals(correct=np.ones((1, 2, 4), bool)), np.zeros(3, int), rng())


# -- dynamics


def test_forgetting_by_hand() -> None:
    correct = np.array([[[1, 0, 0, 1], [0, 0, 1, 1], [1, 0, 1, 1], [0, 0, 1, 1]]], bool)  # (1, 4, 4), epochs in rows
    assert dynamics.forgetting(correct).tolist() == [2, 0, 0, 0]
    assert dynamics.forgetting(correct, "hardest").tolist() == [2, 4, 0, 0]
    assert dynamics.forgetting(correct, "infinite").tolist() == [2, np.inf, 0, 0]
    assert dynamics.epochs_to_learn(correct, "first").tolist() == [0, 4, 1, 0]
    assert dynamics.epochs_to_learn(correct).tolist() == [4, 4, 1, 0]
    assert dynamics.epochs_to_learn(np.concatenate([correct, ~correct])).tolist() == [3.5, 2, 2.5, 4 / 2]
    with pytest.raises(ValueError, match="did you mean 'hardest'"):
        dynamics.forgetting(correct, "hard")
    with pytest.raises(ValueError, match="unknown until 'last'; choose one of: for_good, first"):
        dynamics.epochs_to_learn(correct, "last")


def test_the_two_readings_of_forgetting_are_entries() -> None:
    """Never learned counts nothing in the framework of DKDP, the most in the code of Toneva et al."""
    s, y = signals(), labels()
    s.correct[:, :, 7] = False
    framework, toneva = (SCORERS[name](s, y, rng()) for name in ("forgetting", "forgetting_hardest"))
    assert framework[7] == 0 and toneva[7] == 6 and np.array_equal(np.delete(framework, 7), np.delete(toneva, 7))
    assert np.array_equal(SCORERS["forgetting"](s, y, rng(), never_learned="hardest"), toneva)
    assert "forgetting_easiest" not in SCORERS


def test_never_learned_outranks_every_forgotten_sample() -> None:
    correct = rng().random((4, 9, 200)) < 0.5
    correct[:, :, 0] = False
    assert dynamics.forgetting(correct, "hardest").argmax() == 0 and dynamics.forgetting(correct)[0] == 0


def test_aum_is_minus_the_mean_margin() -> None:
    margins = np.array([[[1.0, -4.0], [3.0, 0.0]]])
    assert dynamics.aum(margins).tolist() == [-2.0, 2.0]


# -- errors


def test_el2n_bounds_and_averages() -> None:
    y = np.array([0, 1])
    right, wrong = np.eye(3)[[0, 1]], np.eye(3)[[1, 0]]
    assert errors.el2n(right, y).tolist() == [0, 0]
    assert np.allclose(errors.el2n(wrong, y), np.sqrt(2))
    assert np.allclose(errors.el2n(np.stack([right, wrong]), y), np.sqrt(2) / 2)


@pytest.mark.parametrize("name", ["el2n", "l1_error", "max_margin", "sum_margin"])
def test_errors_read_early_probabilities(name: str) -> None:
    s, y = signals(), labels()
    assert s.early_probs is not None and s.late_probs is not None
    assert np.array_equal(SCORERS[name](s, y, rng()), getattr(errors, name)(s.early_probs, y))
    assert not np.allclose(getattr(errors, name)(s.early_probs, y), getattr(errors, name)(s.late_probs, y))


def test_difficulty_reads_late_probabilities() -> None:
    s, y = signals(), labels()
    assert s.late_probs is not None
    assert np.allclose(SCORERS["difficulty"](s, y, rng()), errors.difficulty_from_probs(s.late_probs, y))


def test_error_scores_follow_the_public_code() -> None:
    """The formulas of data_diet's scores.py, sample by sample, on one network."""
    probs, y = rng().dirichlet(np.ones(K), N), labels()
    for i in range(N):
        onehot = np.eye(K)[y[i]]
        others = probs[i][onehot == 0] - probs[i][onehot == 1]
        one, at = probs[None, [i]], y[[i]]
        assert np.isclose(errors.el2n(one, at)[0], np.linalg.norm(probs[i] - onehot, ord=2))
        assert np.isclose(errors.l1_error(one, at)[0], np.linalg.norm(probs[i] - onehot, ord=1))
        assert np.isclose(errors.max_margin(one, at)[0], others.max())
        assert np.isclose(errors.sum_margin(one, at)[0], others.sum())


def test_l1_error_and_summed_margin_rank_alike() -> None:
    s, y = signals(), labels()
    assert s.early_probs is not None
    own = s.early_probs[:, np.arange(N), y].mean(axis=0, dtype=np.float64)
    assert np.allclose(SCORERS["l1_error"](s, y, rng()), 2 * (1 - own), atol=1e-6)
    assert np.allclose(SCORERS["sum_margin"](s, y, rng()), 1 - K * own, atol=1e-5)


def test_difficulty_is_cross_entropy_over_views() -> None:
    logits, y = rng().normal(size=(3, N, K)) * 4, labels()
    expected = F.cross_entropy(torch.from_numpy(logits).flatten(0, 1), torch.from_numpy(y).repeat(3), reduction="none")
    views = errors.difficulty(logits, y)
    assert np.allclose(views, expected.view(3, N).mean(0).numpy(), rtol=1e-12)
    probs = torch.softmax(torch.from_numpy(logits), -1).numpy()
    assert np.allclose(errors.difficulty_from_probs(probs, y), views, rtol=1e-10)


def test_difficulty_ranks_what_float32_cannot() -> None:
    logits = np.zeros((4, 3), np.float32)
    logits[:, 0] = [20, 25, 30, 300]
    clean = errors.difficulty(logits, np.zeros(4, int))
    assert (np.diff(clean) < 0).all() and np.allclose(clean[:3], 2 * np.exp([-20.0, -25.0, -30.0]), rtol=1e-6)
    probs = torch.softmax(torch.from_numpy(logits), -1).numpy()
    assert (probs[:, 0] == 1).sum() >= 3  # ties, to a scorer that reads only the label's probability
    assert np.allclose(errors.difficulty_from_probs(probs, np.zeros(4, int))[:3], clean[:3], rtol=1e-5)
    hard = errors.difficulty(logits, np.ones(4, int))
    assert (
        np.allclose(hard, logits[:, 0], rtol=1e-6)
        and np.isfinite(errors.difficulty_from_probs(probs, np.ones(4, int))).all()
    )


def test_uncertainty_scores_follow_their_definitions() -> None:
    """Averages over runs of the formulas on single rows; DeepCore's own entropy and margin are minus these."""
    s, y = signals(), labels()
    assert s.late_probs is not None
    last = s.late_probs.astype(np.float64)
    ranked = np.sort(last, axis=-1)
    assert np.allclose(SCORERS["least_confidence"](s, y, rng()), np.mean([1 - row.max(-1) for row in last], axis=0))
    assert np.allclose(SCORERS["margin"](s, y, rng()), np.mean(ranked[..., -2] - ranked[..., -1], axis=0))
    deepcore = (np.log(last + 1e-6) * last).sum(-1).mean(axis=0)
    assert np.allclose(SCORERS["entropy"](s, y, rng()), -deepcore, atol=1e-4)


def test_uncertainty_scores_against_the_public_code() -> None:
    """DeepCore's uncertainty.py, from logits (N, K): its margin is minus ours, its confidence a logit in place of ours."""
    logits = torch.from_numpy(rng().normal(size=(N, K)) * 3)
    rows, preds = np.arange(N), torch.softmax(logits, dim=1).numpy()
    s, y = Signals(late_probs=preds[None]), labels()
    assert np.allclose(SCORERS["entropy"](s, y, rng()), -(np.log(preds + 1e-6) * preds).sum(axis=1), atol=1e-4)
    first = preds.argmax(axis=1)
    best, rest = preds[rows, first].copy(), preds.copy()
    rest[rows, first] -= 1.0
    theirs = best - rest[rows, rest.argmax(axis=1)]
    assert np.allclose(SCORERS["margin"](s, y, rng()), -theirs)
    theirs = logits.max(axis=1).values - torch.logsumexp(logits, dim=1)  # theirs leaves the normalisation out
    assert np.allclose(SCORERS["least_confidence"](s, y, rng()), 1 - theirs.exp().numpy())


def test_entropy_and_margin_by_hand() -> None:
    probs = np.array([[1.0, 0, 0, 0], [0.25] * 4, [0.5, 0.5, 0, 0]])
    assert np.allclose(errors.entropy(probs), [0, np.log(4), np.log(2)])
    assert np.allclose(errors.margin(probs), [-1, 0, 0])
    with pytest.raises(ValueError, match="2 classes"):
        errors.margin(np.ones((3, 1)))


# -- released tables

FILES = [f"train/n0{c}/img_{i}.JPEG" for c in range(2) for i in range(3)]


NAMES = [f.rsplit("/", 1)[1] for f in FILES[:3]]


def table(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "scores.csv"
    path.write_text(text)
    return path


def test_released_scores_follow_the_files(tmp_path: Path) -> None:
    path = table(tmp_path, ",filename,score\n0,img_2.JPEG,0.2\n1,img_0.JPEG,-1.5\n2,img_1.JPEG,3\n")
    assert released_scores(path, NAMES).tolist() == [-1.5, 3.0, 0.2]
    assert released_scores(path, NAMES[::-1], high="drop").tolist() == [-0.2, -3.0, 1.5]
    assert released_scores(path, NAMES[:1], extra="ignore").tolist() == [-1.5]


def test_released_scores_by_folder_and_without_header(tmp_path: Path) -> None:
    path = table(tmp_path, "".join(f"{f},{i}.5\n" for i, f in enumerate(FILES)))
    assert released_scores(path, FILES, parts=2).tolist() == [0.5, 1.5, 2.5, 3.5, 4.5, 5.5]
    with pytest.raises(ValueError, match=r"3 files share a name \(try parts=2\)"):
        released_scores(path, FILES)


def test_released_columns_are_named_or_told_apart(tmp_path: Path) -> None:
    path = table(tmp_path, "img,el2n,mem\n" + "".join(f"{n},{i},{-i}\n" for i, n in enumerate(NAMES)))
    with pytest.raises(ValueError, match="any of el2n, mem could be the column"):
        released_scores(path, NAMES)
    assert released_scores(path, NAMES, column="mem").tolist() == [0, -1, -2]
    with pytest.raises(ValueError, match="did you mean 'el2n'"):
        released_scores(path, NAMES, column="el2")
    with pytest.raises(ValueError, match="no column looks like the image"):
        released_scores(table(tmp_path, "a,b\n1,2\n"), NAMES)


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ("img_0.JPEG,1\nimg_1.JPEG,2\n", "1 files have no row: img_2.JPEG"),
        ("img_0.JPEG,1\nimg_0.JPEG,2\nimg_1.JPEG,1\nimg_2.JPEG,1\n", "1 rows repeat a file name: img_0.JPEG"),
        ("img_0.JPEG,1\nimg_1.JPEG,2\nimg_2.JPEG,1\nimg_9.JPEG,1\n", "1 rows name no known file.*img_9.JPEG"),
        ("img_0.JPEG,1\nimg_1.JPEG,nan\nimg_2.JPEG,inf\n", "2 scores are not finite numbers: img_1.JPEG, img_2.JPEG"),
        ("img_0.JPEG,1\nimg_1.JPEG,\nimg_2.JPEG,2\n", "1 scores are not finite numbers: img_1.JPEG"),
    ],
)
def test_released_tables_with_gaps_are_refused(tmp_path: Path, rows: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        released_scores(table(tmp_path, "file,score\n" + rows), NAMES)


def test_rows_of_known_other_files_are_no_mistake(tmp_path: Path) -> None:
    path = table(tmp_path, "file,score\n" + "".join(f"{n},{i}\n" for i, n in enumerate(NAMES)))
    assert released_scores(path, NAMES[1:], others=NAMES[:1]).tolist() == [1, 2]
    with pytest.raises(ValueError, match="1 rows name no known file"):
        released_scores(path, NAMES[1:])


@pytest.mark.parametrize("content", [b"", b"file,score\na.png,1\nb.png,1,2,3\n", b"\xff\xfe\x00\x01\n"])
def test_a_released_file_that_is_no_table(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "scores.csv"
    path.write_bytes(content)
    with pytest.raises(ValueError, match="not a CSV table: [^\n]+$"):
        released_scores(path, NAMES)


def test_released_choices(tmp_path: Path) -> None:
    path = table(tmp_path, "file,score\nimg_0.JPEG,1\n")
    with pytest.raises(ValueError, match="keep"):
        released_scores(path, NAMES[:1], high="hard")
    with pytest.raises(ValueError, match="no rows"):
        released_scores(table(tmp_path, "file,score\n"), NAMES)
