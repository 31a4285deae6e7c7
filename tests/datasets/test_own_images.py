"""Images of a user's own: folders and arrays, in the place of a data set's name."""

import numpy as np
import pytest
from PIL import Image

from nn_graphs.datasets import are_known, load_images
from nn_graphs.datasets.own_images import TEST_EVERY

PIXELS = np.arange(12 * 4 * 5, dtype=np.uint8).reshape(12, 4, 5)


def write(folder, names, *, pixels=PIXELS, mode="L"):
    for name, own in zip(names, pixels, strict=False):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(own).convert(mode).save(path)
    return str(folder)


def test_a_folder_by_class_has_tests_drawn_once(tmp_path):
    names = [f"{'cat' if n % 2 else 'ant'}/{n:02}.png" for n in range(12)]
    path = write(tmp_path / "pets", names)
    images = load_images(path)
    assert are_known(path)
    assert (images.name, images.class_names) == ("pets", ("ant", "cat"))
    assert images.images.shape == (12, 4, 5, 1)
    assert images.num_train == 12 - 12 // TEST_EVERY
    place = {own.tobytes(): n % 2 for n, own in enumerate(PIXELS)}
    assert [place[own.tobytes()] for own in images.images] == images.labels.tolist()
    assert load_images(path).fingerprint == images.fingerprint
    Image.fromarray(PIXELS[0] + 1).save(tmp_path / "pets" / names[0])
    assert load_images(path).fingerprint != images.fingerprint


def test_folders_of_splits_and_color(tmp_path):
    names = ["test/b/0.png", "train/a/1.png", "train/b/2.png"]
    images = load_images(write(tmp_path / "own", names, mode="RGB"))
    assert images.images.shape == (3, 4, 5, 3)
    assert images.num_train == 2
    assert images.labels.tolist() == [0, 1, 1]
    np.testing.assert_array_equal(images.images[2, ..., 0], PIXELS[0])


def test_images_alone_are_of_one_class(tmp_path):
    images = load_images(write(tmp_path / "own", ["0.png", "1.png"]))
    assert (images.class_names, images.labels.tolist()) == (("image",), [0, 0])


def test_arrays(tmp_path):
    np.savez(
        tmp_path / "own.npz",
        images=PIXELS,
        labels=np.array(["x", "y", "z"] * 4),
        is_test=np.arange(12) < 2,
    )
    images = load_images(str(tmp_path / "own.npz"))
    assert images.num_train == 10
    np.testing.assert_array_equal(images.images[..., 0], np.roll(PIXELS, -2, axis=0))
    assert images.labels.tolist() == [2, 0, 1] * 3 + [2] + [0, 1]
    np.save(tmp_path / "shares.npy", PIXELS / 255)
    shares = load_images(str(tmp_path / "shares.npy"))
    assert {own.tobytes() for own in shares.images} == {own.tobytes() for own in PIXELS}


@pytest.mark.parametrize(
    ("arrays", "found"),
    [
        ({"pictures": PIXELS}, "it holds pictures, no array images"),
        ({"images": PIXELS[0]}, r"its images are [4, 5]"),
        ({"images": PIXELS.astype(np.int64)}, "of int64, from 0 to 239"),
        ({"images": PIXELS * np.nan}, "of float64, from nan to nan"),
        ({"images": PIXELS, "labels": np.arange(3)}, "labels is [3] of int64, of 12 images"),
        ({"images": PIXELS, "is_test": np.arange(12)}, "is_test is [12] of int64"),
        ({"images": np.array([None])}, "it is no file of arrays"),
    ],
)
def test_arrays_that_are_no_images(tmp_path, raises_saying, arrays, found):
    path = tmp_path / "own.npz"
    np.savez(path, **arrays)
    with raises_saying(asked="own.npz", found=found, do="Give"):
        load_images(str(path))


def test_folders_that_are_no_images(tmp_path, raises_saying):
    with raises_saying(asked="none", found="nothing is there", do="Give a folder"):
        load_images(str(tmp_path / "none"))
    (tmp_path / "empty").mkdir()
    with raises_saying(asked="empty", found="no images", do="Give a folder"):
        load_images(str(tmp_path / "empty"))
    mixed = write(tmp_path / "mixed", ["train/a/0.png", "a/1.png"])
    with raises_saying(asked="mixed", found="a/1.png is in none of its folders", do="Give"):
        load_images(mixed)
    sizes = write(tmp_path / "sizes", ["0.png"])
    write(tmp_path / "sizes", ["1.png"], pixels=[PIXELS[0, :2]])
    with raises_saying(asked="sizes", found="0.png has 5 x 4 pixels, 1.png 5 x 2", do="Scale"):
        load_images(sizes)
    (tmp_path / "empty" / "no.png").write_bytes(b"text")
    with raises_saying(asked="no.png", found="no image", do="delete it"):
        load_images(str(tmp_path / "empty"))
