"""From scores to kept samples: windows of the difficulty ranking, class quotas, strata, and InfoBatch."""
