"""The Responses dialect, for clients. No upstream of ours is called in it."""
