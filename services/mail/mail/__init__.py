"""A stub of the outside world's mail server: takes what the app sends, keeps some of it in memory, shows it."""
