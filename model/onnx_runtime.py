"""ONNX Runtime, which reports nothing to anybody: the one place that imports it."""

from __future__ import annotations

from ossicle.data import onnx_telemetry

onnx_telemetry.switch_off()

import onnxruntime as ort  # noqa: E402 (it decides when it is loaded whether it reports)

# The program that we are a library of may have loaded it before.
ort.disable_telemetry_events()

__all__ = ["ort"]
