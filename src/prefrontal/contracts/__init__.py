"""What the rooms hand each other: model cards, assessments, plans, efforts, verdicts, records, wire messages."""
