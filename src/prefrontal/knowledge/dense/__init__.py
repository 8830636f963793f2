"""Dense vectors beside an engram: encoders, their storage, and the fusion with words."""
