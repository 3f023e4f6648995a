"""The detector on KITTI's sweeps: targets and back, losses, changed frames, training that stops and goes on, results."""

import dataclasses
import functools
import json
import signal

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from rich.console import Console

from experiments.__main__ import main
from experiments.data import kitti
from experiments.detection import evaluate as evaluation
from experiments.detection import trainer
from experiments.detection.config import FramesConfig, checked
from experiments.detection.frames import (
    Frames,
    changed,
    coarser,
    flat,
    mirrored,
    read_scene,
    turned,
)
from experiments.detection.network import build_detector
from experiments.detection.step import detection_loss, image, mask_loss
from experiments.detection.targets import centres, decode, encode
from experiments.errors import ConfigError, UserError
from experiments.train import Interrupted
from experiments.train.metrics import read_metrics
from jaxsparse.data import BirdsEyeGrid
from tests.experiments.detection_kit import CALIBRATION, SMALL, small_detector, write_frames
from tests.shared_data import shared_data

GRID = BirdsEyeGrid((0.0, 20.0), (-10.0, 10.0), cell=0.25)
SHAPE = (40, 40)  # half a metre a pixel


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    return write_frames(tmp_path_factory.mktemp("kitti"))


# --- targets -----------------------------------------------------------------------------------------------------------


def maps_of(targets, logit=4.0):
    """What a network says that has learned the targets."""
    return {
        "classes": np.where(targets.found == 1, logit, -9.0)[..., None],
        "boxes": targets.boxes,
        "orientations": targets.orientations,
    }


def test_boxes_come_back_from_their_targets():
    boxes = np.array(
        [[5.0, 0.1, 4.2, 1.7, 0.4], [12.0, -5.0, 3.5, 1.6, -1.2], [15.3, 6.1, 0.3, 0.3, 0.0]]
    )
    targets = encode(boxes, np.zeros((0, 5)), GRID, SHAPE, core=0.7)
    found = decode(maps_of(targets), GRID, score=0.5, overlap=0.1, most=100)
    assert len(found) == 3 and (found.scores > 0.98).all()
    order = np.argsort(found.boxes[:, 0])
    np.testing.assert_allclose(found.boxes[order], boxes, atol=1e-5)


def test_targets_by_hand():
    """A box of 4 x 2 m along x about the corner of four pixels, another whose pixels are left open."""
    ignored = np.array([[15.0, -5.0, 2.0, 2.0, 0.0]])
    targets = encode(np.array([[5.0, 0.0, 4.0, 2.0, 0.0]]), ignored, GRID, SHAPE, core=0.5)
    x, y = centres(GRID, SHAPE)
    inner = (abs(x - 5) <= 1) & (abs(y) <= 0.5)
    outer = (abs(x - 5) <= 2) & (abs(y) <= 1) | (abs(x - 15) <= 1) & (abs(y + 5) <= 1)
    np.testing.assert_array_equal(targets.found, np.where(inner, 1, np.where(outer, np.nan, 0)))
    assert inner.sum() == 8
    pixel = targets.boxes[20, 10]  # centre at (5.25, 0.25)
    np.testing.assert_allclose(pixel, [-0.25, -0.25, np.log(4 / 3.9), np.log(2 / 1.6)], atol=1e-6)
    np.testing.assert_array_equal(targets.orientations[20, 10], [1, 0])
    assert not targets.boxes[~inner].any() and not targets.orientations[~inner].any()


def test_no_box_is_found_where_scores_are_low():
    targets = encode(np.array([[5.0, 0.0, 4.0, 2.0, 0.0]]), np.zeros((0, 5)), GRID, SHAPE, core=0.5)
    maps = maps_of(targets, logit=np.log(0.3 / 0.7))
    assert len(decode(maps, GRID, score=0.31, overlap=0.1, most=9)) == 0
    assert len(decode(maps, GRID, score=0.29, overlap=0.1, most=9)) == 1


def test_coarser():
    mask = np.zeros((5, 4), bool)
    mask[4, 1] = True
    assert coarser(mask, 3).tolist() == [[False, False], [True, False]]


# --- losses ------------------------------------------------------------------------------------------------------------


