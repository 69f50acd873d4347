import sys
import textwrap

import pytest

import bench
from bench.errors import BadDeclaration, BadParameter, UnknownScenario, WrongUsage
from bench.registry import Registry, discover, scenario


class Sound:
    def needs(self):
        return ()

    def run(self, rig):
        yield from ()

    def checks(self):
        return ()


def declare(cls, scenario_id="half-a-gang", requirement="gang_scheduling"):
    registry = Registry()
    return scenario(scenario_id, requirement=requirement, registry=registry)(cls), registry


class Gang(Sound):
    """
    A gang starts whole or not at all.

    More is said here.
    """

    pods: int = 4
    wait_seconds: float = 30.0
    is_strict: bool = False
    name: str = "gang"
    rates: tuple[float, ...] = (1.0, 2.5)


def test_a_sound_scenario_registers_with_its_claim_and_parameters():
    _, registry = declare(Gang)
    declaration = registry.get("half-a-gang")

    assert declaration.claim == "A gang starts whole or not at all."
    assert [(each.name, each.kind, each.default) for each in declaration.parameters] == [
        ("pods", "int", "4"),
        ("wait_seconds", "float", "30"),
        ("is_strict", "bool", "false"),
        ("name", "str", "gang"),
        ("rates", "list of float", "1,2.5"),
    ]
    assert "test_registry.py:" in declaration.place
    assert len(registry) == 1
    assert [each.id for each in registry] == ["half-a-gang"]


@pytest.mark.parametrize("wrong", ["Gang", "half_a_gang", "-gang", "gang-", "half--gang", ""])
def test_an_id_that_is_not_kebab_case_is_refused_with_the_place(wrong):
    with pytest.raises(BadDeclaration, match=r"test_registry\.py:\d+: Gang: the id"):
        declare(Gang, scenario_id=wrong)


def test_a_requirement_that_no_version_has_is_refused_with_the_nearest():
    with pytest.raises(BadDeclaration, match="did you mean 'gang_scheduling'"):
        declare(Gang, requirement="gang_schedulling")


def test_a_scenario_without_docstring_is_refused():
    class Silent(Sound):
        pass

    Silent.__doc__ = None
    with pytest.raises(BadDeclaration, match="no docstring"):
        declare(Silent)


def test_a_scenario_without_checks_is_refused():
    class Unchecked:
        """Claims much."""

        def needs(self): ...
        def run(self, rig): ...

    with pytest.raises(BadDeclaration, match="lacks checks"):
        declare(Unchecked)


def test_a_parameter_without_type_or_default_or_of_an_odd_type_is_refused():
    class Untyped(Sound):
        """Claim."""

        pods = 4

    class Open(Sound):
        """Claim."""

        pods: int

    class Odd(Sound):
        """Claim."""

        pods: dict[str, int] = {}  # noqa: RUF012

    for cls, message in ((Untyped, r"write `pods: int = 4`"), (Open, "no default"), (Odd, "a parameter is bool")):
        with pytest.raises(BadDeclaration, match=message):
            declare(cls)


def test_an_id_is_taken_once():
    class Other(Sound):
        """Another claim."""

    registry = Registry()
    scenario("gang", registry=registry)(Gang)
    with pytest.raises(BadDeclaration, match="is taken by"):
        scenario("gang", registry=registry)(Other)


def test_settings_become_typed_values():
    _, registry = declare(Gang)
    made = registry.get("half-a-gang").make(
        {"pods": "8", "wait_seconds": "1.5", "is_strict": "yes", "name": "x", "rates": "3, 4"}
    )

    assert (made.pods, made.wait_seconds, made.is_strict, made.name, made.rates) == (8, 1.5, True, "x", (3.0, 4.0))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"pod": "8"}, "did you mean 'pods'"),
        ({"zzz": "8"}, "it has pods"),
        ({"pods": "eight"}, "int is needed"),
        ({"is_strict": "maybe"}, "bool is needed"),
        ({"wait_seconds": "nan"}, "float is needed"),
        ({"rates": "1,x"}, "float is needed"),
    ],
)
def test_a_wrong_setting_is_refused(settings, message):
    _, registry = declare(Gang)
    with pytest.raises(BadParameter, match=message):
        registry.get("half-a-gang").make(settings)


def test_a_scenario_may_refuse_a_value_of_the_right_type():
    class Careful(Sound):
        """Claim."""

        pods: int = 1

        def __post_init__(self):
            if self.pods < 1:
                raise ValueError("pods must be positive")

    _, registry = declare(Careful)
    with pytest.raises(BadParameter, match="pods must be positive"):
        registry.get("half-a-gang").make({"pods": "0"})


def test_an_unknown_scenario_names_the_nearest():
    _, registry = declare(Gang)
    with pytest.raises(UnknownScenario, match="did you mean 'half-a-gang'"):
        registry.get("half-a-gong")
    with pytest.raises(WrongUsage, match="bench list"):
        registry.get("zzzzzz")


def test_scenarios_are_found_by_importing_their_package(tmp_path, monkeypatch):
    package = tmp_path / "found_scenarios"
    package.mkdir()
    (package / "__init__.py").write_text("")
    (package / "one.py").write_text(
        textwrap.dedent(
            """
            from bench import scenario


            @scenario("found-by-import")
            class Found:
                '''It is found.'''

                def needs(self): return ()
                def run(self, rig): return ()
                def checks(self): return ()
            """
        )
    )
    monkeypatch.syspath_prepend(str(tmp_path))

    assert discover("found_scenarios").get("found-by-import").claim == "It is found."
    assert discover("found_scenarios").get("found-by-import")
    assert "found-by-import" not in {each.id for each in discover()}
    sys.modules.pop("found_scenarios.one")


def test_the_facade_offers_what_it_lists():
    assert all(getattr(bench, name) is not None for name in bench.__all__)
    with pytest.raises(AttributeError, match="nothing_of_the_kind"):
        _ = bench.nothing_of_the_kind
