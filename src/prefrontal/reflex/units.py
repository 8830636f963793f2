"""The units people name in questions: how they are written, what they measure, and what has to be assumed.

The factors come from Pint; here stands only which words mean which of its units, because a question is a stricter thing
than an expression: "ton", "calorie" and "nm" have several readings of equal right and are left out on purpose.
"""

from __future__ import annotations

import re
from typing import NamedTuple

# Pint's own acre rests on the US survey foot, which was retired in 2022.
DEFINITIONS = ("international_acre = 4840 * yard ** 2",)


class Unit(NamedTuple):
    """A unit: Pint's name, the dimension it measures, its names to show, and the assumption to say when it was guessed."""

    pint: str
    dimension: str
    singular: str
    plural: str
    note: str = ""


_US = "US customary measures"

# dimension | Pint name | singular | plural | aliases (lower case, separated by commas; singular and plural are added)
_TABLE = """
length | kilometre | kilometer | kilometers | km, kms, kilometre, kilometres
length | metre | meter | meters | m, metre, metres
length | decimetre | decimeter | decimeters | dm, decimetre, decimetres
length | centimetre | centimeter | centimeters | cm, cms, centimetre, centimetres
length | millimetre | millimeter | millimeters | mm, millimetre, millimetres
length | micrometre | micrometer | micrometers | µm, μm, um, micrometre, micrometres, micron, microns
length | nanometre | nanometer | nanometers | nanometre, nanometres
length | mile | mile | miles | mi
length | yard | yard | yards | yd, yds
length | foot | foot | feet | ft, '
length | inch | inch | inches | in, ins, "
length | nautical_mile | nautical mile | nautical miles | nmi
length | light_year | light-year | light-years | ly, light year, light years, lightyear, lightyears
mass | kilogram | kilogram | kilograms | kg, kgs, kilo, kilos, kilogramme, kilogrammes
mass | gram | gram | grams | g, gramme, grammes
mass | milligram | milligram | milligrams | mg
mass | microgram | microgram | micrograms | mcg, µg, μg
mass | metric_ton | metric ton | metric tons | tonne, tonnes
mass | pound | pound | pounds | lb, lbs
mass | ounce | ounce | ounces | oz
mass | stone | stone | stone | st, stones
mass | short_ton | US (short) ton | US (short) tons | short ton, short tons, us ton, us tons
mass | long_ton | imperial (long) ton | imperial (long) tons | long ton, long tons, imperial ton, imperial tons, uk tons
temperature | degC | °C | °C | c, celsius, degree celsius, degrees celsius, degrees c, degree c, deg c, centigrade
temperature | degC | °C | °C | degrees centigrade
temperature | degF | °F | °F | f, fahrenheit, degree fahrenheit, degrees fahrenheit, degrees f, degree f, deg f, farenheit
temperature | kelvin | kelvin | kelvin | k, kelvins, degrees kelvin
volume | litre | liter | liters | l, litre, litres, ltr
volume | millilitre | milliliter | milliliters | ml, mls, millilitre, millilitres
volume | centilitre | centiliter | centiliters | cl, centilitre, centilitres
volume | decilitre | deciliter | deciliters | dl, decilitre, decilitres
volume | metre ** 3 | cubic meter | cubic meters | m3, m^3, m³, cubic metre, cubic metres
volume | centimetre ** 3 | cubic centimeter | cubic centimeters | cm3, cm^3, cm³, cc, ccs, cubic centimetre, cubic centimetres
volume | centimetre ** 3 | cubic centimeter | cubic centimeters | cubic cm
volume | foot ** 3 | cubic foot | cubic feet | ft3, ft^3, ft³, cu ft
volume | inch ** 3 | cubic inch | cubic inches | in3, in^3, in³, cu in
volume | yard ** 3 | cubic yard | cubic yards | yd3, yd^3, yd³, cu yd
volume! | gallon | gallon | gallons | gal, gals
volume! | quart | quart | quarts | qt, qts
volume! | pint | pint | pints | pt, pts
volume! | cup | cup | cups |
volume! | fluid_ounce | fluid ounce | fluid ounces | fl oz, floz, fl. oz, oz, ounce, ounces
volume! | tablespoon | tablespoon | tablespoons | tbsp, tbsps, tbs
volume! | teaspoon | teaspoon | teaspoons | tsp, tsps
volume | gallon | US gallon | US gallons |
volume | quart | US quart | US quarts |
volume | pint | US pint | US pints |
volume | cup | US cup | US cups |
volume | fluid_ounce | US fluid ounce | US fluid ounces | us fl oz
volume | imperial_gallon | imperial gallon | imperial gallons | uk gallon, uk gallons
volume | imperial_pint | imperial pint | imperial pints | uk pint, uk pints
volume | imperial_fluid_ounce | imperial fluid ounce | imperial fluid ounces | imperial fl oz, uk fl oz
speed | kilometre / hour | km/h | km/h | kmh, kph, kmph, km per hour, km an hour, kilometers per hour, kilometres per hour
speed | kilometre / hour | km/h | km/h | kilometers an hour
speed | mile / hour | mph | mph | mi/h, miles per hour, miles an hour, mile per hour
speed | metre / second | m/s | m/s | mps, meters per second, metres per second, meter per second, m per s
speed | foot / second | ft/s | ft/s | feet per second, foot per second
speed | knot | knot | knots | kn, kt, kts
area | metre ** 2 | square meter | square meters | m2, m^2, m², sq m, sqm, square metre, square metres, sq meters, sq metres
area | kilometre ** 2 | square kilometer | square kilometers | km2, km^2, km², sq km, square km, square kilometre
area | kilometre ** 2 | square kilometer | square kilometers | square kilometres
area | centimetre ** 2 | square centimeter | square centimeters | cm2, cm^2, cm², sq cm, square cm, square centimetre
area | centimetre ** 2 | square centimeter | square centimeters | square centimetres
area | foot ** 2 | square foot | square feet | ft2, ft^2, ft², sq ft, sqft, sq feet, square ft
area | inch ** 2 | square inch | square inches | in2, in^2, in², sq in, sq inches
area | yard ** 2 | square yard | square yards | yd2, yd^2, yd², sq yd, sq yards
area | mile ** 2 | square mile | square miles | mi2, mi^2, mi², sq mi, sq miles
area | international_acre | acre | acres | ac
area | hectare | hectare | hectares | ha
time | second | second | seconds | s, sec, secs
time | millisecond | millisecond | milliseconds | ms, msec
time | microsecond | microsecond | microseconds | µs, μs
time | nanosecond | nanosecond | nanoseconds | ns
time | minute | minute | minutes | min, mins, m
time | hour | hour | hours | h, hr, hrs
time | day | day | days | d
time | week | week | weeks | wk, wks
time | fortnight | fortnight | fortnights |
years | month | month | months |
years | year | year | years | yr, yrs
years | decade | decade | decades |
years | century | century | centuries |
data | byte | byte | bytes |
data | kilobyte | kB | kB | kb, kilobyte, kilobytes
data | megabyte | MB | MB | mb, megabyte, megabytes, meg, megs
data | gigabyte | GB | GB | gb, gigabyte, gigabytes, gig, gigs
data | terabyte | TB | TB | tb, terabyte, terabytes
data | petabyte | PB | PB | pb, petabyte, petabytes
data | kibibyte | KiB | KiB | kib, kibibyte, kibibytes
data | mebibyte | MiB | MiB | mib, mebibyte, mebibytes
data | gibibyte | GiB | GiB | gib, gibibyte, gibibytes
data | tebibyte | TiB | TiB | tib, tebibyte, tebibytes
data | bit | bit | bits |
data | kilobit | kilobit | kilobits | kbit, kbits
data | megabit | megabit | megabits | mbit, mbits
data | gigabit | gigabit | gigabits | gbit, gbits
data rate | kilobit / second | kbit/s | kbit/s | kbps, kilobits per second
data rate | megabit / second | Mbit/s | Mbit/s | mbps, megabits per second
data rate | gigabit / second | Gbit/s | Gbit/s | gbps, gigabits per second
data rate | kilobyte / second | kB/s | kB/s | kilobytes per second
data rate | megabyte / second | MB/s | MB/s | megabytes per second
data rate | gigabyte / second | GB/s | GB/s | gigabytes per second
energy | joule | joule | joules | j
energy | kilojoule | kilojoule | kilojoules | kj
energy | megajoule | megajoule | megajoules |
energy | watt_hour | watt-hour | watt-hours | wh, watt hour, watt hours
energy | kilowatt_hour | kilowatt-hour | kilowatt-hours | kwh, kilowatt hour, kilowatt hours
energy | megawatt_hour | megawatt-hour | megawatt-hours | megawatt hour, megawatt hours
energy | kilocalorie | kilocalorie | kilocalories | kcal, kcals, food calorie, food calories
energy | british_thermal_unit | BTU | BTU | btus
pressure | pascal | pascal | pascals | pa
pressure | hectopascal | hectopascal | hectopascals | hpa
pressure | kilopascal | kilopascal | kilopascals | kpa
pressure | megapascal | megapascal | megapascals |
pressure | bar | bar | bar | bars
pressure | millibar | millibar | millibars | mbar, mbars
pressure | psi | psi | psi | pounds per square inch
pressure | standard_atmosphere | atmosphere | atmospheres | atm
pressure | millimeter_Hg | mmHg | mmHg | mm hg
"""

