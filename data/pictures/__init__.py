"""Pictures drawn by the program: covers for the seed, and photographs for the mixes to upload."""
