"""scikit-learn's digits as a stand-in that needs no download: a smoke test, never a result."""

import numpy as np
from scipy import ndimage
from sklearn import datasets

from experiments.config import DigitsConfig
from experiments.data.dataset import ArraySplit, Dataset

SIZE = 28
TEST_SHARE = 5  # every fifth image


def load_digits(config: DigitsConfig) -> Dataset:
    """1,797 digits of 8x8 pixels, upsampled to 28x28 and thresholded; every fifth is for testing."""
    features, labels = datasets.load_digits(return_X_y=True)
    images = np.asarray(features).reshape(-1, 8, 8)
    labels = np.asarray(labels, np.int32)
    # Linear interpolation stays within the range of the pixels, 0..16.
    zoom = SIZE / images.shape[1]
    large = np.asarray(
        ndimage.zoom(images, (1, zoom, zoom), order=1, mode="grid-constant", grid_mode=True)
    )
    pixels = np.clip(np.rint(large * (255 / 16)), 0, 255)
    pixels = np.where(pixels < config.threshold, 0, pixels).astype(np.uint8)[..., None]
    test = np.arange(len(labels)) % TEST_SHARE == 0
    return Dataset(
        "digits",
        train=ArraySplit(pixels[~test], labels[~test], config.scale),
        test=ArraySplit(pixels[test], labels[test], config.scale),
        class_names=tuple("0123456789"),
        smoke_test=True,
    )
