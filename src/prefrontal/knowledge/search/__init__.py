"""Finding passages: candidates by the vectors' dot product, an exact re-rank with term statistics, and why each was found."""
