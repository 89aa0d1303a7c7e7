"""Versions of the gRPC contract."""
