import pytest

from bench.errors import WrongUsage
from bench.requirements import Level, all_requirement_ids, load_catalogue, releases


@pytest.mark.parametrize(
    ("release", "musts", "shoulds"), [("1.33", 8, 1), ("1.34", 9, 0), ("1.35", 9, 3), ("1.36", 8, 6), ("1.37", 8, 7)]
)
def test_each_version_has_the_number_of_requirements_that_the_programme_has(release, musts, shoulds):
    levels = [each.level for each in load_catalogue(release).requirements]

    assert (levels.count(Level.MUST), levels.count(Level.SHOULD)) == (musts, shoulds)


def test_a_requirement_belongs_to_a_version_too():
    assert load_catalogue("1.33").find("dra_support").level is Level.SHOULD
    assert load_catalogue("1.34").find("dra_support").level is Level.MUST
    assert load_catalogue("1.36").find("dra_support") is None
    assert load_catalogue("1.37").find("workload_sandboxing").category == "security"


def test_every_requirement_of_every_version_has_a_meaning_and_every_meaning_a_version():
    used = {each.id for release in releases() for each in load_catalogue(release).requirements}

    assert used == all_requirement_ids()
    assert releases() == ("1.33", "1.34", "1.35", "1.36", "1.37")
    assert all(each.meaning for each in load_catalogue("1.37").requirements)


def test_a_version_that_is_not_known_is_refused_with_those_that_are():
    with pytest.raises(WrongUsage, match=r"1\.33, 1\.34"):
        load_catalogue("1.12")


def test_conditional_requirements_are_marked():
    conditional = {each.id for each in load_catalogue("1.37").requirements if each.is_conditional}

    assert conditional == {"high_performance_networking", "cluster_autoscaling", "pod_autoscaling"}
