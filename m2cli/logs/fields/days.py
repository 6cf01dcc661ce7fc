"""Which day the elements of a time name, one value at a time: for the few distinct days that a log has."""

from __future__ import annotations

import re
from datetime import date, datetime, timedelta
from typing import TYPE_CHECKING

from m2cli.logs.formats.kinds import MONTHS

if TYPE_CHECKING:
    from collections.abc import Mapping

YEARS = ("year", "year2", "century")
# Of any language: no name of one is that of another month in the others. glibc 2.41, locales de, nl, fr, es, it, pt.
_MONTHS = (
    "january jan jän januar janvier janv januari enero ene gennaio gen janeiro",
    "february feb februar février févr februari febrero febbraio fevereiro fev",
    "march mar mär märz mrz mars maart mrt marzo março",
    "april apr avril avr aprile abril abr",
    "may mai mei mayo maggio mag maio",
    "june jun juni juin junio giugno giu junho",
    "july jul juli juillet juil julio luglio lug julho",
    "august aug août augustus agosto ago",
    "september sep sept septembre septiembre settembre set setembro",
    "october oct oktober okt octobre octubre ottobre ott outubro out",
    "november nov novembre noviembre novembro",
    "december dec dezember dez décembre déc diciembre dic dicembre dezembro",
)
_WEEKDAYS = (
    "monday mon montag mo maandag ma lundi lun lunes lunedì segunda seg",
    "tuesday tue dienstag di dinsdag mardi mar martes martedì terça ter",
    "wednesday wed mittwoch mi woensdag wo mercredi mer miércoles mié mercoledì quarta qua",
    "thursday thu donnerstag do donderdag jeudi jeu jueves jue giovedì gio quinta qui",
    "friday fri freitag fr vrijdag vr vendredi ven viernes vie venerdì sexta sex",
    "saturday sat samstag sa zaterdag za samedi sam sábado sáb sabato sab",
    "sunday sun sonntag so zondag zo dimanche dim domingo dom domenica",
)


def _number(names: tuple[str, ...]) -> dict[str, int]:
    return {name: number for number, row in enumerate(names, 1) for name in row.split()}


_MONTH_NUMBERS = _number(_MONTHS)
_WEEKDAY_NUMBERS = _number(_WEEKDAYS)
# Minutes east of UTC. RFC 5322, 4.3, and those of Europe; other short names mean different zones to different people.
_ZONES = {
    **dict.fromkeys(("UTC", "GMT", "UT", "Z", "WET"), 0),
    "EST": -300,
    "EDT": -240,
    "CST": -360,
    "CDT": -300,
    "MST": -420,
    "MDT": -360,
    "PST": -480,
    "PDT": -420,
    "CET": 60,
    "MEZ": 60,
    "CEST": 120,
    "MESZ": 120,
    "EET": 120,
    "EEST": 180,
    "WEST": 60,
    "MSK": 180,
    "JST": 540,
}
_OFFSET = re.compile(r"([+-])([0-9]{2}):?([0-9]{2})?")


def find_day(elements: Mapping[str, str]) -> date | None:
    """The day that `elements` name, by their names in `strftime.CONVERSIONS`; None if there is no such day.

    >>> find_day({"iso_year": "2019", "iso_week": "20", "weekday_name": "Sun"})
    datetime.date(2019, 5, 19)
    """
    try:
        day = _find_day(elements)
    except (ValueError, KeyError, OverflowError):
        return None
    return day if 1900 <= day.year <= 2199 else None


def _find_day(elements: Mapping[str, str]) -> date:  # noqa: PLR0911 - a way a line
    if "date" in elements:
        day_text, month_name, year_text = elements["date"].split("/")
        return date(int(year_text), MONTHS.index(month_name) + 1, int(day_text))
    if "day" in elements:
        return date.fromisoformat(elements["day"])
    if "iso_week" in elements and ("iso_year" in elements or "iso_year2" in elements):
        year = int(elements["iso_year"]) if "iso_year" in elements else _of_two_digits(elements["iso_year2"])
        return date.fromisocalendar(year, int(elements["iso_week"]), _find_weekday(elements))
    year = _find_year(elements)
    if "day_of_month" in elements:
        month = int(elements["month"]) if "month" in elements else _MONTH_NUMBERS[_plain(elements["month_name"])]
        return date(year, month, int(elements["day_of_month"]))
    if "day_of_year" in elements:
        day = date(year, 1, 1) + timedelta(days=int(elements["day_of_year"]) - 1)
        if day.year != year:
            raise ValueError(day)
        return day
    weekday = _find_weekday(elements)
    if "sunday_week" in elements:
        text = f"{year} {elements['sunday_week']} {weekday % 7}"
        return datetime.strptime(text, "%Y %U %w").date()  # noqa: DTZ007 - a day has no zone
    return datetime.strptime(f"{year} {elements['monday_week']} {weekday % 7}", "%Y %W %w").date()  # noqa: DTZ007


def _find_year(elements: Mapping[str, str]) -> int:
    if "year" in elements:
        return int(elements["year"])
    if "century" in elements:
        return 100 * int(elements["century"]) + int(elements["year2"])
    return _of_two_digits(elements["year2"])


def _of_two_digits(text: str) -> int:
    number = int(text)
    return number + (2000 if number < 69 else 1900)  # POSIX, strptime


def _find_weekday(elements: Mapping[str, str]) -> int:
    """From 1 for Monday to 7."""
    if "weekday" in elements:
        return int(elements["weekday"])
    if "weekday0" in elements:
        return int(elements["weekday0"]) or 7
    return _WEEKDAY_NUMBERS[_plain(elements["weekday_name"])]


def _plain(name: str) -> str:
    return name.lower().rstrip(".")


def find_offset(elements: Mapping[str, str]) -> int | None:
    """How many minutes east of UTC the zone in `elements` is; None if it names none, or one that is not known.

    >>> find_offset({"zone": "-0130"}), find_offset({"zone_name": "EDT"})
    (-90, -240)
    """
    text = elements.get("zone") or elements.get("zone_name") or ""
    if text.upper() in _ZONES:
        return _ZONES[text.upper()]
    found = _OFFSET.fullmatch(text)
    if not found:
        return None
    minutes = 60 * int(found[2]) + int(found[3] or 0)
    return -minutes if found[1] == "-" else minutes


def names_a_day(elements: set[str]) -> bool:
    """Whether `elements` together say which day it is."""
    has_year = bool({"year", "year2"} & elements)
    has_weekday = bool({"weekday", "weekday0", "weekday_name"} & elements)
    has_month = bool({"month", "month_name"} & elements)
    return (
        bool({"date", "day"} & elements)
        or (has_year and has_month and "day_of_month" in elements)
        or (has_year and "day_of_year" in elements)
        or (has_year and has_weekday and bool({"sunday_week", "monday_week"} & elements))
        or (has_weekday and "iso_week" in elements and bool({"iso_year", "iso_year2"} & elements))
    )


def names_a_clock(elements: set[str]) -> bool:
    """Whether `elements` together say what time of day it is, to the second."""
    has_hour = "hour" in elements or {"hour12", "half"} <= elements
    return "clock" in elements or (has_hour and {"minute", "second"} <= elements)
