"""How a network is trained: recipe, loop, evaluation, batched models, logit cache, reference runs."""
