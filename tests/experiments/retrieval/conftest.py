import pytest

from tests.experiments.retrieval.clouds_folder import write_clouds


@pytest.fixture(scope="session")
def clouds(tmp_path_factory):
    """A folder with clouds of three kinds of bodies."""
    return write_clouds(tmp_path_factory.mktemp("clouds"))
