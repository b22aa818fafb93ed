"""Facts: equal if their values are, and described without what is hidden."""

from dataclasses import field, fields, replace

import pytest

from crawler.facts import fact


@fact
class Place:
    city: str
    street: str | None = None
    code: str = field(default="", repr=False)


@fact
class Other:
    city: str
    street: str | None = None
    code: str = ""


def test_facts_are_equal_if_class_and_values_are() -> None:
    place = Place(city="Bonn", street="A")
    assert place == Place(city="Bonn", street="A")
    assert place != Place(city="Bonn", street="B")
    assert place != Place(city="Bonn", street="A", code="1")
    other: object = Other(city="Bonn", street="A")
    assert place != other


def test_equal_facts_have_the_same_hash() -> None:
    assert len({Place(city="Bonn"), Place(city="Bonn"), Place(city="Ulm")}) == 2


def test_a_hidden_field_is_not_described() -> None:
    place = Place(city="Bonn", code="secret")
    assert repr(place) == "Place(city='Bonn', street=None)"


def test_a_changed_copy_is_made_with_replace() -> None:
    assert replace(Place(city="Bonn"), city="Ulm") == Place(city="Ulm")
    assert [one.name for one in fields(Place)] == ["city", "street", "code"]


def test_fields_are_named_when_a_fact_is_made() -> None:
    with pytest.raises(TypeError):
        Place("Bonn")  # type: ignore[call-arg]  # what is tested


def test_a_fact_has_no_other_attributes() -> None:
    with pytest.raises(AttributeError):
        Place(city="Bonn").county = "x"  # type: ignore[attr-defined]  # what is tested
