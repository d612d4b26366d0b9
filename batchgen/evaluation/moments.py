"""Dates and moments as people and programs write them, where they can mean one thing only.

ISO 8601 and its variants, the month's name in a dozen languages, RFC 2822, `5.3.2024`, `2024年3月5日`. `03/04/2024` has
two readings and is left a text; `25/03/2024` has one.
"""

from __future__ import annotations

import datetime as dt
import re

_MONTHS = """
january february march april may june july august september october november december
jan feb mar apr may jun jul aug sep oct nov dec
januar februar märz april mai juni juli august september oktober november dezember
jänner feber mrz apr mai jun jul aug sept okt nov dez
janvier février mars avril mai juin juillet août septembre octobre novembre décembre
janv févr mars avr mai juin juil août sept oct nov déc
enero febrero marzo abril mayo junio julio agosto septiembre octubre noviembre diciembre
ene feb mar abr may jun jul ago set oct nov dic
janeiro fevereiro março abril maio junho julho agosto setembro outubro novembro dezembro
gennaio febbraio marzo aprile maggio giugno luglio agosto settembre ottobre novembre dicembre
januari februari maart april mei juni juli augustus september oktober november december
januari februari mars april maj juni juli augusti september oktober november december
januar februar marts april maj juni juli august september oktober november desember
stycznia lutego marca kwietnia maja czerwca lipca sierpnia września października listopada grudnia
января февраля марта апреля мая июня июля августа сентября октября ноября декабря
ocak şubat mart nisan mayıs haziran temmuz ağustos eylül ekim kasım aralık
"""
_NUMBER_OF = {
    name: number for line in _MONTHS.strip().splitlines() for number, name in enumerate(line.casefold().split(), 1)
}
_WEEKDAYS = """
monday tuesday wednesday thursday friday saturday sunday
mon tue wed thu fri sat sun
montag dienstag mittwoch donnerstag freitag samstag sonntag
mo di mi do fr sa so
lundi mardi mercredi jeudi vendredi samedi dimanche
lunes martes miércoles jueves viernes sábado domingo
segunda-feira terça-feira quarta-feira quinta-feira sexta-feira sábado domingo
lunedì martedì mercoledì giovedì venerdì sabato domenica
maandag dinsdag woensdag donderdag vrijdag zaterdag zondag
"""
_WEEKDAY_OF = {
    name: number for line in _WEEKDAYS.strip().splitlines() for number, name in enumerate(line.casefold().split())
}
_NAME = r"[^\W\d_]{3,12}"
_DAY = (
    r"(?P<y1>\d{4})(?:(?P<s1>[-/.])(?P<m1>\d{1,2})(?P=s1)(?P<d1>\d{1,2})|\. ?(?P<m2>\d{1,2})\. ?(?P<d2>\d{1,2})\.?"
    r"|[年년] ?(?P<m3>\d{1,2})[月월] ?(?P<d3>\d{1,2})[日号號일])"
    r"|(?P<d4>\d{1,2})\. ?(?P<m4>\d{1,2})\. ?(?P<y4>\d{4})"
    r"|(?P<one>\d{1,2})(?P<s5>[-/])(?P<two>\d{1,2})(?P=s5)(?P<y5>\d{4})"
    rf"|(?P<d6>\d{{1,2}})(?:st|nd|rd|th|er|º|°|\.)?[ -](?:(?:de|of) )?(?P<n6>{_NAME})\.?,?"
    r"[ -](?:(?:de|del) )?(?P<y6>\d{4})"
    r"|(?P<y8>\d{4}) (?P<m8>\d{1,2}) (?P<d8>\d{1,2})"
    rf"|(?P<n7>{_NAME})\.? (?P<d7>\d{{1,2}})(?:st|nd|rd|th)?,? (?P<y7>\d{{4}})"
)
_CLOCK = (
    r"(?P<hour>\d{1,2})(?::(?P<minute>\d\d)(?::(?P<second>\d\d)(?:[.,](?P<part>\d{1,9}))?)?)?"
    r"(?: ?(?P<half>[ap])\.?m\.?)?"
    r"|(?P<hour2>\d{1,2})[時时点點시] ?(?P<minute2>\d{1,2})[分분](?: ?(?P<second2>\d{1,2})[秒초])?"
)
_ZONE = (
    r"(?: ?(?P<zone>z|utc|gmt|(?:utc|gmt)?(?P<sign>[+-])(?P<zh>\d{1,2})(?::?(?P<zm>\d\d))?)"
    r"(?: \((?:utc|gmt|[a-z]{3,4})\))?)?"
)
_MOMENT = re.compile(
    rf"(?:(?P<weekday>[^\W\d_]{{2,10}}(?:-feira)?)\.?,? )?(?:{_DAY})"
    rf"(?:(?:[t ]|,? |,? at |(?<=[日号號일]))(?:{_CLOCK}){_ZONE})?"
)
_CTIME = re.compile(r"([a-z]{3}) ([a-z]{3}) {1,2}(\d{1,2}) (\d\d:\d\d:\d\d)(?: (utc|gmt))? (\d{4})")
_TIME = re.compile(_CLOCK)
_LONGEST = 60
_MAYBE = re.compile(r"\d{4}")


