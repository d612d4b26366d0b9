"""Settings: checked when they are made, explained for the command line."""

from __future__ import annotations

import msgspec
import pytest

from batchgen.simulator import FAULTS, FIELD_HELP, LOST, TRAITS, Settings


def test_every_field_is_explained_in_one_line():
    """The command line can build its options from `FIELD_HELP`."""
    assert list(FIELD_HELP) == list(Settings.__struct_fields__)
    assert all(text and "\n" not in text for text in FIELD_HELP.values())


def test_faults_are_fields():
    """Each fault, trait and lost fault is a rate of the settings."""
    assert {*FAULTS, *TRAITS} <= set(Settings.__struct_fields__)
    assert set(FAULTS) >= LOST


@pytest.mark.parametrize(
    "rates", [{"reset": 0.7, "hang": 0.4}, {"error_500": -0.1}, {"length": 0.6, "content_filter": 0.5}]
)
def test_impossible_rates_are_refused(rates):
    """At most one fault can befall a request."""
    with pytest.raises(ValueError, match=r"rates|add up"):
        Settings(**rates)


@pytest.mark.parametrize("wrong", [{"rmp": 60}, {"reset": 2}, {"rpm": 0}, {"retry_after": "soon"}, {"rpm": "many"}])
def test_settings_from_outside_are_checked(wrong):
    """Unknown fields, values out of range and wrong types are refused by name."""
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert(wrong, Settings)
