"""Ids made from names."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from uun_iot_core import IModule, module_id, module_id_from_str


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("Heartbeat", "heartbeat"),
        ("WeatherConditions", "weatherConditions"),
        ("already", "already"),
        ("ABC", "aBC"),
        ("X", "x"),
        ("_Private", "_Private"),
        ("", ""),
    ],
)
def test_only_the_first_letter_is_lowered(name: str, expected: str) -> None:
    assert module_id_from_str(name) == expected


@given(st.text(st.characters(max_codepoint=127)))
def test_the_rest_of_a_name_stays(name: str) -> None:
    made = module_id_from_str(name)
    assert made[1:] == name[1:]
    assert made[:1] == name[:1].lower()
    assert module_id_from_str(made) == made


def test_a_module_is_named_by_its_name() -> None:
    class WeatherConditions:
        pass

    assert module_id(WeatherConditions) == "weatherConditions"
    assert module_id(module_id_from_str) == "module_id_from_str"


def test_the_interface_asks_for_an_id() -> None:
    class Nameless(IModule):
        pass

    with pytest.raises(TypeError, match="abstract"):
        Nameless()  # type: ignore[abstract]  # that it is abstract is what is tested


def test_an_id_may_be_an_attribute_or_a_property() -> None:
    class Attribute(IModule):
        id = "one"

    class Property(IModule):
        @property
        def id(self) -> str:
            return "two"

    assert (Attribute().id, Property().id) == ("one", "two")
