"""Files that are not plain text: what each reader makes of their bytes, and the way back to lines and pages."""
