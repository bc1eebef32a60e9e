"""What identifies a run, and what does not."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest
import torch

from kdlib import Run, Store, run, sweep
from kdlib.experiments import fingerprint
from kdlib.experiments.fingerprint import dataset_of, describe, recording, rules_of, scored_runs, teacher_runs
from kdlib.experiments.run import kept_samples
from kdlib.losses import LOSSES
from kdlib.losses.logits import kd
from kdlib.store.artefacts import key

SHORT = {"epochs": 2, "fraction": 0.2, "lr": 0.02}


def same(a: Run, b: Run) -> bool:
    return key("rows", describe(a)) == key("rows", describe(b))


@pytest.mark.parametrize(
    "change",
    [
        {"device": "cpu"},
        {"compile": True},
        {"eval_every": 5},
        {"keep_student": True},
        {"precision": "float32"},
        {"beta": 3.0},
        {"milestones": (3, 4)},
        {"augment_seed": 7},
        {"loss": "kd()"},
        {"selection": "window(rounding=total)"},
        {"score_runs": 5},
        {"score_recipe": "epochs=3"},
        {"centre": 0.5},
        {"class_balanced": True},
    ],
)
def test_fields_without_effect_identify_nothing(change: dict) -> None:
    assert same(Run(), Run(**change))


@pytest.mark.parametrize(
    "change",
    [
        {"alpha": 0.9},
        {"tau": 2.0},
        {"seed": 1},
        {"teacher_seed": 1},
        {"teacher_recipe": "lr=0.01"},
        {"weighting": "additive"},
        {"remainder": "last"},
        {"optimiser": "adamw"},
        {"precision": "bfloat16"},
        {"fraction": 0.5},
        {"loss": "dkd"},
        {"cache_logits": False},
        {"label_noise": 0.2},
        {"imbalance": 10.0},
        {"student": "resnet8"},
        {"class_balanced": False, "fraction": 0.5},
        {"selection": "median", "fraction": 0.5, "scorer": "el2n"},
    ],
)
def test_fields_with_effect_identify_the_run(change: dict) -> None:
    assert not same(Run(), Run(**change))


def test_the_precision_that_a_gpu_would_use_identifies_the_run(monkeypatch: pytest.MonkeyPatch) -> None:
    """`precision` is "auto" in both, and the rows differ by more than the order of sums."""
    here = describe(Run())
    monkeypatch.setattr(fingerprint, "resolve_device", lambda device: torch.device("cuda"))
    there = describe(Run())
    assert (here["precision"], there["precision"]) == ("float32", "bfloat16")
    assert there["teacher"]["recipe"]["precision"] == "bfloat16" and key("rows", here) != key("rows", there)


def test_without_a_teacher_its_fields_say_nothing() -> None:
    plain = Run(loss="cross_entropy")
    assert same(
        plain, Run(loss="cross_entropy", alpha=0.9, teacher="resnet8", teacher_seed=3, tau=2.0, cache_logits=False)
    )


def test_scores_identify_a_run_that_reads_them() -> None:
    half = {"scorer": "el2n", "fraction": 0.5}
    for change in ({"score_runs": 2}, {"score_recipe": "epochs=3"}, {"score_model": "resnet8"}, {"centre": 0.5}):
        assert not same(Run(**half), Run(**{**half, **change}))
    assert same(Run(scorer="el2n"), Run(scorer="aum")), "all samples are kept"
    assert same(Run(**half, centre=1.0), Run(**half)) and not same(
        Run(**half), Run(**{**half, "scorer": "el2n(at=0.5)"})
    )
    cut = {"selection": "ccs", "fraction": 0.5}  # it reads the margins of the scored networks, whatever the scorer
    assert not same(Run(**cut), Run(**cut, score_model="resnet8"))


def test_difficulty_reads_the_teacher_and_no_scored_network() -> None:
    r = Run(scorer="difficulty", fraction=0.5, score_runs=3, score_recipe="epochs=7")
    assert scored_runs(r) == teacher_runs(r)
    assert same(r, Run(scorer="difficulty", fraction=0.5))
    other = dataclasses.replace(r, teacher_seed=4, loss="cross_entropy")
    assert not same(other, dataclasses.replace(other, teacher_seed=5)), "also where the student has no teacher"


def test_the_teachers_recipe_follows_the_students_but_for_what_it_sets() -> None:
    r = Run(
        epochs=40, lr=0.2, budget="steps", schedule="steps", milestones=(20,), teacher_recipe="lr=0.01, milestones=[30]"
    )
    assert teacher_runs(r).recipe.lr == 0.01 and teacher_runs(r).recipe.epochs == 40
    assert teacher_runs(r).recipe.budget == "epochs" and teacher_runs(r).recipe.milestones == (30,)
    swept = [dataclasses.replace(r, lr=lr, teacher_recipe="epochs=9, lr=0.01, schedule=constant") for lr in (0.1, 0.3)]
    assert teacher_runs(swept[0]) == teacher_runs(swept[1]), "a sweep over lr keeps its teacher"


def test_options_that_say_how_signals_are_recorded() -> None:
    r = Run(scorer="difficulty(views=4)", fraction=0.5, augment="crop")
    assert recording(r).views == 4 and recording(r).augment == "crop"
    assert not same(r, dataclasses.replace(r, scorer="difficulty(views=5)"))
    more, fewer = (Run(scorer=f"memorization(subsets={n})", fraction=0.5) for n in (4, 5))
    assert recording(more).subsets == 4 and not same(more, fewer)


# -- seeds


def test_label_noise_and_imbalance_draw_from_the_runs_seed() -> None:
    for change in ({"label_noise": 0.3}, {"imbalance": 5.0}):
        first, again, other = (dataset_of(Run(**change, seed=s)) for s in (0, 0, 1))
        assert first.content_hash == again.content_hash != other.content_hash


@pytest.mark.parametrize("scorer", ["random", "el2n"])
def test_a_teachers_samples_contain_its_students_for_every_seed(scorer: str, tmp_path: Path) -> None:
    store = Store(tmp_path)
    for seed in range(3):
        r = Run(**SHORT, scorer=scorer, seed=seed, teacher_fraction=0.5)
        student, teacher = set(kept_samples(r, store)), set(kept_samples(r, store, 0.5))
        assert student < teacher and len(teacher) == 674
    assert run(Run(**SHORT, scorer=scorer, teacher_fraction=0.2), store)["teacher_acc"] > 0


def test_a_teacher_of_fewer_samples_than_its_student_is_refused() -> None:
    with pytest.raises(ValueError, match="teacher_fraction 0.1 is below fraction 0.5"):
        Run(fraction=0.5, teacher_fraction=0.1)


# -- code


def _broken(student, teacher, labels, *, alpha=0.5, tau=4.0, weighting="convex", hard=None, kd_weight=None):  # noqa: ANN001, ANN202
    return 0 * kd(student, teacher, labels, alpha=alpha, tau=tau, weighting=weighting)


def test_edited_code_is_never_answered_by_a_stored_row(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    """The loss `kd` is replaced by one that teaches nothing: the same sweep trains again, and says why."""
    store = Store(tmp_path)
    before = sweep({"seed": [0]}, store=store, progress=False, **SHORT).iloc[0]
    monkeypatch.setitem(LOSSES, "kd", _broken)
    after = sweep({"seed": [0]}, store=store, **SHORT).iloc[0]
    assert after.train_loss == 0 != before.train_loss and after.rules != before.rules
    assert "1 stored row was made by other code and set aside" in capsys.readouterr().err
    monkeypatch.undo()
    again = sweep({"seed": [0]}, store=store, progress=False, **SHORT).iloc[0]
    assert again.train_loss == before.train_loss, "the first row is still there"


def test_rules_are_no_part_of_the_name_that_rows_share() -> None:
    described = describe(Run())
    assert described["rules"] == rules_of(Run())
    names = [key("rows", {**described, "rules": rules}) for rules in ("a" * 12, "b" * 12)]
    assert names[0] != names[1] and names[0].partition("-")[0] == names[1].partition("-")[0]


def test_a_new_field_at_its_default_needs_no_migration() -> None:
    """Whatever is at its default is left out, so a description says nothing of fields that came later."""
    described = describe(Run())
    assert set(described) == {"data", "precision", "teacher", "rules"}
    assert described["teacher"] == {"model": "mlp", "role": "teacher", "recipe": {"precision": "float32"}, "seeds": [0]}


def test_defaults_do_not_change_unnoticed() -> None:
    """Descriptions leave out what is at its default: another default would give old rows to new runs.

    Whoever changes one raises `kdlib.store.serialisation.SCHEMA`, and then the file beside this test.
    """
    file = Path(__file__).with_name("defaults.json")
    assert json.loads(json.dumps(dataclasses.asdict(Run()))) == json.loads(file.read_text())