def test_losses_are_those_of_plain_loops(rng):
    how = small_detector(loss={"box_weight": 2.0}).loss
    found = rng.choice([0, 1, np.nan], (2, 3, 4), p=[0.5, 0.3, 0.2]).astype(np.float32)
    maps = {
        name: rng.normal(size=(2, 3, 4, n)).astype(np.float32)
        for name, n in (("classes", 1), ("boxes", 4), ("orientations", 2))
    }
    batch = {
        "found": found,
        "boxes": rng.normal(size=(2, 3, 4, 4)).astype(np.float32),
        "orientations": rng.normal(size=(2, 3, 4, 2)).astype(np.float32),
    }
    wanted = {"classes": 0.0, "boxes": 0.0, "orientations": 0.0}
    for at in np.ndindex(found.shape):
        if np.isnan(found[at]):
            continue
        p = 1 / (1 + np.exp(-float(maps["classes"][at][0])))
        right, share = (p, how.alpha) if found[at] else (1 - p, 1 - how.alpha)
        wanted["classes"] -= share * (1 - right) ** how.gamma * np.log(right)
        for name, weight in (("boxes", 2.0), ("orientations", 1.0)):
            if found[at]:
                d = abs(maps[name][at].astype(float) - batch[name][at])
                wanted[name] += weight * np.where(d < 1, d**2 / 2, d - 0.5).sum()
    count = (found == 1).sum()
    for name, value in jax.jit(lambda maps: detection_loss(maps, batch, how))(maps).items():
        assert float(value) == pytest.approx(wanted[name] / count, rel=1e-5)


def test_mask_loss_by_hand():
    how = small_detector().model.mask
    logits = jnp.array([[[2.0, -1.0]]])
    terms = np.log1p(np.exp([-2.0, -1.0])) * [4, 1]
    found = jax.jit(lambda logits: mask_loss(logits, np.array([[[1.0, 0.0]]]), how))(logits)
    assert float(found) == pytest.approx(terms.sum() / 5)


# --- frames ------------------------------------------------------------------------------------------------------------


def test_what_the_camera_sees():
    points = np.array(
        [
            [1, 0, 0],
            [1, 1.03, 0],
            [1, 1.04, 0],
            [1, -1.1, 0],
            [2, 2, 0],
            [1, 0, 0.63],
            [1, 0, 0.62],
            [-1, 0, 0],
        ]
    )
    matrix = np.array([[621, -600, 0, 0], [187, 0, -300, 0], [1, 0, 0, 0], [0, 0, 0, 1.0]])
    assert kitti.in_image(points, matrix).tolist() == [
        True,
        True,
        False,
        False,
        True,
        False,
        True,
        False,
    ]


def test_the_projection_is_that_of_the_file(tmp_path):
    (tmp_path / "c.txt").write_text(CALIBRATION)
    found = kitti.read_projection(tmp_path / "c.txt")
    np.testing.assert_allclose(
        found, [[621, -600, 0, 0], [187, 0, -300, 0], [1, 0, 0, 0], [0, 0, 0, 1]]
    )


def test_a_scene(root):
    """Cars are found, trucks ignored, pedestrians neither; what the camera does not see is gone."""
    scene = read_scene(small_detector(root).data, "000001")
    np.testing.assert_allclose(scene.boxes, [[9, 1, -0.95, 4, 1.6, 1.5, 0.3]], atol=1e-6)
    assert len(scene.ignored) == 1 and scene.points[:, 0].min() > 0
    assert kitti.points_in_box(scene.points, scene.boxes[0]).sum() == 200
    many = small_detector(root, data={**SMALL["data"], "least_points": 201})
    assert len(read_scene(many.data, "000001").boxes) == 0


def test_points_move_with_their_boxes(root):
    scene = read_scene(small_detector(root).data, "000001")
    for points, boxes in (
        turned(scene.points, scene.boxes, 0.7),
        mirrored(scene.points, scene.boxes),
    ):
        assert not np.allclose(points, scene.points)
        assert (
            kitti.points_in_box(points, boxes[0] + np.array([0, 0, 0, 1e-4, 1e-4, 1e-4, 0])).sum()
            == 200
        )


