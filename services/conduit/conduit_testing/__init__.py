"""What the app's tests share: a client that checks each answer, and the app in this process on one server or two."""
