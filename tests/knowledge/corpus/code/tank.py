"""Water tanks: how full they are, and how long they take to run empty."""

from math import sqrt

GRAVITY = 9.81


class Tank:
    """An upright cylinder."""

    def __init__(self, area_m2, height_m):
        self.area_m2 = area_m2
        self.height_m = height_m
        self.volume_m3 = 0.0

    def fill(self, volume_m3):
        """Pour water in; what does not fit overflows and is returned."""
        room = self.area_m2 * self.height_m - self.volume_m3
        taken = min(room, volume_m3)
        self.volume_m3 += taken
        return volume_m3 - taken

    @property
    def level_m(self):
        """Height of the surface above the bottom."""
        return self.volume_m3 / self.area_m2


# Torricelli: the outflow speed follows the square root of the level.
def drain_time_s(tank, hole_m2):
    """Seconds until the tank has run empty through a hole in its bottom."""
    return tank.area_m2 / hole_m2 * sqrt(2 * tank.level_m / GRAVITY)