def test_changed_frames(root):
    """Copies hold the points of what they copy; the same draw gives the same frame."""
    config = small_detector(root, data={**SMALL["data"], "augment": {"copies": 3, "scale": 0.0}})
    scenes = Frames(config, (16, 16)).train
    first, again, other = (
        changed(scenes[0], scenes, config.data, np.random.default_rng(n)) for n in (1, 1, 2)
    )
    np.testing.assert_array_equal(first.points, again.points)
    assert not np.array_equal(first.points, other.points)
    counts = [len(frame.boxes) for frame in (first, other)]
    assert max(counts) > 1
    for frame in (first, other):
        everything = np.concatenate([frame.boxes, frame.ignored])
        for box in frame.boxes:
            grown = box + np.array([0, 0, 0, 1e-3, 1e-3, 1e-3, 0])
            assert kitti.points_in_box(frame.points, grown).sum() == 200
            assert np.hypot(*box[:2]) == pytest.approx(np.hypot(9, 1))
        assert len(everything) >= 2


def test_batches_go_on_where_they_were(root):
    frames = Frames(small_detector(root), (16, 16))
    batches = frames.batches()
    next(batches)
    position = batches.get_state()
    wanted = next(batches)
    again = frames.batches()
    again.set_state(position)
    jax.tree.map(np.testing.assert_array_equal, next(again), wanted)
    assert wanted["image"].shape == (1, 32, 32, 6) and wanted["mask"].shape == (1, 8, 8)


def test_real_frames():
    root = shared_data("kitti")
    config = FramesConfig(root=root, train=("000008",), test=("007347",), kinds=("Car",))
    scene = read_scene(config, "000008")
    assert len(scene.boxes) == 6 and 15000 < len(scene.points) < 20000
    assert all(kitti.points_in_box(scene.points, box).sum() > 50 for box in scene.boxes)
    assert len(read_scene(config, "007347").boxes) > 0  # of velodyne_fov/


# --- training ----------------------------------------------------------------------------------------------------------


def quiet():
    return Console(quiet=True)


@pytest.fixture(scope="module", autouse=True)
def _made_once():
    """Runs and evaluations of one configuration share the executables; each has a state and frames of its own."""

    @functools.cache
    def made(text):
        steps, frames = load_steps(checked(json.loads(text), "test"))
        return steps, frames.output_shape

    def shared(config):
        steps, shape = made(config.model_dump_json())
        # On a device by name, as what a checkpoint holds will be: jit would compile again.
        state = jax.device_put(jax.tree.map(jnp.copy, steps.state), jax.devices()[0])
        return dataclasses.replace(steps, state=state), Frames(config, shape)

    load_steps = trainer.load_steps
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(trainer, "load_steps", shared)
        patch.setattr(evaluation, "load_steps", shared)
        yield


def without_mask_loss(root):
    """What the mask network learns comes from the detector."""
    return small_detector(root, model={"mask": {**SMALL["model"]["mask"], "weight": 0.0}})


