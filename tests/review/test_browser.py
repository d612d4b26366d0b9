"""The page in a real browser: filter, correct, undo, reload, two windows, a run that goes on."""

import pytest
from playwright import sync_api

from batchgen.results.corrections import ReviewFile
from tests.review.conftest import publish_run, served

pytest.importorskip("duckdb")
sync_api.expect.set_options(timeout=30_000)  # on a busy machine, too


@pytest.fixture
def page(browser, run):
    """The page of a run, open; what it complains about is in `complaints`."""
    with served(run) as address:
        yield opened(browser, address)


def opened(browser, address, **settings):
    """Open the page in a window of its own."""
    shown = browser.new_context(**settings).new_page()
    shown.complaints = []
    shown.on("pageerror", lambda error: shown.complaints.append(str(error)))
    shown.on("console", lambda said: shown.complaints.append(said.text) if said.type == "error" else None)
    shown.goto(address)
    shown.wait_for_selector("#row h2")
    shown.wait_for_selector("#facets details")
    return shown


def said(run):
    """Return row → field → value of what is kept."""
    return {
        row: {field: one.value for field, one in fields.items()} for row, fields in ReviewFile(run).latest().items()
    }


def test_a_row_is_shown_whole_and_rows_are_filtered(page):
    """Its text as it was laid out; a facet, a search and an order change the list."""
    assert page.inner_text("#count") == "12 of 12 rows"
    assert "text 0\n  laid out\tas it was" in [one.text_content() for one in page.query_selector_all("#row pre")]
    page.get_by_role("checkbox", name="praise").check()
    sync_api.expect(page.locator("#count").first).to_contain_text("3 of")
    page.get_by_role("checkbox", name="praise").uncheck()
    page.keyboard.press("/")
    page.keyboard.type("ANSWER 7")
    sync_api.expect(page.locator("#count").first).to_contain_text("1 of")
    sync_api.expect(page.locator("#row h2")).to_have_text("7")
    page.fill("#search", "")
    page.select_option("#order", "doubt")
    sync_api.expect(page.locator("#rows .id").first).to_have_text("11")  # which failed
    sync_api.expect(page.locator("#rows li:nth-child(2) .id")).to_have_text("10")
    assert page.complaints == []


def test_rows_are_accepted_corrected_and_undone_by_keyboard(page, run):
    """Every key is kept at once, and a reload shows it."""
    page.keyboard.press("a")
    sync_api.expect(page.locator("#row h2").first).to_have_text("1")
    page.keyboard.press("3")  # the label that most rows have comes first
    sync_api.expect(page.locator("#row h2").first).to_have_text("2")
    assert said(run) == {
        "0": {"label": "bug", "note": "note 0", "n": "0", "agreement": "1.0"},
        "1": {"label": "other"},
    }
    page.keyboard.press("j")
    sync_api.expect(page.locator("#row h2").first).to_have_text("3")
    page.fill("#row textarea >> nth=1", "better")
    page.keyboard.press("Enter")
    sync_api.expect(page.locator("#row-3 .marks").first).to_contain_text("corrected")
    assert said(run)["3"] == {"note": "better"}
    page.reload()
    page.wait_for_selector("#row h2")
    page.wait_for_selector("#row-0.accepted")
    assert page.query_selector("#row-3.corrected")
    page.keyboard.press("a")
    sync_api.expect(page.locator("#row h2").first).to_have_text("1")
    page.keyboard.press("u")
    sync_api.expect(page.locator("#told").first).to_contain_text("Undone")
    assert said(run)["0"]["label"] == "bug"  # what was kept before the reload stays
    assert page.complaints == []


def test_a_value_of_another_type_is_refused(page, run):
    """The page says why, and nothing is kept."""
    page.fill("#row textarea >> nth=2", "many")
    page.keyboard.press("Enter")
    sync_api.expect(page.locator("#told").first).to_contain_text("is no value of type int64")
    assert said(run) == {}


