"""A stub of the outside world's mail server: it accepts the app's mail, keeps some of it in memory and shows it."""
