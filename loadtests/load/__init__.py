"""What drives load: arrivals, the client, the mixes, and what each request was told. It knows no stage."""
