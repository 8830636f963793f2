"""Several worker processes behind one address: how they ask each other, and how they share local engines."""
