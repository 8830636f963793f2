"""What happened and what it cost: the record of every request, written by one writer, read by anyone."""