def read_moment(text: str) -> dt.datetime | None:
    """Return the moment that a text is, midnight for a day; None if it is none. `text` is without capital letters."""
    if len(text) > _LONGEST or _MAYBE.search(text) is None:
        return None
    try:
        return dt.datetime.fromisoformat(_iso(text))
    except ValueError:
        pass
    ctime = _CTIME.fullmatch(text)
    if ctime is not None:
        text = f"{ctime[1]}, {ctime[3]} {ctime[2]} {ctime[6]} {ctime[4]} {ctime[5] or ''}".strip()
    match = _MOMENT.fullmatch(text)
    if match is None:
        return None
    try:
        moment = _day(match)
        if match["weekday"] is not None and _WEEKDAY_OF.get(match["weekday"]) != moment.weekday():
            return None
        clock = _clock(match)
        if clock is not None:
            moment = dt.datetime.combine(moment, clock)
    except (ValueError, KeyError):
        return None
    return moment.replace(tzinfo=_zone(match)) if match["zone"] else moment


def read_time(text: str) -> dt.time | None:
    """Return the time of day that a text is; None if it is none."""
    try:
        return dt.time.fromisoformat(text.upper())
    except ValueError:
        match = _TIME.fullmatch(text)
    try:
        return _clock(match) if match is not None else None
    except ValueError:
        return None


def _iso(text: str) -> str:
    """Return a text as `fromisoformat` may read it."""
    text = re.sub(r" ?(?:utc|gmt)$", "+00:00", text)
    return re.sub(r" (?=[+-]\d\d)", "", text).upper()


def _day(match: re.Match[str]) -> dt.datetime:
    """Raise `ValueError` for a day that is none, or may be two; `KeyError` for an unknown month."""
    one, two = match["one"], match["two"]
    if one is not None:
        if min(int(one), int(two)) <= 12 and max(int(one), int(two)) <= 12 and int(one) != int(two):
            raise ValueError("the day may be the month")
        day, month = (one, two) if int(two) <= 12 else (two, one)
        year = match["y5"]
    else:
        year = match["y1"] or match["y4"] or match["y6"] or match["y7"] or match["y8"]
        day = match["d1"] or match["d2"] or match["d3"] or match["d4"] or match["d6"] or match["d7"] or match["d8"]
        name = match["n6"] or match["n7"]
        month = match["m1"] or match["m2"] or match["m3"] or match["m4"] or match["m8"] or _NUMBER_OF[name]
    return dt.datetime(int(year), int(month), int(day))  # noqa: DTZ001 - a day has no zone


def _clock(match: re.Match[str]) -> dt.time | None:
    if match["hour2"] is not None:
        return dt.time(int(match["hour2"]), int(match["minute2"]), int(match["second2"] or 0))
    if match["hour"] is None:
        return None
    hour, half = int(match["hour"]), match["half"]
    if match["minute"] is None and half is None:
        raise ValueError("a number is no time")
    if half is not None:
        if not 1 <= hour <= 12:
            raise ValueError("no hour of half a day")
        hour = hour % 12 + (12 if half == "p" else 0)
    micro = int((match["part"] or "").ljust(6, "0")[:6])
    return dt.time(hour, int(match["minute"] or 0), int(match["second"] or 0), micro)


def _zone(match: re.Match[str]) -> dt.tzinfo:
    if match["sign"] is None:
        return dt.UTC
    offset = dt.timedelta(hours=int(match["zh"]), minutes=int(match["zm"] or 0))
    return dt.timezone(offset if match["sign"] == "+" else -offset)


def moment_key(value: dt.date, *, day: bool, untyped: bool) -> str:
    """Return a moment in UTC (without a zone it is taken for UTC), and midnight as its day.

    `day`: the values are days, whose midnight has no zone. `untyped`: nothing says that the values are moments.
    """
    if not isinstance(value, dt.datetime):
        return value.isoformat()
    if day and value.time() == dt.time():
        return value.date().isoformat()
    if value.tzinfo is not None:
        try:
            value = value.astimezone(dt.UTC)
        except OverflowError:
            return value.isoformat()
        if untyped:
            return value.isoformat()
    value = value.replace(tzinfo=None)
    return value.date().isoformat() if value.time() == dt.time() else value.isoformat()