def test_answers_are_text_whatever_they_contain(page):
    """No markup is read, and what cannot be seen is shown as what it is."""
    page.click("#row-1")
    sync_api.expect(page.locator("#row h2").first).to_have_text("1")
    assert "batchgen view" in page.title()
    assert page.query_selector_all("#row img, #row script, #rows img, #rows script") == []
    answers = [one.text_content() for one in page.query_selector_all("#row pre")]
    assert any("<script>" in text and "␛[2J␀‹U+202E›gnp.exe" in text for text in answers)
    turns = page.locator("#row details", has_text="All answers").first
    assert turns.locator("dt").all_text_contents()[:2] == ["answer 1 of 2", "answer 1 of 2: why it was not taken"]
    assert turns.locator("pre").all_text_contents()[:2] == ["<b>no</b>", "at /n: a text"]
    assert page.complaints == []


def test_two_windows_and_a_second_program_lose_nothing(browser, run):
    """All corrections are there in the end, and each window learns of the others."""
    with served(run) as one, served(run) as two:
        windows = [opened(browser, address) for address in (one, one, two)]
        for place, window in enumerate(windows):
            window.click(f"#row-{place + 3}")
            sync_api.expect(window.locator("#row h2").first).to_have_text(f"{place + 3}")
        for window in windows:
            window.keyboard.press("a")
        for window in windows:
            sync_api.expect(window.locator("#told").first).to_contain_text("Kept")
        assert {*said(run)} == {"3", "4", "5"}
        windows[0].reload()
        windows[0].wait_for_selector("#row-5.accepted")


def test_a_run_still_going_on(browser, tmp_path):
    """A window that is open keeps its rows; a reload shows more."""
    run = publish_run(tmp_path / "run", rows=6)
    with served(run) as address:
        page = opened(browser, address)
        publish_run(tmp_path / "run", rows=15)
        later = opened(browser, address)
        sync_api.expect(later.locator("#count")).to_have_text("15 of 15 rows")
        page.click("#row-2")
        sync_api.expect(page.locator("#row h2").first).to_have_text("2")
        assert page.inner_text("#count") == "6 of 6 rows"
        page.reload()
        sync_api.expect(page.locator("#count").first).to_have_text("15 of 15 rows")


def test_two_runs_side_by_side(browser, run, tmp_path):
    """What changed is a facet, and the other run's value stands beside the row's own."""
    other = publish_run(tmp_path / "other", labels=("bug", "bug", "bug", "other"))
    with served(run, other) as address:
        page = opened(browser, address)
        page.get_by_role("checkbox", name="praise → bug").check()
        sync_api.expect(page.locator("#count").first).to_contain_text("3 of")
        sync_api.expect(page.locator("#row .was").first).to_have_text("the other run said bug")
        assert page.complaints == []


def test_the_sample_has_an_accuracy(page):
    """Of the labels that are checked, with its interval."""
    page.select_option("#order", "sample")
    page.wait_for_selector("#accuracy")
    for _ in range(12):
        before = page.inner_text("#told")
        page.keyboard.press("a")
        sync_api.expect(page.locator("#told")).not_to_have_text(before)
    sync_api.expect(page.locator("#accuracy dd").first).to_contain_text("100 % (76–100)")


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [360, 820, 1280])
def test_nothing_is_wider_than_the_screen(browser, run, width, scheme):
    """On telephones and desktops; every control has a name."""
    with served(run) as address:
        page = opened(browser, address, viewport={"width": width, "height": 800}, color_scheme=scheme)
        assert page.evaluate("document.documentElement.scrollWidth - window.innerWidth") <= 0
        assert (
            page.evaluate(
                "[...document.querySelectorAll('input, select, textarea')].filter(one => !one.labels.length).length"
            )
            == 0
        )


def test_no_row_is_passed_over_where_only_unchecked_ones_are_listed(browser, tmp_path):
    """Those that were checked on a page no longer count when the next page is taken."""
    with served(publish_run(tmp_path / "run", rows=132)) as address:
        page = opened(browser, address)
        page.locator("#facets details[data-name=checked] input").first.check()
        page.keyboard.press("a")
        sync_api.expect(page.locator("#row h2")).to_have_text("1")
        page.click("#row-99")
        sync_api.expect(page.locator("#row h2")).to_have_text("99")
        page.keyboard.press("a")
        sync_api.expect(page.locator("#row h2")).to_have_text("100")
        assert page.complaints == []
