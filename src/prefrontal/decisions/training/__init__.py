"""What models are taught with: cases out of records whose outcome is known, written in the forms trainers read."""
