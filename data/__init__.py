"""What stages hold: a made-up site (``seed``), its ``pictures``, ``loading``, and ``importing`` from another stage."""
