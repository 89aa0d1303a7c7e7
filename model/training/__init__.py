"""Training runs: configuration, Lightning module, optimiser, record."""
