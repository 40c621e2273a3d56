"""Two tripoints as processes, with the link between them cut, and each of them killed."""

from collections.abc import Iterator

import pytest
from tests.interop import parted
from tests.interop.two_servers import World, tripoints

pytestmark = pytest.mark.interop

both_ways = pytest.mark.parametrize("home", ("one",))
versions = pytest.mark.parametrize("version", ("10", "12"))
# One for each algorithm of state resolution.
algorithms = pytest.mark.parametrize("version", ("1", "10", "12"))


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with tripoints(tmp_path_factory.mktemp("links"), "one", "two") as made:
        yield made


@both_ways
@algorithms
def test_what_both_did_while_they_were_parted_becomes_one_room(world: World, home: str, version: str) -> None:
    world.run(parted.what_both_did_while_they_were_parted_becomes_one_room(world, home, version))


@both_ways
@versions
def test_a_demotion_that_crosses_with_what_the_demoted_does(world: World, home: str, version: str) -> None:
    world.run(parted.a_demotion_that_crosses_with_what_the_demoted_does(world, home, version))


@both_ways
def test_a_long_silence_is_caught_up_with(world: World, home: str) -> None:
    world.run(parted.a_long_silence_is_caught_up_with(world, home))


@pytest.mark.parametrize("killed", ("one", "two"))
@both_ways
def test_one_is_killed_while_both_speak(world: World, home: str, killed: str) -> None:
    world.run(parted.one_is_killed_while_both_speak(world, home, killed))
