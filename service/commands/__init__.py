"""Console commands of the service and its clients."""
