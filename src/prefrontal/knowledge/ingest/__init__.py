"""From folders, files, streams and corpora into an engram: find, read, cut, encode, write; and bring it up to date again."""
