"""Numbers with a range, shared by the parts of the tree."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta

Count = Annotated[int, Meta(ge=1)]
Count0 = Annotated[int, Meta(ge=0)]
Layers = Annotated[int, Meta(ge=-1)]
NotNegative = Annotated[float, Meta(ge=0)]
Positive = Annotated[float, Meta(gt=0)]
Share = Annotated[float, Meta(ge=0, le=1)]
Slots = Annotated[int, Meta(ge=1, le=256)]
Temperature = Annotated[float, Meta(ge=0, le=2)]
Votes = Annotated[int, Meta(ge=1, le=25)]
Window = Annotated[int, Meta(ge=256)]
