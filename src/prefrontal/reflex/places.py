"""Places whose local time people ask for.

Only names with one overwhelming meaning: Portland, Georgia or Birmingham, and countries with several zones, are left out on
purpose. Many capitals come from the zone database itself (Europe/Vienna).
"""

from __future__ import annotations

from datetime import timedelta, timezone, tzinfo
from typing import NamedTuple
from zoneinfo import ZoneInfo

# Zones of the database whose last part is the plain name of a well-known city.
_CITIES = """
Africa: Abidjan Accra Algiers Cairo Casablanca Dakar Dar_es_Salaam Harare Johannesburg Kampala Khartoum Kinshasa Lagos
Luanda Lusaka
Maputo Mogadishu Nairobi Tripoli Tunis Windhoek Addis_Ababa
America: Anchorage Bogota Caracas Chicago Denver Detroit Edmonton Guatemala Guayaquil Halifax Havana Jamaica La_Paz Lima
Los_Angeles Managua Manaus Mexico_City Monterrey Montevideo New_York Panama Phoenix Port-au-Prince Puerto_Rico Regina
Santo_Domingo
Sao_Paulo Tijuana Toronto Vancouver Winnipeg Asuncion Boise
Asia: Almaty Amman Baghdad Bahrain Baku Bangkok Beirut Colombo Damascus Dhaka Dubai Gaza Hebron Hong_Kong Jakarta Jerusalem
Kabul Karachi
Kathmandu Kolkata Kuala_Lumpur Kuwait Macau Manila Muscat Novosibirsk Qatar Riyadh Samarkand Seoul Shanghai Singapore Taipei
Tashkent Tbilisi Tehran Tokyo
Ulaanbaatar Vladivostok Yangon Yekaterinburg Yerevan Phnom_Penh Vientiane Brunei
Atlantic: Bermuda Reykjavik
Australia: Adelaide Brisbane Canberra Darwin Hobart Melbourne Perth Sydney
Europe: Amsterdam Andorra Athens Belgrade Berlin Bratislava Brussels Bucharest Budapest Chisinau Copenhagen Dublin Gibraltar
Helsinki Istanbul
Kaliningrad Kyiv Lisbon Ljubljana London Luxembourg Madrid Malta Minsk Monaco Moscow Oslo Paris Prague Riga Rome Sarajevo
Skopje Sofia Stockholm
Tallinn Tirane Vienna Vilnius Warsaw Zagreb Zurich
Pacific: Auckland Fiji Guam Honolulu Tahiti
"""

# Other names of places, zone by zone.
_NAMES = """
America/New_York: nyc, new york city, manhattan, brooklyn, boston, washington dc, washington d.c, dc, philadelphia, miami,
  atlanta, orlando, baltimore,
  pittsburgh, cleveland, massachusetts, new jersey, pennsylvania, north carolina, south carolina, virginia, maryland,
  connecticut, eastern, us eastern, the us east coast
America/Chicago: houston, dallas, austin, san antonio, new orleans, minneapolis, milwaukee, nashville, st louis, st. louis,
  illinois, wisconsin, minnesota, louisiana, oklahoma, us central
America/Denver: salt lake city, colorado, utah, us mountain
America/Phoenix: arizona, tucson
America/Los_Angeles: la, l.a, san francisco, sf, san diego, seattle, las vegas, oakland, sacramento, silicon valley,
  california, pacific, us pacific, the us west coast
Pacific/Honolulu: hawaii
America/Toronto: ottawa, montreal, quebec city, ontario
America/Vancouver: british columbia
America/Edmonton: calgary, alberta
America/Sao_Paulo: são paulo, rio, rio de janeiro, brasilia
America/Argentina/Buenos_Aires: buenos aires, argentina
America/Bogota: bogotá, colombia
America/Lima: peru
America/Caracas: venezuela
America/Mexico_City: guadalajara
America/Havana: cuba
America/Costa_Rica: costa rica
Europe/London: uk, the uk, england, great britain, britain, united kingdom, the united kingdom, scotland, wales, edinburgh,
  glasgow, liverpool
Europe/Dublin: ireland
Europe/Paris: france, lyon, marseille
Europe/Berlin: germany, munich, hamburg, frankfurt, cologne, stuttgart
Europe/Madrid: barcelona, spain, seville
Europe/Rome: italy, milan, naples, florence, venice, turin
Europe/Amsterdam: netherlands, the netherlands, holland, rotterdam, the hague
Europe/Brussels: belgium, antwerp
Europe/Zurich: switzerland, zürich, geneva, basel, bern
Europe/Vienna: austria, salzburg
Europe/Lisbon: portugal, porto
Europe/Stockholm: sweden, gothenburg
Europe/Oslo: norway, bergen
Europe/Copenhagen: denmark
Europe/Helsinki: finland
Europe/Warsaw: poland, krakow, kraków
Europe/Prague: czech republic, the czech republic, czechia
Europe/Budapest: hungary
Europe/Athens: greece
Europe/Bucharest: romania
Europe/Sofia: bulgaria
Europe/Kyiv: ukraine, kiev
Europe/Istanbul: turkey, ankara
Europe/Moscow: st petersburg, saint petersburg
Atlantic/Reykjavik: iceland
Asia/Tokyo: japan, osaka, kyoto
Asia/Seoul: south korea, korea, busan
Asia/Shanghai: beijing, china, shenzhen, guangzhou
Asia/Taipei: taiwan
Asia/Kolkata: india, mumbai, delhi, new delhi, bangalore, bengaluru, chennai, hyderabad, calcutta, pune
Asia/Karachi: pakistan, lahore, islamabad
Asia/Dhaka: bangladesh
Asia/Kathmandu: nepal
Asia/Colombo: sri lanka
Asia/Bangkok: thailand
Asia/Ho_Chi_Minh: vietnam, ho chi minh city, saigon, hanoi
Asia/Manila: philippines, the philippines
Asia/Kuala_Lumpur: malaysia
Asia/Dubai: uae, the uae, abu dhabi, united arab emirates
Asia/Riyadh: saudi arabia, jeddah
Asia/Qatar: doha
Asia/Jerusalem: israel, tel aviv
Asia/Tehran: iran
Africa/Cairo: egypt
Africa/Johannesburg: south africa, cape town, durban
Africa/Lagos: nigeria
Africa/Nairobi: kenya
Africa/Casablanca: morocco, marrakech
Africa/Accra: ghana
Africa/Addis_Ababa: ethiopia
Australia/Brisbane: queensland
Pacific/Auckland: new zealand, wellington, christchurch
"""

