"""Many recordings: which, several at a time, gone on with after an interruption, to which files."""
