"""Losses of both papers: on logits, on feature maps, on relations between samples, for regression.

`LOSSES` (logits -> nats per sample), `RESHAPES` (applied to logits before a loss), `FEATURE_LOSSES` (modules on
`Features`, added with a weight beta) and `REGRESSION_LOSSES` map names to methods.
"""

from __future__ import annotations

from kdlib.losses.common import FeatureLoss
from kdlib.losses.crd import CRD
from kdlib.losses.factors import FT, factor_transfer
from kdlib.losses.features import (
    AB,
    FSP,
    VID,
    FitNets,
    VIDLayer,
    activation_boundary,
    attention,
    flow,
    hint_error,
    make_attention,
    make_neuron_selectivity,
    neuron_selectivity,
)
from kdlib.losses.logits import (
    LOSSES,
    WEIGHTINGS,
    cross_entropy,
    decoupled_kl,
    dkd,
    kd,
    soft_kl,
    warm_up,
)
from kdlib.losses.regression import REGRESSION_LOSSES, squared_error
from kdlib.losses.relations import (
    CC,
    PEFD,
    correlation,
    correlation_congruence,
    cosine_distance,
    make_kernel_correlation,
    make_probability_transfer,
    make_relational,
    make_similarity,
    probability_transfer,
    relational,
    similarity,
)
from kdlib.losses.reshape import REFERENCE_SETTINGS, RESHAPES, Reshaped, class_std, logit_loss

__all__ = [
    "AB",
    "CC",
    "CRD",
    "FEATURE_LOSSES",
    "FSP",
    "FT",
    "FeatureLoss",
    "FitNets",
    "LOSSES",
    "PEFD",
    "REFERENCE_SETTINGS",
    "REGRESSION_LOSSES",
    "RESHAPES",
    "Reshaped",
    "VID",
    "VIDLayer",
    "WEIGHTINGS",
    "activation_boundary",
    "attention",
    "class_std",
    "correlation",
    "correlation_congruence",
    "cosine_distance",
    "cross_entropy",
    "decoupled_kl",
    "dkd",
    "factor_transfer",
    "flow",
    "hint_error",
    "kd",
    "logit_loss",
    "neuron_selectivity",
    "probability_transfer",
    "relational",
    "similarity",
    "soft_kl",
    "squared_error",
    "warm_up",
]

# Tuned weights: RepDistiller's run_cifar_distill.sh; PEFD's: its authors' code. The paper's weight is 1 for all
# (Distilling the Knowledge in Data Pruning, Table 1), at which AT, SP and PKT hardly act.
FEATURE_LOSSES: dict[str, FeatureLoss] = {
    "fitnets": FeatureLoss(FitNets, tuned_beta=100.0),
    "at": FeatureLoss(make_attention, tuned_beta=1000.0),
    "sp": FeatureLoss(make_similarity, tuned_beta=3000.0),
    "cc": FeatureLoss(CC, tuned_beta=0.02),
    "cc_kernel": FeatureLoss(make_kernel_correlation, tuned_beta=0.02),
    "vid": FeatureLoss(VID, tuned_beta=1.0),
    "rkd": FeatureLoss(make_relational, tuned_beta=1.0),
    "pkt": FeatureLoss(make_probability_transfer, tuned_beta=30000.0),
    "ab": FeatureLoss(AB, tuned_beta=1.0, preact=True),
    "ft": FeatureLoss(FT, tuned_beta=200.0),
    "fsp": FeatureLoss(FSP, tuned_beta=50.0),
    "nst": FeatureLoss(make_neuron_selectivity, tuned_beta=50.0),
    "crd": FeatureLoss(CRD, tuned_beta=0.8),
    "pefd": FeatureLoss(PEFD, tuned_beta=25.0),
}