@pytest.fixture(scope="module")
def trained(root, tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs") / "whole"
    return folder, trainer.train(without_mask_loss(root), folder, console=quiet())


def arrays_of(run_dir):
    _, _, _, model = evaluation.load_trained(run_dir)
    return nnx.to_pure_dict(nnx.state(model))


def test_the_detectors_loss_reaches_the_mask_network(root, trained):
    """Through the straight-through mask, in the two steps that are block-sparse, and through nothing else."""
    model = build_detector(without_mask_loss(root))
    before = nnx.to_pure_dict(nnx.state(model.mask_network, nnx.Param))
    after = arrays_of(trained[0])["mask_network"]
    for name in ("stem", "fusion", "logits"):
        moved = np.abs(np.asarray(after[name]["kernel"]) - before[name]["kernel"]).max()
        assert 1e-5 < moved < 0.1, name


def test_a_run_stops_and_goes_on_to_the_same_bits(root, trained, tmp_path, monkeypatch):
    whole, result = trained
    config, original = without_mask_loss(root), trainer._Run.advance

    def advance(run):
        original(run)
        if run.step == 3:
            signal.raise_signal(signal.SIGINT)

    monkeypatch.setattr(trainer._Run, "advance", advance)
    with pytest.raises(Interrupted) as stop:
        trainer.train(config, tmp_path / "parts", console=quiet())
    assert stop.value.step == 3
    assert main(["detector", "train", "x.yaml", "--resume"]) == 2
    again = trainer.train(config, tmp_path / "parts", resume=True, console=quiet())
    assert again["steps"] == result["steps"] == 4
    jax.tree.map(np.testing.assert_array_equal, arrays_of(tmp_path / "parts"), arrays_of(whole))
    lines = [read_metrics(folder / "metrics.jsonl") for folder in (whole, tmp_path / "parts")]
    tests = [[line for line in part if line["kind"] == "test"] for part in lines]
    assert tests[0] == tests[1] and [line["step"] for line in tests[0]] == [2, 4]
    assert [line["sparse"] for line in lines[0] if line["kind"] == "train"] == [0, 0, 1, 1]


def test_a_run_of_another_configuration_is_not_continued(root, trained):
    folder, _ = trained
    with pytest.raises(UserError, match="model, loss changed since"):
        trainer.train(
            small_detector(root, loss={"gamma": 1.0}), folder, resume=True, console=quiet()
        )
    with pytest.raises(UserError, match="holds a run already"):
        trainer.train(small_detector(root), folder, console=quiet())


def test_evaluation(trained, tmp_path):
    folder, _ = trained
    output = tmp_path / "result.json"
    assert (
        main(
            [
                "detector",
                "evaluate",
                str(folder),
                "--repeats",
                "1",
                "--result",
                str(output),
                "detect.score=0.001",
            ]
        )
        == 0
    )
    result = json.loads(output.read_text())
    assert result["config"]["data"]["root"] is None and str(folder) not in output.read_text()
    frames = {row["frame"]: row for row in result["frames"]}
    assert {name: row["split"] for name, row in frames.items()} == {
        "000001": "train",
        "000002": "test",
    }
    for row in frames.values():
        assert len(row["boxes"]) == 1 == row["sparse"]["found"] + row["sparse"]["missed"]
        for twin in ("sparse", "dense"):
            assert (
                row[twin]["found"] + row[twin]["false"]
                == len(row[twin]["boxes"])
                == len(row[twin]["scores"])
            )
        assert (
            set(row["seconds"]) == {"dense", "sparse", "mask"} and min(row["seconds"].values()) > 0
        )
        assert row["both"]["same"] <= len(row["sparse"]["boxes"])
    page = tmp_path / "page.md"
    trained_result = str(folder / "result.json")
    assert main(["detector", "page", trained_result, str(output), "--output", str(page)]) == 0
    text = page.read_text()
    assert "| 000001 | trained on | 1 |" in text and "| 000002 | new | 1 |" in text
    assert main(["detector", "page", str(output), str(output), "--output", str(page)]) == 2


def test_the_twins_agree_where_every_block_is_active(root, trained):
    """The same weights, the same maps: with a mask of ones and room for all blocks."""
    folder, _ = trained
    _, config, frames, model = evaluation.load_trained(folder, ("model.density=1.0",))
    model.mask_network.logits.bias[...] = jnp.full(1, 100.0)
    runner = evaluation.Runner(model, config)
    (_, batch), *_ = frames.each(frames.test)
    found, dense = runner.both(image(batch))
    for name, wanted in dense.items():
        np.testing.assert_allclose(found.maps[name], wanted, rtol=1e-4, atol=1e-4)


def test_pictures(trained, tmp_path):
    folder, _ = trained
    path = tmp_path / "frame.png"
    assert main(["detector", "draw", str(folder), "--frame", "000002", "--output", str(path)]) == 0
    assert path.read_bytes()[1:4] == b"PNG"
    assert main(["detector", "draw", str(folder), "--frame", "000009", "--output", str(path)]) == 2


@pytest.mark.parametrize(
    ("sections", "message"),
    [
        ({"data": {**SMALL["data"], "test": ["000001"]}}, "000001 would be trained on and tested on"),
        ({"data": {**SMALL["data"], "cell": 0.3}}, "whole number of cells"),
        ({"data": {**SMALL["data"], "rot": 1}}, "unknown key 'data.rot'"),
        ({"model": {**SMALL["model"], "density": 0.0}}, "'model.density'"),
    ],
)  # fmt: skip
def test_configurations_that_are_refused(sections, message):
    with pytest.raises(ConfigError, match=message):
        small_detector(None, **sections)


def test_a_network_that_there_is_not():
    config = small_detector(None, model={**SMALL["model"], "units": [1]})
    with pytest.raises(ConfigError, match="model: BlockDetector: units"):
        build_detector(config)


def test_ignored_boxes_are_flat():
    assert flat(np.arange(7.0)[None]).tolist() == [[0, 1, 3, 4, 6]]
