"""The 1,797 digits of 8x8 pixels that come with scikit-learn: real images without a download.

They are the test part of the UCI optical digits data (Alpaydin and Kaynak, 1998), pixel values
0 to 16. Nobody published a split of this part. Ours is a choice: the last 360 images are the
test images. The order is the publisher's, in which images by one writer stand together, so
that a tail keeps training and test writers apart (but for the one at the border) where a
shuffled split would mix them.
"""

import numpy as np

from nn_graphs.datasets.images import ImageDataset

NUM_TEST = 360


def read_digits() -> ImageDataset:
    """The digits: images `[1797, 8, 8, 1]`, of which the first 1,437 are for training."""
    from sklearn.datasets import load_digits  # slow to import, and seldom needed

    digits = load_digits()
    return ImageDataset(
        name="digits",
        images=digits.images[..., None].astype(np.uint8),
        labels=digits.target.astype(np.int64),
        num_train=len(digits.images) - NUM_TEST,
        max_value=16,
        class_names=tuple(str(digit) for digit in range(10)),
    )
