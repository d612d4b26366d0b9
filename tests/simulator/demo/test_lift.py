"""Values lifted from emails."""

from __future__ import annotations

import pytest

from batchgen.simulator.demo.lift import lift


@pytest.mark.parametrize(
    ("name", "text", "value"),
    [
        ("customer", "Hallo,\nes geht nicht.\n\nMit freundlichen Grüßen\nJürgen Groß", "Jürgen Groß"),
        ("customer_name", 'From: "Doe, John" <j@x.org>\n\nIt fails.', "Doe"),
        ("customer", "I am Tom from Acme, my user ID is 12345.", "Tom"),
        ("softwareVersion", "using version V3.1.8, it fails", "V3.1.8"),
        ("version", "Since 12.03.2026 on macOS 13.4: Foo 2.7 fails", "Foo 2.7"),
        ("error_code", "an error code of ERR-2007, and", "ERR-2007"),
        ("error_code", "failed with 0x80070057.", "0x80070057"),
        ("error_code", "Fehlercode: 1603 erscheint", "1603"),
        ("operating_system", "on macOS Ventura 13.4 and", "macOS Ventura 13.4"),
        ("os", "Ubuntu 22.04 LTS here", "Ubuntu 22.04 LTS"),
        ("email", "write to a.b@example.co.uk now", "a.b@example.co.uk"),
        (
            "problem",
            "Dear all,\nThe weather is nice. The app is stuck at v1.2 again. Bye now.",
            "The app is stuck at v1.2 again.",
        ),
        ("error_code", "New: E404 here\n\nOn Monday Jane wrote:\n> ERR-1 ERR-2222", "E404"),
        ("operating_system", "It fails.\n", None),
        ("colour", "red", None),
    ],
)
def test_a_field_gets_what_its_name_says(name, text, value):
    """The rule is chosen by the field's name; the newest message of a thread counts first."""
    assert lift(name, text) == value
