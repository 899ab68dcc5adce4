"""A workload of your own: benign or malignant, told from 30 measurements of cell nuclei."""

import numpy as np
from sklearn.datasets import load_breast_cancer
from torch import nn

from workers.workloads import Dataset, Split, Workload
from workers.workloads.datasets import split_examples


def load_data() -> Dataset:
    """569 examples, shuffled by a fixed seed and split 60/20/20; scaled by what the training part alone tells."""
    inputs, labels = load_breast_cancer(return_X_y=True)
    raw = split_examples(inputs.astype(np.float32), labels.astype(np.int64))
    mean, std = raw.train.inputs.mean(dim=0), raw.train.inputs.std(dim=0)
    parts = (raw.train, raw.validation, raw.test)
    train, validation, test = (Split((part.inputs - mean) / std, part.labels) for part in parts)
    return Dataset(train, validation, test, classes=2)


def build_model(data: Dataset) -> nn.Module:
    """Any module: its weights come from the study's seeds, and so do the masks of nn.Dropout."""
    features = data.train.inputs.shape[1]
    return nn.Sequential(nn.Linear(features, 16), nn.Tanh(), nn.Dropout(0.2), nn.Linear(16, 2))


workload = Workload(
    name="breast-cancer",
    title="MLP 30-16-2 with dropout on breast cancer",
    citation="data: Street, Wolberg, Mangasarian: Nuclear feature extraction, 1993; the copy in scikit-learn",
    load_data=load_data,
    build_model=build_model,
    batch_size=32,
    epochs=20,
    loss_ceiling=1000.0,
    target_error=0.03,
)
