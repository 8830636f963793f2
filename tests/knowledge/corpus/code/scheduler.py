"""Which pump runs when: cheap electricity first."""


def cheapest_hours(prices, needed):
    """Return the indices of the hours with the lowest tariff, in order of time."""
    ranked = sorted(range(len(prices)), key=lambda hour: (prices[hour], hour))
    return sorted(ranked[:needed])


class PumpScheduler:
    """Plans the day so that the tank never runs empty."""

    def __init__(self, tank, prices):
        self.tank = tank
        self.prices = prices

    def planHours(self, demand):  # noqa: N802 - a name in camel case is what is wanted here
        """Choose hours until the demand is met."""
        return cheapest_hours(self.prices, demand)
