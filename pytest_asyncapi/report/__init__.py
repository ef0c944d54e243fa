"""The page of a run: for each test a timeline of its requests, SQL, Redis commands, upstream calls and blocks."""