# Here letter case decides: M is mega and m milli, B a byte and b a bit. "Mb" and "Gb" are written for both, so they are out.
_CASED = {"MJ": "megajoule", "MPa": "megapascal", "MWh": "megawatt-hour", "t": "tonne", "KB": "kilobyte", "K": "kelvin"}
_REFUSED = frozenset(["Mb", "Gb", "Kb", "Tb", "Pb", "MS", "Ms", "MM", "Mm", "mj", "mpa", "mwh", "MG", "Mg", "PT"])
_DEGREE = re.compile(r"(?:° ?|º ?)(?=[cf]$)")


def _read(table: str) -> dict[str, tuple[Unit, ...]]:
    found: dict[str, tuple[Unit, ...]] = {}
    for line in filter(None, table.splitlines()):
        dimension, pint, singular, plural, aliases = (part.strip() for part in line.split("|"))
        note = _US if dimension.endswith("!") else ""
        unit = Unit(pint, dimension.rstrip("!"), singular, plural, note)
        for alias in {singular.lower(), plural.lower(), *(part.strip() for part in aliases.split(","))} - {""}:
            if unit not in found.get(alias, ()):  # a long row of names is written in two
                found[alias] = (*found.get(alias, ()), unit)
    return found


class Units:
    """The names above, looked up as written in a question."""

    def __init__(self) -> None:
        self._by_name = _read(_TABLE)

    def named(self, text: str) -> tuple[Unit, ...]:
        """Return every unit that `text` can mean ("oz": a mass and a volume), or nothing for an unknown or ambiguous name."""
        if text in _REFUSED:
            return ()
        if text in _CASED:
            return self._by_name[_CASED[text]]
        name = _DEGREE.sub("", text.lower().rstrip("."))
        return self._by_name.get(name, ())
