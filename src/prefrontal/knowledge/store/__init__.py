"""The engram's file: one SQLite database that holds everything, and the transactions that change it."""
