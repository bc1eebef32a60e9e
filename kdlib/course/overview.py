"""What stands for a lesson in README and on the site: one sentence and one picture."""

from __future__ import annotations

# lesson -> (what it answers, its picture in `figures/`)
OVERVIEW: dict[str, tuple[str, str]] = {
    "00_start_here": (
        "The whole idea, built by hand: a network, a teacher, its soft targets, and controls that show where the help "
        "comes from.",
        "00_labels_run_out",
    ),
    "01_linear_regression_bias": (
        "What a teacher does to bias and variance, in closed form, and where the paper's theorem fails.",
        "01_total_error",
    ),
    "02_difficulty_scores": (
        "Which samples are hard, do the scores agree, and can they be relied on?",
        "02_examples",
    ),
    "03_kd_on_pruned_data": (
        "What a teacher adds at each kept fraction, for each way to choose the samples.",
        "03_accuracy_vs_fraction",
    ),
    "04_how_much_to_trust_the_teacher": (
        "Which KD weight and temperature fit which kept fraction, and does a fitted rule hold on data it has not seen?",
        "04_rules",
    ),
    "05_dark_knowledge": (
        "What the teacher's other answers hold: relations between classes, and how sure it is, beside controls.",
        "05_one_sample",
    ),
    "06_teacher_capacity": (
        "Whether a larger teacher helps or hurts when few samples are left.",
        "06_against_size",
    ),
    "07_kd_on_a_gpu": (
        "Where the time of a training step goes, what each way to save it buys, and how to run the papers' tables.",
        "07_ladder",
    ),
    "08_kd_losses": (
        "What further losses on features and relations add, and at which weights.",
        "08_table",
    ),
    "09_medium_difficulty": (
        "Which part of the ranking to keep, over all windows, and what reshaped logits add.",
        "09_window_map",
    ),
    "10_decision_boundaries": (
        "How kept samples move the boundaries between classes, with a number for the drift.",
        "10_planes",
    ),
    "11_random_or_medium": (
        "The papers disagree. We compare random with medium samples, with paired seeds and two kinds of teacher.",
        "11_head_to_head",
    ),
    "12_noise_and_imbalance": (
        "What each score keeps of wrong labels and rare classes, and what a teacher repairs.",
        "12_accuracy",
    ),
    "13_beyond_cnns": (
        "Whether the findings carry over to a vision transformer, to regression and to poor teachers.",
        "13_attention",
    ),
    "14_what_it_costs": (
        "From how many students on pruning pays, with scoring, teacher and cache counted.",
        "14_accuracy_for_a_price",
    ),
    "15_imagenet": (
        "How images are streamed, scored and trained on at ImageNet's size, and what that would cost.",
        "15_costs",
    ),
    "16_which_claims_hold": (
        "What our rows say about the claims that we took from both papers: the verdict, its effect, its rule and its power.",
        "16_scoreboard",
    ),
}
