"""The images of `make image`, and one MiniStack for all their tests."""

from collections.abc import Iterator

import pytest

from deploy.image import unmount
from tests.support.driven.container import Image, mounted
from tests.support.emulators.aws import Emulator, ministack


@pytest.fixture(scope="session")
def aws() -> Iterator[Emulator]:
    with ministack() as emulator:
        yield emulator


@pytest.fixture(scope="session", autouse=True)
def storage() -> Iterator[None]:
    """Unmounts all images at the end."""
    yield
    unmount()


@pytest.fixture(scope="session")
def consumer_image() -> Iterator[Image]:
    with mounted("consumer") as image:
        yield image


@pytest.fixture(scope="session")
def lambda_image() -> Iterator[Image]:
    with mounted("lambda") as image:
        yield image
