"""Console commands of models."""