# Abbreviations that name one offset, the whole year round.
_FIXED_HOURS = {"utc": 0.0, "gmt": 0.0, "z": 0.0, "jst": 9.0, "kst": 9.0, "hkt": 8.0, "sgt": 8.0}
# Abbreviations that name a region's clock, winter and summer.
_REGIONS = {
    "et": "America/New_York",
    "pt": "America/Los_Angeles",
    "eastern time": "America/New_York",
    "pacific time": "America/Los_Angeles",
}
# Abbreviations that hold for half a year. People write the winter name in summer; the two differ by an hour, so such a name
# is taken only for days on which its region really uses it.
_SEASONAL = {
    "est": ("America/New_York", -5.0), "edt": ("America/New_York", -4.0),
    "pst": ("America/Los_Angeles", -8.0), "pdt": ("America/Los_Angeles", -7.0),
    "cdt": ("America/Chicago", -5.0), "mdt": ("America/Denver", -6.0),
    "cet": ("Europe/Berlin", 1.0), "cest": ("Europe/Berlin", 2.0),
    "eet": ("Europe/Helsinki", 2.0), "eest": ("Europe/Helsinki", 3.0),
    "aest": ("Australia/Sydney", 10.0), "aedt": ("Australia/Sydney", 11.0),
}  # fmt: skip


class Place(NamedTuple):
    """A zone, how to name it, and the offset (hours) that must hold on the day in question, if the name demands one."""

    zone: tzinfo
    label: str
    demanded_hours: float | None = None


class Places:
    """Names of places and zones."""

    def __init__(self) -> None:
        self._zones = _cities() | _names() | _REGIONS

    def named(self, text: str) -> Place | None:
        """Return the place, or None when the name is unknown or means several."""
        name = text.strip().rstrip(".").lower()
        if name in _FIXED_HOURS:
            return Place(timezone(timedelta(hours=_FIXED_HOURS[name]), name.upper()), name.upper())
        if name in _SEASONAL:
            zone, hours = _SEASONAL[name]
            return Place(ZoneInfo(zone), name.upper(), hours)
        found = self._zone_of(name)
        return Place(ZoneInfo(found), found) if found is not None else None

    def _zone_of(self, name: str) -> str | None:
        """Return the zone of "tokyo" or of "tokyo, japan"; both parts of the latter must lie in the same zone."""
        found = self._zones.get(name)
        if found is None and "," in name:
            city, _, country = name.partition(",")
            zone, other = self._zones.get(city.strip()), self._zones.get(country.strip())
            found = zone if zone == other else None
        return found

    def knows(self, text: str) -> bool:
        """Say whether `text` names a place, without loading its zone."""
        name = text.strip().rstrip(".").lower()
        return self._zone_of(name) is not None or name in _FIXED_HOURS or name in _SEASONAL


def _cities() -> dict[str, str]:
    found, area = {}, ""
    for word in _CITIES.split():
        if word.endswith(":"):
            area = word[:-1]
        else:
            found[word.replace("_", " ").lower()] = f"{area}/{word}"
    return found


def _names() -> dict[str, str]:
    found: dict[str, str] = {}
    for line in filter(None, _NAMES.replace("\n  ", " ").splitlines()):
        zone, _, names = line.partition(":")
        found |= {name.strip(): zone for name in names.split(",")}
    return found
