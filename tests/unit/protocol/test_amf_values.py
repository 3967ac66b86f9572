from __future__ import annotations

import copy
import pickle

import pytest

from rtmpsrv.errors import AmfError
from rtmpsrv.protocol.amf_values import (
    MAX_DEPTH,
    MAX_VALUES,
    UNDEFINED,
    UNSUPPORTED,
    AmfDate,
    Budget,
    ComplexValues,
    EcmaArray,
    TypedObject,
    Value,
)


@pytest.mark.parametrize("singleton", [UNDEFINED, UNSUPPORTED], ids=repr)
def test_a_singleton_is_itself_after_pickle_and_copy(singleton: Value) -> None:
    assert pickle.loads(pickle.dumps(singleton)) is singleton
    assert copy.deepcopy([singleton])[0] is singleton


def test_undefined_is_false_and_has_a_name() -> None:
    assert not UNDEFINED
    assert repr(UNDEFINED) == "UNDEFINED"
    assert UNDEFINED != UNSUPPORTED


def test_an_ecma_array_equals_the_dict_with_its_members() -> None:
    assert EcmaArray(a=1.0) == {"a": 1.0}


def test_a_typed_object_keeps_its_class_name_in_repr_pickle_and_copy() -> None:
    point = TypedObject("Point", {"x": 1.0})
    assert repr(point) == "TypedObject('Point', {'x': 1.0})"
    for twin in (pickle.loads(pickle.dumps(point)), copy.copy(point), copy.deepcopy(point)):
        assert type(twin) is TypedObject
        assert (twin.class_name, twin) == ("Point", {"x": 1.0})


def test_a_date_cannot_be_changed() -> None:
    with pytest.raises(AttributeError):
        AmfDate(0.0).milliseconds = 1.0  # type: ignore[misc]  # what is tested


def test_a_budget_lasts_for_max_values() -> None:
    budget = Budget()
    budget.spend(MAX_VALUES)
    with pytest.raises(AmfError, match=str(MAX_VALUES)):
        budget.spend(1)


def test_a_budget_lasts_for_max_depth() -> None:
    budget = Budget()
    budget.descend(MAX_DEPTH)
    assert budget.deepest == MAX_DEPTH
    with pytest.raises(AmfError, match=f"{MAX_DEPTH + 1} deep"):
        budget.descend(MAX_DEPTH + 1)


def test_a_reference_costs_the_values_inside_its_target() -> None:
    budget = Budget()
    values = ComplexValues(budget)
    values.read(lambda: budget.spend(10))
    values.resolve(0)
    assert budget.values_left == MAX_VALUES - 20


def test_a_reference_is_as_deep_as_its_target() -> None:
    budget = Budget()
    values = ComplexValues(budget)
    values.read(lambda: values.read(lambda: "inner"))  # two levels, numbers 0 and 1
    budget.depth = MAX_DEPTH - 2
    assert values.resolve(0) == "inner"
    budget.depth = MAX_DEPTH - 1
    assert values.resolve(1) == "inner"
    with pytest.raises(AmfError):
        values.resolve(0)


def test_the_depth_of_a_value_counts_its_deepest_member_not_its_last() -> None:
    budget = Budget()
    values = ComplexValues(budget)

    def members() -> str:
        values.read(lambda: values.read(lambda: None))
        values.read(lambda: None)
        return "outer"

    values.read(members)  # three levels
    budget.depth = MAX_DEPTH - 2
    with pytest.raises(AmfError):
        values.resolve(0)
    values.resolve(1)


def test_a_reference_out_of_range_or_from_inside_its_target_is_refused() -> None:
    values = ComplexValues(Budget())
    with pytest.raises(AmfError, match="value 0 of 0"):
        values.resolve(0)
    with pytest.raises(AmfError, match="inside itself"):
        values.read(lambda: values.resolve(0))
