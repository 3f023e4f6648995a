"""Pictures of voxels: which faces are seen, in which order, and that something is painted."""

import base64
import io

import numpy as np

from experiments.figures.renders import pack, unpack
from experiments.retrieval.cubes import picture, view, visible_faces


def test_faces_of_one_cube_and_of_two():
    corners, across, owner = visible_faces(np.array([[3, 4, 5]]))
    assert corners.shape == (3, 4, 2) and sorted(across) == [0, 1, 2] and set(owner) == {0}
    # Of two cubes side by side the face between them is seen of neither.
    for axis in range(3):
        pair = np.array([[3, 4, 5]] * 2)
        pair[1, axis] += 1
        _, across, owner = visible_faces(pair)
        assert len(across) == 5 and (across == axis).sum() == 1
        towards, _ = view()
        nearer = 1 if towards[axis] > 0 else 0
        assert owner[across == axis].tolist() == [nearer]


def test_a_face_has_the_corners_of_its_cube():
    towards, axes = view()
    corners, across, _ = visible_faces(np.array([[0, 0, 0]]))
    all_corners = np.array(np.meshgrid([0, 1], [0, 1], [0, 1])).reshape(3, 8).T
    for face, axis in zip(corners, across, strict=True):
        plane = 1 if towards[axis] > 0 else 0
        wanted = all_corners[all_corners[:, axis] == plane] @ axes.T
        np.testing.assert_allclose(sorted(map(tuple, face)), sorted(map(tuple, wanted)), atol=1e-12)


def test_nothing_is_painted_over_what_is_nearer(rng):
    """A cube comes behind all that are at least as far in every dimension: it can hide them, they cannot hide it."""
    coords = rng.integers(0, 5, (60, 3))
    coords = np.unique(coords, axis=0)
    _, _, owner = visible_faces(coords)
    place = {int(voxel): number for number, voxel in enumerate(owner)}
    signs = np.sign(view()[0]).astype(int)
    for one in place:
        for other in place:
            if one != other and ((coords[one] - coords[other]) * signs >= 0).all():
                assert place[one] > place[other]


def test_pictures():
    from matplotlib.image import imread

    cube = np.argwhere(np.ones((4, 4, 4)))
    image = imread(io.BytesIO(picture(cube, 60)))
    assert image.shape == (60, 60, 4)
    assert 0.3 < (image[..., 3] > 0.5).mean() < 1
    assert imread(io.BytesIO(picture(np.zeros((0, 3), int), 60)))[..., 3].max() == 0


def test_packed_voxels_come_back(rng):
    coords = np.argwhere(rng.random((7, 7, 7)) < 0.2)
    text = pack(coords, 7)
    base64.b64decode(text, validate=True)
    np.testing.assert_array_equal(unpack(text, 7), coords)
