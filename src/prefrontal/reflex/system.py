"""Questions about this host: CPU, memory, disk, load, uptime. Only for callers who may see it."""

from __future__ import annotations

from prefrontal.reflex.host import HostMetrics, MemoryUse
from prefrontal.reflex.phrasing import Grammar
from prefrontal.reflex.proposal import Proposal, ReflexAnswer, ReflexContext

_WHAT = (
    r"(?:(?:what(?:'s|s| is)|show|check|display|report|get) )?(?:me )?(?:the |my |our |your )?"
    r"(?:current |this (?:machine|computer|host|server)'s )*(?:system |server |host )??"
)
_HERE = (
    r"(?: (?:right now|now|currently|at the moment))?"
    r"(?: (?:of|on|for|in|does) (?:this|the|my|our) (?:machine|computer|host|server|system|box)(?: have)?)?"
    r"(?: (?:right now|now|currently|have))?"
)
_THIS = r"(?:this|the|my|our) (?:machine|computer|host|server|system|box)"
_MEMORY = r"(?:memory|ram)"
_DISK = r"(?:disk|disk space|storage|storage space|hard drive|hard disk)"

_GRAMMAR = Grammar(
    {
        "cpu": (
            rf"{_WHAT}(?:cpu|processor) (?:usage|use|utilization|utilisation|load percentage|percent){_HERE}",
            rf"how (?:busy|loaded) is the (?:cpu|processor){_HERE}",
            rf"how much cpu is (?:being used|in use|used){_HERE}",
        ),
        "cores": (
            rf"how many (?:cpu |processor )?cores (?:are there|do we have|do i have|does {_THIS} have|has {_THIS})",
            r"how many cpus (?:are there|do we have|do i have)",
            rf"{_WHAT}(?:cpu|core) count{_HERE}",
        ),
        "load": (
            rf"{_WHAT}(?:(?:cpu|system|server|host) load|load average){_HERE}",
            rf"what(?:'s| is) the load on {_THIS}",
            r"load averages?",
        ),
        "memory": (
            (
                rf"{_WHAT}(?:free |available |used )?{_MEMORY}"
                rf"(?: usage| use| utilization| utilisation| consumption| available| free| left){_HERE}"
            ),
            rf"{_WHAT}(?:free|available|used) {_MEMORY}{_HERE}",
            (
                rf"how much (?:free |available |total |of the )?{_MEMORY} (?:is |do we |do i |does {_THIS} |has {_THIS} )?"
                rf"(?:being )?(?:free|available|left|used|in use|have|have left|have free|there)?{_HERE}"
            ),
        ),
        "disk": (
            rf"{_WHAT}(?:free |available |used )?{_DISK}(?: usage| use| utilization| available| free| left){_HERE}",
            rf"{_WHAT}(?:free|available|used) {_DISK}{_HERE}",
            (
                rf"how much (?:free |available |total )?{_DISK} (?:is |do we |do i |does {_THIS} |has {_THIS} )?(?:being )?"
                rf"(?:free|available|left|used|in use|have|have left|have free|there)?{_HERE}"
            ),
            rf"how full is (?:the|my) {_DISK}{_HERE}",
        ),
        "uptime": (
            rf"{_WHAT}uptime{_HERE}",
            rf"how long has {_THIS} been (?:up|running|on)(?: for)?",
            r"how long have (?:you|we) been (?:up|running)(?: for)?",
            (
                rf"when (?:was {_THIS} (?:last )?(?:booted|rebooted|restarted|started)|did {_THIS} (?:last )?"
                rf"(?:boot|reboot|restart|start))"
            ),
        ),
    },
    {},
)
_HINTS = frozenset(
    [
        "cpu",
        "cpus",
        "processor",
        "cores",
        "core",
        "load",
        "memory",
        "ram",
        "disk",
        "storage",
        "uptime",
        "up",
        "running",
        "on",
        "booted",
        "rebooted",
        "restarted",
        "boot",
        "reboot",
        "restart",
        "averages",
        "drive",
    ]
)
_GIB = 1024**3


class System:
    """Measurements of this host, answered only where `context.allow_host` is set."""

    name = "system"
    description = "CPU, memory, disk, load and uptime of this host (loopback or admin callers only)"

    def __init__(self, host: HostMetrics) -> None:
        self._host = host

    def warm(self) -> None:
        """Start the CPU measurement, which needs two looks."""
        self._host.cpu_percent()

    def propose(self, text: str, context: ReflexContext) -> Proposal | None:
        """Return a proposal when the whole text asks for one measurement of this host and the caller may see it."""
        if not context.allow_host or _HINTS.isdisjoint(text.lower().split(" ")):
            return None
        found = _GRAMMAR.match(text)
        if found is None:
            return None
        return Proposal(tool=self.name, arguments={"form": found[0]}, reason=f"asks for this host's {found[0]}")

    def answer(self, proposal: Proposal, context: ReflexContext) -> ReflexAnswer | None:
        """Return the measurement; None when the caller may not see it or the system does not tell."""
        if not context.allow_host:
            return None
        result = self._measured(proposal.arguments["form"], context.now_s)
        return (
            None
            if result is None
            else ReflexAnswer(tool=self.name, text=result[0], value=result[1], arguments=proposal.arguments)
        )

    def _measured(self, form: str, now_s: float) -> tuple[str, str] | None:
        if form == "cpu":
            percent = self._host.cpu_percent()
            return None if percent is None else (f"The CPU of this host is {percent:g}% busy.", f"{percent:g}")
        if form == "cores":
            cores = self._host.cpu_cores()
            return None if cores is None else (f"This host has {cores} logical CPU cores.", str(cores))
        if form == "load":
            load = self._host.load_average()
            return (
                None
                if load is None
                else ("Load average over 1, 5 and 15 minutes: {:.2f}, {:.2f}, {:.2f}.".format(*load), f"{load[0]:.2f}")
            )
        if form == "uptime":
            boot_s = self._host.boot_time_s()
            return None if boot_s is None or boot_s > now_s else _uptime(int(now_s - boot_s))
        return _space("Memory", self._host.memory()) if form == "memory" else _space("Disk", self._host.disk())


def _space(label: str, use: MemoryUse | None) -> tuple[str, str] | None:
    if use is None or not use.total_bytes:
        return None
    used = use.total_bytes - use.available_bytes
    share = f"{used / _GIB:.1f} of {use.total_bytes / _GIB:.1f} GiB used ({100 * used / use.total_bytes:.0f}%)"
    text = f"{label}: {share}, {use.available_bytes / _GIB:.1f} GiB available."
    return text, str(use.available_bytes)


def _uptime(seconds: int) -> tuple[str, str]:
    days, rest = divmod(seconds, 86400)
    hours, rest = divmod(rest, 3600)
    counted = [(days, "day"), (hours, "hour"), (rest // 60, "minute")]
    while len(counted) > 1 and not counted[0][0]:
        del counted[0]
    *others, last = [f"{count} {noun}{'' if count == 1 else 's'}" for count, noun in counted]
    span = f"{', '.join(others)} and {last}" if others else last
    return f"This host has been up for {span}.", str(seconds)
