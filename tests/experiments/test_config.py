"""Configurations: every shipped one is valid; what is wrong is named, with the nearest that exists."""

from pathlib import Path

import numpy as np
import pytest

from experiments.config import load_config
from experiments.config.yaml_loader import parse_yaml
from experiments.detection.config import load_detector
from experiments.errors import ConfigError

CONFIGS = Path(__file__).parents[2] / "configs"
MNIST = CONFIGS / "mnist.yaml"


@pytest.mark.parametrize("path", sorted(CONFIGS.glob("*.yaml")), ids=lambda path: path.stem)
def test_shipped_configurations_are_valid(path):
    # Detectors have a schema of their own.
    load = load_detector if path.stem.startswith("kitti_detector") else load_config
    assert load(path).name == path.stem


def test_overrides():
    config = load_config(
        MNIST,
        [
            "data.root=/some/where",
            "optimizer.learning_rate=1e-3",
            "model.sparse=false",
            "model.rho2=1",
        ],
    )
    assert config.data.root == Path("/some/where")
    assert config.optimizer.learning_rate == 1e-3
    assert config.model.sparse is False
    assert config.model.rho2 == 1.0


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("train.epoch=3", "unknown key 'train.epoch' (did you mean 'train.epochs'?)"),
        ("epochs=3", "unknown key 'epochs' (did you mean 'train.epochs'?)"),
        ("modle.rho1=0.1", "unknown key 'modle' (did you mean 'model'?)"),
        ("data.rot=x", "unknown key 'data.rot' (did you mean 'data.root'?)"),
        ("optimizer.lr=1", "unknown key 'optimizer.lr' (did you mean 'optimizer.learning_rate'?)"),
        ("optimizer.zzz=1", "unknown key 'optimizer.zzz' (known here: optimizer.kind,"),
        ("train.epochs=ten", "'train.epochs': input should be a valid integer, got 'ten'"),
        ("train.epochs=true", "'train.epochs': input should be a valid integer, got True"),
        ("train.epochs=0", "'train.epochs': input should be greater than or equal to 1, got 0"),
        ("model.sparse=1", "'model.sparse': input should be a valid boolean, got 1"),
        ("model.rho1=1.5", "'model.rho1': input should be less than or equal to 1, got 1.5"),
        ("model.rho1=.nan", "'model.rho1'"),
        ("model.select=abs", "'model.select': input should be 'relu', 'value' or 'magnitude'"),
        (
            "data.kind=minst",
            "data.kind must be one of 'digits', 'mnist', 'solids', 'modelnet40', 'modelnet10', 'meshes', got 'minst' (did you mean 'mnist'?)",
        ),
        ("data={}", "data.kind is missing, one of 'digits', 'mnist', 'solids'"),
        ("data=3", "'data': "),
        ("model=3", "'model' must be a section with keys of its own, got 3"),
        ("model=octnet3", "'model' must be a section with keys of its own, got 'octnet3'"),
        (
            "model.kind=octnet",
            "model.kind must be one of 'octnet3_24', 'octnet3', 's3dcnn', got 'octnet'",
        ),
        ("model.rho=0.1", "unknown key 'model.rho' (did you mean 'model.rho2'?)"),
        ("model.preset=x", "unknown key 'model.preset'"),
        ("data.scale=0", "'data.scale': input should be greater than 0"),
        ("name=a/b", "'name': string should match pattern"),
        ("train.epochs", "an override is written key=value"),
        ("=3", "an override is written key=value"),
        ("name.first=3", "needs a section, but name is a value"),
        ("seed={[1]: 2}", "is not valid YAML"),
        ("seed=" + "1" * 5000, "is not valid YAML"),
        ("train.devices=some", "'train.devices': input should be 'all', got 'some'"),
        ("optimizer.boundaries=[1, x]", "'optimizer.boundaries.1': input should be a valid number"),
        ("optimizer.nesterov=true", "'optimizer': nesterov is for sgd"),
        ("model=[", "is not valid YAML"),
    ],
)
def test_what_is_wrong_is_named(override, message):
    with pytest.raises(ConfigError) as error:
        load_config(MNIST, [override])
    assert message in str(error.value)


SOLIDS = CONFIGS / "solids.yaml"


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("data.kinds=[sphere, cube]", "'data.kinds.1': input should be 'sphere', 'box',"),
        ("data.kinds=[sphere]", "'data.kinds': tuple should have at least 2 items"),
        ("data.kinds=[cone, cone]", "kinds names one of them twice"),
        ("data.resolution=4", "'data.resolution': input should be greater than or equal to 8"),
        ("data.root=x", "unknown key 'data.root'"),
        (
            "model.densities=[0.1, 2]",
            "'model.densities.1': input should be less than or equal to 1",
        ),
        ("model={kind: octnet3, preset: a, densities: [1]}", "give preset or densities, not both"),
        ("model.densties=[0.1]", "unknown key 'model.densties' (did you mean 'model.densities'?)"),
        ("model.rho1=0.1", "unknown key 'model.rho1'"),
    ],
)
def test_what_is_wrong_with_solids_is_named(override, message):
    with pytest.raises(ConfigError) as error:
        load_config(SOLIDS, [override])
    assert message in str(error.value)


def test_every_error_is_listed():
    with pytest.raises(ConfigError) as error:
        load_config(MNIST, ["train.epoch=3", "model.rho=0.1"])
    assert len(str(error.value).splitlines()) == 2


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (None, "cannot read the configuration"),
        ("name: [", "is not a valid YAML file"),
        ("- 1", "must hold a mapping"),
        ("name: a\nname: b", "the key 'name' is given twice"),
        ("name: a", "the key 'data' is missing"),
        ("name: \xff", "is no UTF-8 text"),
    ],
)
def test_bad_files(tmp_path, text, message):
    path = tmp_path / "x.yaml"
    if text is not None:
        path.write_text(text, encoding="latin-1")
    with pytest.raises(ConfigError, match=message):
        load_config(path)


def test_yaml_as_people_mean_it(tmp_path):
    path = tmp_path / "x.yaml"
    path.write_text(
        "name: 2020-01-01\ndata: {kind: digits}\nmodel:\ntrain: {<<: {epochs: 5, batch_size: 7}, epochs: 2}\n"
    )
    config = load_config(path, ["model.rho1=1e-1"])
    assert config.name == "2020-01-01"
    assert (config.train.epochs, config.train.batch_size) == (2, 7)
    assert config.model.rho1 == 0.1


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("017", 17),
        ("+5", 5),
        ("-0", 0),
        ("1_0", "1_0"),
        ("1:30", "1:30"),
        ("0x10", "0x10"),
        ("1e3", 1000.0),
        (".5", 0.5),
        ("-1.", -1.0),
        ("-.inf", -np.inf),
        (".", "."),
        ("1.2.3", "1.2.3"),
        ("true", True),
    ],
)
def test_yaml_numbers(text, value):
    assert parse_yaml(text) == value
    assert type(parse_yaml(text)) is type(value)
