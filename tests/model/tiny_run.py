"""A training run of seconds, which tests change to their ends."""

from __future__ import annotations

from pathlib import Path

from ossicle.data.augment import AugmentConfig
from ossicle.data.datamodule import DataConfig, TrainSet
from ossicle.data.spectral import Equalizer, SpecAugment, VocalTractWarp
from ossicle.model.config import ModelConfig, NetworkConfig
from ossicle.model.training.config import OptimConfig, TrainingConfig

TINY = ModelConfig(network=NetworkConfig(channels=4, hidden=32, layers=2, lookahead=2, dropout=0.1))


def configuration(manifest: Path, **changes) -> TrainingConfig:
    return TrainingConfig(
        data=DataConfig(
            train=(TrainSet(manifest),),
            validation=(manifest,),
            cache=manifest.parent / "cache",
            batch_seconds=4,
            workers=0,
        ),
        optim=OptimConfig(steps=14, warmup_steps=4, learning_rate=3e-3),
        model=TINY,
        augment=AugmentConfig(noise_probability=0),
        vocal_tract=VocalTractWarp(),
        equalizer=Equalizer(),
        spec_augment=SpecAugment(),
        precision="32-true",
        checkpoint_every=3,
        leaks=None,  # what a few steps learn shows on what they were trained on
        **changes,
    )
