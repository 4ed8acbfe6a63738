"""Faces: what the loader makes of photographs, and what it refuses."""

import builtins

import numpy as np
import pytest
from PIL import Image

from experiments._data import load_celeba
from experiments._data.celeba import LIST

from .files import refused


def photos(folder, count=20, size=(178, 218), mode="RGB"):
    folder.mkdir(parents=True, exist_ok=True)
    for i in range(count):
        picture = Image.new(mode, size, (10 * i) if mode == "L" else (10 * i, 5, 200))
        picture.save(folder / f"{i + 1:06}.jpg", quality=95)


@pytest.mark.parametrize("place", ("celeba/img_align_celeba", "img_align_celeba", "."))
def test_faces_are_found_and_kept_small(place, tmp_path):
    photos(tmp_path / "data" / place)
    images = load_celeba(tmp_path / "data", cache=tmp_path / "cache")
    assert [part.pixels.shape for part in images[1:]] == [
        (16, 32, 32, 3),
        (2, 32, 32, 3),
        (2, 32, 32, 3),
    ]
    means = images.train.pixels.mean((1, 2))
    wanted = [[10 * i, 5, 200] for i in range(16)]
    np.testing.assert_allclose(means, wanted, atol=4)
    assert images.train.sequences().xs.shape == (16, 1024, 3)
    few = load_celeba(tmp_path / "data", 3, cache=tmp_path / "cache")
    assert [len(part.labels) for part in few[1:]] == [3, 2, 2]
    np.testing.assert_array_equal(few.test.pixels, images.test.pixels)


def test_a_face_is_the_centre_of_its_picture(tmp_path):
    picture = np.zeros((218, 178, 3), np.uint8)
    picture[35:183, 15:163] = 255
    picture[35:109, 15:89] = 0
    for i in range(10):
        Image.fromarray(picture).save(tmp_path / f"{i}.jpg", quality=100)
    images = load_celeba(tmp_path, cache=tmp_path / "cache")
    face = images.test.pixels[0, :, :, 0]
    # Three quarters are white, up to the edge, which is the crop's.
    assert face[:15, :15].max() < 10 and face[17:, 1:].min() > 245
    assert face[1:, 17:].min() > 245 and face[-1].max() > 245


def test_the_official_list_says_which_part(tmp_path):
    photos(tmp_path / "img_align_celeba", 6)
    parts = [2, 0, 0, 1, 0, 2]
    lines = [f"{i + 1:06}.jpg {part}" for i, part in enumerate(parts)]
    for place in (tmp_path, tmp_path / "img_align_celeba"):
        (place / LIST).write_text("\n".join(lines) + "\n")
        images = load_celeba(tmp_path, cache=tmp_path / "cache")
        assert [len(part.labels) for part in images[1:]] == [3, 1, 2]
        np.testing.assert_allclose(images.test.pixels[1].mean((0, 1))[0], 50, atol=4)
        (place / LIST).unlink()


@pytest.mark.parametrize(
    "text, line, fragments",
    (
        ("000001.jpg 0\n000002.jpg\n", 2, ("0, 1 or 2", "'000002.jpg'", "http")),
        ("000001.jpg 0\n000002.jpg 3\n", 2, ("'000002.jpg 3'", "http")),
        ("000001.jpg 0\n\n000003.jpg 0\n", 2, ("needs a name", "''", "http")),
        ("000001.jpg 0\n000001.jpg 0\n", 2, ("a name once", "http")),
        ("", 1, ("needs a name", "http")),
        (
            "000001.jpg 0\n000002.jpg 1\n000003.jpg 2\n000004.jpg 0\n",
            None,
            ("1 pictures, as 000004.jpg, that", "has not", "http"),
        ),
    ),
)
def test_a_malformed_list_is_refused_by_its_line(text, line, fragments, tmp_path):
    photos(tmp_path, 3)
    (tmp_path / LIST).write_text(text)
    with refused(tmp_path / LIST, *fragments, line=line):
        load_celeba(tmp_path, cache=tmp_path / "cache")


def test_what_is_no_set_of_faces_is_refused(tmp_path, monkeypatch):
    def refuse(path, *fragments):
        with refused(path, *fragments, "mmlab.ie.cuhk.edu.hk"):
            load_celeba(tmp_path, cache=tmp_path / "cache")

    refuse(tmp_path / "celeba/img_align_celeba", "needs .jpg files", "--data DIR")
    photos(tmp_path, 3)
    refuse(tmp_path / ".", "for validation; got none of 3")
    (tmp_path / LIST).write_text("000001.jpg 0\n000002.jpg 1\n")
    refuse(tmp_path / ".", "1 pictures, as 000003.jpg, that")
    (tmp_path / LIST).write_text("000001.jpg 0\n000002.jpg 1\n000003.jpg 2\n")
    (tmp_path / "000002.jpg").write_bytes(b"no picture")
    refuse(tmp_path / "000002.jpg", "cannot be read", "Get it again")
    Image.new("RGB", (178, 147)).save(tmp_path / "000002.jpg")
    refuse(tmp_path / "000002.jpg", "178 x 147 pixels", "at least 148 x 148")
    with pytest.raises(ValueError, match=r"`load_celeba\(limit=0\)` needs at least 1"):
        load_celeba(tmp_path, 0)
    whole = builtins.__import__

    def without(name, *args, **kwargs):
        if name == "PIL":
            raise ImportError(name)
        return whole(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(ValueError, match=r"`load_celeba` needs Pillow: `pip install"):
        load_celeba(tmp_path, cache=tmp_path / "cache")
