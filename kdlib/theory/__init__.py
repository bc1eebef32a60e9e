"""Ridge regression with a teacher: closed forms, counterexamples and Monte Carlo, without torch."""
