"""Audio, text and manifests: everything that turns recordings into training batches."""
