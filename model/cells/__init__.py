"""Recurrent cells, written out from their equations."""
