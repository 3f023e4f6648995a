"""Datasets and the input pipeline."""

from experiments.data.dataset import ArraySplit, Dataset, Split, load_dataset
from experiments.data.pipeline import Batch, check_batch_size, eval_batches, train_batches

__all__ = [
    "ArraySplit",
    "Batch",
    "Dataset",
    "Split",
    "check_batch_size",
    "eval_batches",
    "load_dataset",
    "train_batches",
]
